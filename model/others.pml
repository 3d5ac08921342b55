/*
 * Who else touches the row: the sweeper and observers of dead processes, the
 * lookup, operators; and the store's clock and crashes.
 */

/* sweep.go; lead.go, parkDead: a dead owner's claim that nobody may repeat is
   parked before its lease is over. */
proctype Sweeper() {
	byte R;
end:	do
	:: d_step { SWEEPABLE && !WRONG(sweeper_releases) -> if :: live -> skewed = 1 :: else fi; t5_park(); R = R_NONE; unchanged() }
	:: d_step { SWEEPABLE && WRONG(sweeper_releases) -> st = RELEASED; live = 0; overlap_allowed = 1 }
	:: d_step { st == CLAIMED && live && !REPEATS(rp) && crashed[OWNER_OF(own)] && !P(quiet) ->
		MARK(parked_dead_owner); t5_park(); R = R_NONE; unchanged() }
	od
}

/* reconcile.go. lookup 1: it makes sure, by voiding the key with a mark that
   only grows. lookup 2: not seen after a quiet period, in which every owner's
   lease and MaxRun ended (timing: an owner past its fence starts nothing). */
proctype Lookup() {
	byte a, key, v, verdict, R, RV;
end:	do
	:: atomic { st == UNCERTAIN -> a = att; key = gen }; goto ask
	od;
ask:	/* the record may move on meanwhile */
	if :: WRONG(torn_lookup) -> atomic { a = att; key = gen } :: else fi;
	if
	:: d_step { acted[key] -> verdict = VERDICT_HAPPENED; v = acted[key] }
	/* Refused: it knows that of the one attempt that is in doubt. */
	:: d_step { !acted[key] && refused_att == a && !unk && att == a && st == UNCERTAIN -> verdict = VERDICT_REFUSED; v = 40 + a }
	:: d_step { !acted[key] && P(lookup) == 1 && !WRONG(not_seen_is_never) ->
		verdict = VERDICT_NEVER_WILL; v = 60; printf("> lookup: voids key %d for attempt %d\n", key, a);
		if :: voided < key + 1 || WRONG(void_mark_lowers) -> voided = key + 1 :: else fi }
	:: d_step { !acted[key] && P(lookup) == 2 && running == 0 && !WAITING(0) && !WAITING(1) && !WAITING(2) && !WAITING(3) ->
		verdict = VERDICT_NEVER_WILL; v = 60 }
	:: d_step { !acted[key] && WRONG(not_seen_is_never) -> verdict = VERDICT_NEVER_WILL; v = 60 }
	:: d_step { st != UNCERTAIN || att != a -> verdict = 0 } /* gives up */
	fi;
	d_step {
		if :: verdict -> rule_resolve(a, verdict, v, BY_LOOKUP) :: else fi;
		a = 0; key = 0; v = 0; verdict = 0; R = R_NONE; RV = 0
	};
	goto end
}

/* resolve.go: a person reads the record, thinks, and decides once. What they
   say of the outside may be wrong; NeverWill is theirs to make true first. */
proctype Operator() {
	byte a, key, R, RV;
end:	atomic { st == UNCERTAIN -> a = att; key = gen };
	if
	:: P(verdicts) -> d_step { rule_resolve(a, VERDICT_HAPPENED, 50, BY_OPERATOR) }
	:: P(verdicts) -> d_step { rule_resolve(a, VERDICT_REFUSED, 51, BY_OPERATOR) }
	:: d_step { P(verdicts) && !acted[key] -> if :: voided < key + 1 -> voided = key + 1 :: else fi };
		d_step { rule_resolve(a, VERDICT_NEVER_WILL, 52, BY_OPERATOR) }
	:: P(orders) -> d_step { rule_resolve(a, VERDICT_RUN_AGAIN, 0, BY_OPERATOR) }
	fi;
	d_step { a = 0; key = 0; R = R_NONE; RV = 0; operators_done++ }
}

/* Leases end: by themselves once nobody renews them, and, as often as ne says,
   under a living owner (a pause, a jump of the store's clock). */
proctype Clock() {
end:	do
	:: d_step { st == CLAIMED && live && believes[OWNER_OF(own)] != att && (!P(quiet) || gone[OWNER_OF(own)]) -> live = 0 }
	:: d_step { st == CLAIMED && live && believes[OWNER_OF(own)] == att && ne < P(ne) -> ne++; live = 0; printf("> the lease is over, its owner lives\n") }
	:: d_step { st != ABSENT && !hz && nh < P(nh) -> nh++; hz = 1; printf("> the horizon is over\n") }
	od
}
proctype Crashes() {
	do
	:: d_step { nc < P(nc) && !gone[0] && !crashed[0] -> nc++; crashed[0] = 1; printf("> caller 0 crashes\n") }
	:: d_step { nc < P(nc) && P(nw) > 1 && !gone[1] && !crashed[1] -> nc++; crashed[1] = 1; printf("> caller 1 crashes\n") }
	:: d_step { nc < P(nc) && P(nw) > 2 && !gone[2] && !crashed[2] -> nc++; crashed[2] = 1; printf("> caller 2 crashes\n") }
	:: break
	od
}

/* What the protocol cannot repair, and shows why prune and epochs exist. */
proctype Forgetful() { /* a replica without the last commit takes over */
	if
	:: d_step { st == CLAIMED -> att--; own = 0; live = 0; st = (att -> RELEASED : ABSENT) }
	:: skip
	fi
}
proctype Pruner() { /* the identity is dropped while a retry can still come */
	if
	:: d_step { st == SUCCEEDED || st == FAILED -> st = ABSENT; att = 0; own = 0; rcpt = 0 }
	:: skip
	fi
}
