// Package httpguard puts the guard at the HTTP boundary.
//
// On the server side, [Middleware] guards the handlers of an API: the first
// request with an Idempotency-Key runs the handler, every later one with the
// same key gets the same answer and runs nothing.
//
//	refunds, err := httpguard.New(guard, httpguard.Options{
//		Action: "refund.create",
//		Scope:  func(r *http.Request) (string, error) { return tenantOf(r) },
//	})
//	mux.Handle("POST /orders/{id}/refunds", refunds.Wrap(createRefund))
//
// The middleware runs after authentication: what tells tenants apart is the
// principal, never the request. It buffers the handler's answer and writes it
// after the receipt is durable. Its own answers are problem documents (RFC 9457)
// whose types are listed with the Problem constants.
//
// The header is spelled as in draft-ietf-httpapi-idempotency-key-header: a
// quoted string, or the same text raw.
package httpguard
