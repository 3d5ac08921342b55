// Package webhookguard receives webhooks: it checks the signature over the raw
// body, and then handles each event once, however often and however late its
// sender delivers it.
//
//	stripe, err := webhookguard.New(guard, webhookguard.Options{
//		Endpoint: "billing",
//		Source:   webhookguard.Stripe(signingSecret),
//		Handle:   func(ctx context.Context, e webhookguard.Event) error { return book(ctx, e) },
//	})
//	mux.Handle("POST /hooks/stripe", stripe)
//
// The signature comes first: a request that is not signed never occupies a key.
// A sender's timestamp is that of the attempt. It bounds replays by others
// (Tolerance) and says nothing about identity: a redelivery days later, with a new
// timestamp and a new signature, is the same event by its id.
//
// Answers are made for senders that retry on everything but 2xx: 2xx means that
// the event is handled or durably stored, everything else that it is not, or not
// known to be. Bodies of error answers say nothing.
package webhookguard
