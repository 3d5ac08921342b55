// Package ledger is the effect ledger: an HTTP server that stands for the world
// outside, a payment provider, and counts what really happened to it. The demo
// and the crash tests run it in a process of its own, so that killing the guard
// does not touch it. It shares no code with the guard, or a mistake in the guard
// could hide itself.
//
// Every effect belongs to an op, named by the test in the header Ledger-Op; the
// guard does not know it. Two applied effects of one op are a duplicate. Beside
// it the provider's own fields are kept: Idempotency-Key and the optional
// Onceguard-Attempt.
//
//	POST /effects                   ask for an effect; op by header or as "op" in a JSON body
//	GET  /effects?op=OP             applied effects and their count; all without op
//	GET  /effects/by-key/KEY        the latest applied effect with this key, or 404
//	POST /void/KEY?through=N        effects with KEY and an attempt up to N, or none, get 410 from now on
//	POST /modes                     {"op":OP,"modes":[…]}: how requests are treated, see Mode
//	POST /release/OP                let go what Mode.Hold and Mode.HoldAnswer keep
//	GET  /progress?op=OP&arrived=N  answers when N requests of OP have arrived, or after a while;
//	                                or &decided=N
//	GET  /summary                   applied effects per op
//	GET  /history                   every record of the file
//
// A decision is appended to the ledger's file, synced, before anyone can see an
// answer. Started again on the same file, also after SIGKILL, it knows all
// effects, keys, refusals and voids; modes, the counts of
// /progress and what it held are gone. A line torn by a kill was never answered
// and is dropped.
//
// It listens on loopback addresses alone and knows no users: it is for tests
// and demonstrations, and keeps its history in memory as well.
package ledger
