package fault

// Marker is a string that binaries with failpoints contain and all others lack.
// The release check greps for it.
const Marker = "onceguard-failpoints-are-compiled-in"

// Points lists every failpoint there is, in the order in which an operation
// passes them. Code may name no other point, and neither may ONCEGUARD_FAULT.
//
// before-commit means: the transaction has done its work and has not been asked
// to commit. after-commit means: it is durable and the caller does not know it.
var Points = []string{
	"guard.claim.before",  // nothing was sent to the store
	"guard.claim.after",   // the claim is granted, the effect has not started
	"guard.effect.before", // last checks passed, the effect starts next
	"guard.effect.after",  // the effect returned, nothing is settled
	"guard.settle.before", // the outcome is encoded, the store has not been asked
	"guard.settle.after",  // the store has the outcome
	"guard.answer.before", // everything is done but telling the caller

	"store.claim.before-commit",
	"store.claim.after-commit",
	"store.settle.before-commit",
	"store.settle.after-commit",
	"store.renew.before",
	"store.renew.after",

	"run.child.before-start", // the claim is held, no child exists
	"run.child.after-start",  // the child runs, its pid is not recorded
	"run.child.after-exit",   // the child has exited, nothing is settled

	"reconcile.before", // the record was read, the outside has not been asked
	"reconcile.after",  // the verdict is known and not stored
	"resolve.before",   // the person's decision is not stored
	"resolve.after",    // it is stored, the person has not been told

	"spool.before-write",
	"spool.after-write", // the outcome is in the spool, fsynced
}
