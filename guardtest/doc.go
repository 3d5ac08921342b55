// Package guardtest helps to test code that is guarded by onceguard.
//
// # Your own unit tests
//
// [New] gives a guard on a memory store that lives as long as the test, and
// [StoreOf] the store's switches: lose the next answer, take the store away,
// put its clock on so that leases end. [Succeed], [Refuse], [MakeUncertain] and
// [Hold] bring a request into a state before the code under test meets it. A
// [Ledger] counts what took place.
//
//	g := guardtest.New(t)
//	guardtest.MakeUncertain(t, g, request)
//	err := pay(ctx, g, order)   // your code: must not try another way
//
// Nothing here waits for real leases. It works inside testing/synctest, too.
//
// # Adapters
//
// An adapter carries a protocol's messages (an HTTP request, a queue's
// delivery, a tool call) to a guarded handler and the guard's answers back.
// [Run] delivers every message twice or more: one after the other, at once,
// while the first is in flight, after a crash, after an unknown outcome, with
// another payload, with answers of the store lost; and it counts effects.
//
// An adapter's test fills [Adapter] with one function, Open. It gets a guard
// and the effect as a [Handler], puts the real adapter between them, and
// returns a function that sends one message through the real protocol and
// reads the reply as an [Answer]:
//
//   - HTTP: Open makes an http.Handler that calls the Handler with the request
//     body and maps its error as the adapter documents (NotExecuted to a status
//     declared as before work, Refused to 422, unknown to 500), wraps it in the
//     middleware and serves it by httptest. Deliver posts the payload with
//     Message.ID as Idempotency-Key and maps back: 2xx Done, 409 with
//     Retry-After InProgress, outcome-unknown Uncertain, 422 mismatch or
//     refusal by problem type, 503 NotRun.
//   - A queue: Open subscribes a consumer whose key is Message.ID. Deliver
//     publishes one delivery and waits for its fate: ack Done (or Refused, if
//     the consumer says so), nack with delay InProgress or NotRun, parked
//     Uncertain, dead-lettered for another payload Mismatch. Set NoReply, since
//     an ack carries nothing.
//   - MCP: Open registers a guarded tool, with Message.ID as the call's
//     explicit key. Deliver calls it through a client session and reads the
//     structured verdict of the tool result.
//
// A second Open with the same store stands for a restart, so Open must keep
// nothing outside what it returns. The suite expects at-most-once.
package guardtest
