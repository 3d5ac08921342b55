package httpguard

import (
	"time"

	"github.com/onceguard/onceguard"
)

// The pages that facts come from.
const (
	stripePage     = "https://docs.stripe.com/api/idempotent_requests"
	adyenPage      = "https://docs.adyen.com/development-resources/api-idempotency"
	squarePage     = "https://developer.squareup.com/docs/working-with-apis/idempotency"
	squareForum    = "https://developer.squareup.com/forums/t/how-long-are-idempotency-keys-retained-for-the-createpayment-endpoint/28303"
	squareRequest  = "https://github.com/square/square-java-sdk/blob/master/doc/models/create-payment-request.md"
	squareCancel   = "https://github.com/square/square-java-sdk/blob/master/doc/api/payments.md#cancel-payment-by-idempotency-key"
	paypalPage     = "https://developer.paypal.com/reference/guidelines/idempotency/"
	checkoutKey    = "https://support.checkout.com/hc/en-us/articles/31615710191634-Prevent-duplicate-payment-requests"
	checkoutPage   = "https://checkout.com/docs/payments/manage-payments/retry-a-payment"
	goCardlessPage = "https://gocardless.com/blog/idempotency-keys"
	increasePage   = "https://increase.com/documentation/idempotency-keys.md"
	resendPage     = "https://resend.com/docs/dashboard/emails/idempotency-keys.md"
	brevoPage      = "https://developers.brevo.com/changelog/email-api-now-supports-idempotency"
	brevoBatchPage = "https://developers.brevo.com/docs/heterogenous-versions-batch-emails"
	ec2Page        = "https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html"
	azurePage      = "https://learn.microsoft.com/en-us/rest/api/communication/repeatable-requests"
	unauthorized   = "https://www.rfc-editor.org/rfc/rfc9110#section-15.5.2"
)

const read = "2026-11"

func fact[T any](v T, source string) Fact[T] { return Fact[T]{v, source, read} }

// notApplied is what HTTP itself says of 401: "the request has not been applied
// because it lacks valid authentication credentials". A wrong API key must not
// burn every payment.
var notApplied = fact([]int{401}, unauthorized)

