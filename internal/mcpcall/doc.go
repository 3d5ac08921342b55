// Package mcpcall decides what becomes of one tools/call of the Model Context
// Protocol: whether it is a new intention, a retry of one that is known, or a
// deliberate repeat; it runs the first and the last at most once and answers the
// others from receipts. It is the engine of the transparent proxy and of the
// middleware for the official Go SDK. It speaks no JSON-RPC: callers hand in the
// raw params of a call and write the raw result or error that comes back.
//
// # Identity
//
// A call is looked up by everything that could name its intention, and the
// strictest finding wins:
//
//	L0  an explicit key that no model made: _meta, or the header Idempotency-Key
//	L1  the host's id of the call, together with what the call says
//	L2  a business key that the policy takes out of the arguments
//	L3  the arguments themselves, and which occurrence of them this is
//
// Receipts of L2 and L3 form a chain: occurrence 0, 1, 2 and so on of one
// business key or one content. Names (L0 and L1) are bound durably to a receipt
// before anything is claimed, insert-if-absent, so that a name that comes again
// meets the same receipt in every process and after every crash. A call without
// a known name is judged by the latest occurrence of its chain.
//
// # Crash analysis
//
// A process that dies before the binding leaves nothing. One that dies between
// binding and claim leaves a name that points at a receipt which does not exist:
// the next call with that name claims it, which is what this one would have
// done. From the claim on the rules of package onceguard hold. The evidence of
// delivery is written last; losing it turns a question ("shall I repeat this?")
// into a replay, never into a second effect.
package mcpcall
