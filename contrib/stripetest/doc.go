// Package stripetest holds onceguard's transport against Stripe's own Go SDK. It
// is a module of its own, and tests alone, so that nobody inherits the SDK.
package stripetest