// The presets. What a provider's pages do not say stays unset.
var (
	// Stripe is the v1 API. Refusals count as forgotten, because validation
	// errors and conflicts are not kept under the key.
	Stripe = Preset{
		Name: "Stripe", Key: fact(KeyForm{Name: "Idempotency-Key"}, stripePage), MaxKey: fact(255, stripePage),
		Horizon: fact(24*time.Hour, stripePage), Refusals: fact(onceguard.RefusalsForgotten, stripePage), BeforeWork: notApplied,
		OtherBody: fact("error", stripePage), InFlight: fact("409 `idempotency_key_in_use`", stripePage),
		Failures: fact("kept, 500 included, once execution began; not validation errors or conflicts", stripePage),
		Unknown:  fact("repeat with the same key within 24 h (`SameKey`)", stripePage),
	}
	// Adyen keeps keys per company account, and does not compare them across
	// regions: keep to one endpoint.
	Adyen = Preset{
		Name: "Adyen", Key: fact(KeyForm{Name: "Idempotency-Key"}, adyenPage), MaxKey: fact(64, adyenPage),
		Horizon: fact(31*24*time.Hour, adyenPage), BeforeWork: notApplied,
		Unknown: fact("repeat with the same key in the same region; webhooks", adyenPage),
	}
	// Square takes the key in the JSON body. SquareCancel voids by key.
	Square = Preset{
		Name: "Square", Key: fact(KeyForm{In: InJSON, Name: "idempotency_key"}, squareRequest), MaxKey: fact(45, squareRequest), BeforeWork: notApplied,
		OtherBody: fact("error", squarePage), Unknown: fact("cancel by key (`SquareCancel`); life of keys is not published ([forum]("+squareForum+"))", squareCancel),
	}
	// PayPal keeps keys for a time that differs per API.
	PayPal = Preset{
		Name: "PayPal", Key: fact(KeyForm{Name: "PayPal-Request-Id"}, paypalPage), BeforeWork: notApplied,
		OtherBody: fact("error", paypalPage), InFlight: fact("the second may fail", paypalPage),
		Unknown: fact("repeat with the same key; the answer is the latest status, not the first response", paypalPage),
	}
	// CheckoutCom keeps successes only.
	CheckoutCom = Preset{
		Name: "Checkout.com", Key: fact(KeyForm{Name: "Cko-Idempotency-Key"}, checkoutKey),
		Horizon: fact(24*time.Hour, checkoutPage), Refusals: fact(onceguard.RefusalsForgotten, checkoutPage), BeforeWork: notApplied,
		InFlight: fact("one wins", checkoutPage), Failures: fact("only 2xx is kept; 4xx and 5xx run again", checkoutPage),
	}
	// GoCardless answers the retry of a success with 409, which stays unknown
	// until the resource is fetched.
	GoCardless = Preset{
		Name: "GoCardless", Key: fact(KeyForm{Name: "Idempotency-Key"}, goCardlessPage), BeforeWork: notApplied,
		Unknown: fact("repeat with the same key; a success is answered 409 \"already created\": fetch the resource", goCardlessPage),
	}
	// Increase lists objects by key: see IncreaseList.
	Increase = Preset{
		Name: "Increase", Key: fact(KeyForm{Name: "Idempotency-Key"}, increasePage), MaxKey: fact(200, increasePage), BeforeWork: notApplied,
		OtherBody: fact("409 with `resource_id`", increasePage), Unknown: fact("list endpoints filter by key (`IncreaseList`)", increasePage),
	}
	// Resend is the email API.
	Resend = Preset{
		Name: "Resend", Key: fact(KeyForm{Name: "Idempotency-Key"}, resendPage), MaxKey: fact(256, resendPage), Horizon: fact(24*time.Hour, resendPage), BeforeWork: notApplied,
		Unknown: fact("repeat with the same key within 24 h", resendPage),
	}
	// Brevo takes a UUID among the headers of the email, inside the JSON body. Its
	// pages disagree about the life of a key, 15 and 30 minutes; the shorter counts.
	Brevo = Preset{
		Name: "Brevo", Key: fact(KeyForm{In: InJSON, Name: "headers/idempotencyKey", UUID: true}, brevoBatchPage), Horizon: fact(15*time.Minute, brevoPage), BeforeWork: notApplied,
		Unknown: fact("a repeat within the horizon is refused with `duplicate_parameter`", brevoBatchPage),
	}
	// EC2 takes a request parameter that the SDK signs: set it in the SDK.
	EC2 = Preset{
		Name: "EC2", Key: fact(KeyForm{In: InParameter, Name: "ClientToken"}, ec2Page), MaxKey: fact(64, ec2Page),
		OtherBody: fact("`IdempotentParameterMismatch`", ec2Page), Failures: fact("a repeated success may carry updated state", ec2Page), Unknown: fact("describe the resource", ec2Page),
	}
	// AzureRepeatable is the OASIS Repeatable Requests form, as Azure Communication
	// Services has it. It needs the time of the first sending on every repeat.
	AzureRepeatable = Preset{
		Name: "Azure repeatable requests", Key: fact(KeyForm{Name: "Repeatability-Request-ID", UUID: true, FirstSent: "Repeatability-First-Sent"}, azurePage),
		Horizon: fact(5*time.Minute, azurePage), Refusals: fact(onceguard.RefusalsRemembered, azurePage), BeforeWork: notApplied,
		OtherBody: fact("400", azurePage), InFlight: fact("409", azurePage), Failures: fact("2xx and 4xx are replayed, 5xx run again", azurePage),
		Unknown: fact("412 says that it is too old to repeat: do not run it again", azurePage),
	}
	// Twilio: no idempotency key is known to us. At most once, and a lookup.
	Twilio = Preset{Name: "Twilio", Key: Fact[KeyForm]{Value: KeyForm{In: Nowhere}}, BeforeWork: notApplied}
	// SES: no idempotency key is known to us. At most once, and a lookup.
	SES = Preset{Name: "SES", Key: Fact[KeyForm]{Value: KeyForm{In: Nowhere}}}
)

// Presets returns all presets, in the order of docs/providers.md.
func Presets() []Preset {
	return []Preset{Stripe, Adyen, Square, PayPal, CheckoutCom, GoCardless, Increase, Resend, Brevo, Twilio, SES, EC2, AzureRepeatable}
}
