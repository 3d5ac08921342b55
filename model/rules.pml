/*
 * The store's rules: one call is one step. R is the answer, RA the attempt, RG
 * the generation, RV the receipt; "mine" and the kind of a fenced answer are
 * told by the codes R_OWN_PARKED and R_FENCED_RELEASED.
 */
#define CALL_CLAIM 1
#define CALL_SUCCEEDED 2
#define CALL_FAILED 3
#define CALL_UNKNOWN 4
#define CALL_RELEASED 5
#define CALL_RENEW 6
#define CALL_TRANSACT 7
#define CALL_WRITE 8 /* wrong variants: user's rows or receipt in a transaction of their own */

/* The store's clock judges leases, never the caller's. */
#define EXPIRED (!live || (WRONG(client_clock) && !skewed))
bit skewed;

/* After a second send of the same claim; only a wrong variant looks at it. */
bit resent_by[3];
#define resent resent_by[w]

hidden byte pol; /* scratch of one step */

/* rule_claim.go */
inline rule_claim(n, d) {
	if
	:: st == ABSENT -> t1_first_claim(n, d)
	:: st == CLAIMED && (own == n || (WRONG(any_claim_is_mine) && resent)) -> t2_own_claim()
	:: st == CLAIMED && own != n && !(WRONG(any_claim_is_mine) && resent) && !EXPIRED -> R = R_HELD
	:: st == CLAIMED && own != n && !(WRONG(any_claim_is_mine) && resent) && EXPIRED ->
		if :: live -> skewed = 1 :: else fi;
		pol = STRICTER(rp, d);
		if
		:: NO_TAKEOVER(pol) ->
			if :: REPEATS(rp) && !REPEATS(d) -> MARK(stricter_parks) :: else fi;
			t5_park()
		:: else -> t4_take_over(n, pol)
		fi
	:: st == RELEASED && own == n && !WRONG(released_token_claims) -> R = R_FENCED
	:: st == RELEASED && (own != n || WRONG(released_token_claims)) -> rule_claim_released(n, d)
	:: st == UNCERTAIN -> R = R_PARKED;
		if :: own == n -> R = R_OWN_PARKED; RA = att :: else fi
	:: st == SUCCEEDED || st == FAILED -> R = R_SETTLED; RV = rcpt
	fi
}
inline rule_claim_released(n, d) {
	pol = STRICTER(rp, d);
	if
	:: !unk -> t3_fresh(n, d)
	:: unk && !ORDERED && ((!REPEATS(pol) && !WRONG(released_unknown_runs)) || OVER(pol)) -> t3_park(pol)
	:: unk && ORDERED -> t3_ordered(n, pol)
	:: else -> t3_again(n, pol)
	fi
}

/* Sweep: parks what no later call may take over. */
#define SWEEPABLE (st == CLAIMED && EXPIRED && NO_TAKEOVER(rp))

/* rule_settle.go. T8: a refusal of this attempt says nothing about an earlier
   one, unless the downstream remembers refusals and nobody ordered a run since. */
#define FINAL_REFUSAL (!unk || WRONG(refusal_after_unknown) || (rp == SAFE_RETRY && P(remembers) && (!waived || WRONG(remembers_after_order))))
#define MAY_SETTLE(n, a) \
	(WRONG(no_fence) || \
	(HOLDS(n, a) || WRONG(settle_by_key) || (WRONG(delete_on_release) && att == (a))) && \
	(st == CLAIMED || st == UNCERTAIN || (WRONG(released_settles) && st == RELEASED)) && \
	(live || !WRONG(settle_looks_at_lease)))

inline rule_settle(k, n, a, v) {
	if
	:: (st == SUCCEEDED || st == FAILED) && !(WRONG(no_fence) || (WRONG(late_overwrites) && HOLDS(n, a))) ->
		if :: rcpt != v && k == CALL_SUCCEEDED || k == CALL_FAILED && st == SUCCEEDED -> t14_keep() :: else fi;
		R = R_SETTLED; RV = rcpt
	:: (st == SUCCEEDED || st == FAILED) && (WRONG(no_fence) || (WRONG(late_overwrites) && HOLDS(n, a))) ->
		if
		:: k == CALL_SUCCEEDED -> st = SUCCEEDED; settled(SUCCEEDED, v, BY_OWNER)
		:: k == CALL_FAILED -> st = FAILED; settled(FAILED, v, BY_OWNER)
		:: else -> R = R_SETTLED; RV = rcpt
		fi
	:: st != SUCCEEDED && st != FAILED && !MAY_SETTLE(n, a) ->
		R = (st == ABSENT -> R_MISSING : (st == RELEASED -> R_FENCED_RELEASED : R_FENCED));
		if
		:: k == CALL_RELEASED && st == RELEASED && HOLDS(n, a) -> R = R_APPLIED
		:: k == CALL_SUCCEEDED -> MARK(late_fenced)
		:: else
		fi
	:: st != SUCCEEDED && st != FAILED && MAY_SETTLE(n, a) ->
		if
		:: k == CALL_SUCCEEDED -> t7_succeed(v)
		:: k == CALL_FAILED && FINAL_REFUSAL -> t8_refuse(v)
		:: k == CALL_FAILED && !FINAL_REFUSAL -> t8_unclear()
		:: k == CALL_RELEASED -> t10_release()
		:: k == CALL_UNKNOWN && st == UNCERTAIN -> R = R_PARKED
		:: k == CALL_UNKNOWN && st != UNCERTAIN && NO_TAKEOVER(rp) -> t9_park()
		:: k == CALL_UNKNOWN && st != UNCERTAIN && !NO_TAKEOVER(rp) -> t9b_leave()
		fi
	fi
}
inline rule_renew(n, a) {
	if
	:: st == CLAIMED && HOLDS(n, a) -> t6_renew()
	:: !(st == CLAIMED && HOLDS(n, a)) && WRONG(renew_resurrects) && st != ABSENT -> st = CLAIMED; live = 1; R = R_APPLIED
	:: !(st == CLAIMED && HOLDS(n, a)) && !(WRONG(renew_resurrects) && st != ABSENT) -> R = R_FENCED
	fi
}

