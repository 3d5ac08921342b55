/*
 * The guard's protocol as the code has it: one request ID, up to three callers,
 * one durable store, one downstream. A statement on the store is one step;
 * everything else interleaves, so a slow owner, a garbage collection and a
 * SIGSTOP are all just schedules. Faults have budgets (params.h), so every run
 * is finite. docs/model.md says what the properties and the bounds mean.
 *
 *	record.pml      the row and its transitions T1 to T14
 *	rules.pml       rule_claim.go, rule_settle.go, rule_resolve.go, tx.go
 *	network.pml     store calls whose request or answer is lost or late
 *	caller.pml      lead.go, effect.go, settle.go
 *	downstream.pml  the provider, and what its idempotency key promises
 *	others.pml      sweeper, lookup, operator, store clock, crashes
 *	properties.pml  what must hold
 *
 * The table of transitions (transitions.h) is generated from the code's.
 */
c_decl { \#include "params.h" }
#include "transitions.h"

/* A parameter of the run, whether a rule is wrong in it, a path to count. */
#define P(name) c_expr { og.name }
#define WRONG(name) c_expr { og.wrong == W_##name }
#define MARK(name) c_code { og_seen[M_##name]++; }

byte nc, nf, ne, nd, nx, nq, nm, nb, nh, ng; /* faults so far, see params.h */
hidden byte policy[3]; /* what each caller declares; set once, never changed */

#include "record.pml"
#include "properties.pml"
#include "downstream.pml"
#include "rules.pml"
#include "network.pml"
#include "caller.pml"
#include "others.pml"

init {
	atomic {
		c_code { policy[0] = og.policy[0]; policy[1] = og.policy[1]; policy[2] = og.policy[2]; };
		run Caller(0);
		if :: P(nw) > 1 -> run Caller(1) :: else fi;
		if :: P(nw) > 2 -> run Caller(2) :: else fi;
		run Network(); run Clock(); run Downstream(); run Crashes(); run Sweeper(); run End();
		if :: P(lookup) -> run Lookup() :: else fi;
		if :: P(lookup) && P(lookups) > 1 -> run Lookup() :: else fi;
		if :: P(operators) > 0 -> run Operator() :: else fi;
		if :: P(operators) > 1 -> run Operator() :: else fi;
		if :: WRONG(lossy_store) -> run Forgetful() :: else fi;
		if :: WRONG(pruned_early) -> run Pruner() :: else fi
	}
}
