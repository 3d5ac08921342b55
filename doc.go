// Package onceguard is an execution guard: the memory that answers one
// question before an irreversible effect is started again: did it already
// happen?
//
//	decision → deterministic request ID → guard
//	    a receipt exists: the recorded outcome, nothing runs
//	    none:             claim, run once, store the receipt
//
// # The promise
//
// An effect is started at most once per request ID, unless the action declares
// how it may safely be started again. Every request ends in a receipt, a
// definite failure, or a visible uncertain record. When the truth is not known
// the guard says so instead of guessing: a lapsed lease, a panic, a broken
// connection or an unclassified error never count as "it did not happen".
//
// Not promised: a process that is paused between its last check and the first
// byte it sends can be stopped by the downstream alone. A store that forgets (an
// asynchronous failover, a restored backup, an emptied file) forgets claims.
// "Exactly once" holds where one database transaction holds effect and receipt
// (DoTx), where the downstream dedups by our key within its horizon
// (SafeRetry), or where a lookup can forbid what has not happened; not
// otherwise.
//
// # The words
//
// A request is identified by Scope (tenant), Action (kind of effect) and [Key]
// (which effect: the order, the invoice, the message); its [RequestID] is a
// hash of the three. Its input has a keyed [Fingerprint]; the same key with
// another input is a mismatch and runs nothing. To claim is to start: from then
// on the effect may have happened. A claim has an attempt number, a random
// owner token that fences every write, and a lease. The lease says how long
// others leave the claim alone; it never says whether the effect happened. The
// owner settles the attempt, however late. Evidence is what contradicts or
// explains a record; it is append-only.
//
// # The states
//
//	absent    → claimed                                    first claim
//	claimed   → succeeded | failed                         the owner settles
//	claimed   → released                                   surely did not happen; may be claimed again
//	claimed   → uncertain                                  nobody knows
//	claimed   → claimed                                    taken over (safe-retry and rerun only)
//	uncertain → succeeded | failed | released              a late result, a lookup, a person
//
// succeeded and failed are final. [Transitions] returns the whole table.
//
// # Use
//
// Declare an [Action] once and call its Do, or call [Do] with a [Request]. The
// effect says how it ended: a value, [NotExecuted], [Refused], or any other
// error, which is unknown. Errors are *[Error], matched with errors.Is against
// a [Code]; every one says whether the effect may have run.
//
// Stores are in sqlitestore, pgstore and memstore; the contract for another one
// is [Store], and storetest is its suite. The root package imports the standard
// library alone.
package onceguard