/* rule_resolve.go: compare-and-set on (uncertain, attempt). */
#define VERDICT_HAPPENED 1
#define VERDICT_REFUSED 2
#define VERDICT_NEVER_WILL 3
#define VERDICT_RUN_AGAIN 4
#define BLIND(who) (st != ABSENT && ((WRONG(lookup_blind) && who == BY_LOOKUP) || (WRONG(operator_blind) && who == BY_OPERATOR)))

inline rule_resolve(a, verdict, v, who) {
	if
	:: st == UNCERTAIN && att == a ->
		if
		:: verdict == VERDICT_HAPPENED && who == BY_LOOKUP -> t12_happened(v)
		:: verdict == VERDICT_REFUSED && who == BY_LOOKUP -> t12_refused(v)
		:: verdict == VERDICT_NEVER_WILL && who == BY_LOOKUP && P(runafter) -> t12_release()
		:: verdict == VERDICT_NEVER_WILL && who == BY_LOOKUP && !P(runafter) -> t12_never(v)
		:: verdict == VERDICT_HAPPENED && who == BY_OPERATOR -> t13_happened(v)
		:: verdict == VERDICT_REFUSED && who == BY_OPERATOR -> t13_refused(v)
		:: verdict == VERDICT_NEVER_WILL && who == BY_OPERATOR && P(runafter) -> t13_release()
		:: verdict == VERDICT_NEVER_WILL && who == BY_OPERATOR && !P(runafter) -> t13_refused(v)
		:: verdict == VERDICT_RUN_AGAIN -> t13_run_again()
		fi
	:: !(st == UNCERTAIN && att == a) && BLIND(who) ->
		if
		:: verdict == VERDICT_HAPPENED -> st = SUCCEEDED; settled(SUCCEEDED, v, who)
		:: verdict == VERDICT_REFUSED || (verdict == VERDICT_NEVER_WILL && !P(runafter)) -> st = FAILED; settled(FAILED, v, who)
		:: else -> st = RELEASED; live = 0; by = who
		fi
	:: !(st == UNCERTAIN && att == a) && !BLIND(who) ->
		MARK(lookup_stale);
		if :: (st == SUCCEEDED && verdict != VERDICT_RUN_AGAIN && rcpt != v) || (st == FAILED && verdict == VERDICT_HAPPENED) -> t14_keep() :: else fi
	fi;
	unchanged()
}

/* tx.go: the whole transaction is one step; an error or a crash before its
   commit leaves no trace and is a request that was lost. */
inline rule_transact(n, d, v) {
	if
	:: st == RELEASED && own == n -> R = R_FENCED
	:: st == RELEASED && own != n && unk && !ORDERED -> pol = STRICTER(rp, d); t3_park(pol)
	:: st == ABSENT || (st == RELEASED && own != n && (!unk || ORDERED)) ->
		if
		:: WRONG(tx_claim_outside) -> t1_first_claim(n, d)
		:: else -> pol = (unk -> STRICTER(rp, d) : d); t11_commit(n, pol, v)
		fi
	:: st == CLAIMED && WRONG(tx_claim_outside) && own == n -> t2_own_claim()
	:: st != ABSENT && st != RELEASED && !(st == CLAIMED && WRONG(tx_claim_outside) && own == n) ->
		if :: st == SUCCEEDED -> MARK(tx_replay) :: else fi;
		rule_claim(n, d)
	fi
}
/* Wrong: the user's rows commit apart from the claim or the receipt, and the
   receipt's statement does not care whether it hit a row. */
inline wrong_write(n, a, v) {
	if
	:: WRONG(tx_rows_first) && a == 0 -> effect(v); R = R_APPLIED
	:: else ->
		if :: !WRONG(tx_rows_first) -> effect(v) :: else fi;
		if
		:: st == SUCCEEDED || st == FAILED -> skip
		:: else -> st = SUCCEEDED; own = n; settled(SUCCEEDED, v, BY_OWNER)
		fi;
		R = R_SETTLED; RV = rcpt
	fi
}

inline apply(k, n, a, v, d) {
	R = R_NONE; RA = 0; RG = 0; RV = 0;
	if
	:: k == CALL_CLAIM -> rule_claim(n, d)
	:: k >= CALL_SUCCEEDED && k <= CALL_RELEASED -> rule_settle(k, n, a, v)
	:: k == CALL_RENEW -> rule_renew(n, a)
	:: k == CALL_TRANSACT -> rule_transact(n, d, v)
	:: k == CALL_WRITE -> wrong_write(n, a, v)
	fi;
	/* A known outcome of the row's own attempt is never lost (T7). */
	CHECK(P5_known_outcome_lost, k != CALL_SUCCEEDED || !HOLDS(n, a) || st == SUCCEEDED || st == FAILED || st == RELEASED);
	unchanged()
}
