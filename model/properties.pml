/*
 * What must hold. The name of a violated property stands in the verifier's
 * message: every assertion is "condition or its name", and the names are false.
 */
hidden byte P1_effect_twice, P1b_two_at_once, P1c_ran_beside_another, P2_settled_receipt_changed,
	P3_caller_told_something_else, P4_succeeded_without_exactly_one_effect, P5_known_outcome_lost,
	P6_caller_hangs, P6_left_claimed, P6_left_uncertain, P7_receipt_untrue, P8_fresh_run_refused_by_an_old_void,
	P9_rows_without_receipt, Q_needlessly_uncertain;
#define CHECK(p, c) assert((c) || p)

byte running;           /* callers inside the effect */
byte told;              /* the receipt that some caller was given */
byte believes[3];       /* the attempt a caller believes it holds */
bit crashed[3], gone[3];
byte operators_done;

/* One effect, and one more for each order of a person, which the row shows. */
#define ALLOWED_EFFECTS (1 + (waived -> orders : 0))
#define ANY(p) (policy[0] == (p) || policy[1] == (p) || policy[2] == (p))
#define ALL(p) (policy[0] == (p) && policy[1] == (p) && policy[2] == (p))

/* That receipts end when they are pruned early is plain; the run looks further. */
#define FORGOTTEN WRONG(pruned_early)

inline effect(v) { /* at each physical effect */
	effects++;
	CHECK(P1_effect_twice, ANY(RERUN) || effects <= ALLOWED_EFFECTS);
	if :: effects > 1 && waived -> MARK(two_effects_after_order) :: else fi
}
/* What the owner or a lookup settled is true, and stays true. */
inline truth() {
	CHECK(P7_receipt_untrue, !(final && fby != BY_OPERATOR && fst == FAILED && effects > 0));
	CHECK(P7_receipt_untrue, !(final && fby != BY_OPERATOR && fst == SUCCEEDED && effects == 0));
	CHECK(P4_succeeded_without_exactly_one_effect, ANY(RERUN) || waived || !(final && fby != BY_OPERATOR && fst == SUCCEEDED && effects != 1));
	CHECK(P9_rows_without_receipt, !ALL(TRANSACTIONAL) || (effects == 1) == (st == SUCCEEDED))
}
inline settled(to, v, who) {
	if
	:: final -> CHECK(P2_settled_receipt_changed, (fst == to && fval == v) || FORGOTTEN)
	:: else -> final = 1; fst = to; fval = v; fby = who
	fi;
	CHECK(P3_caller_told_something_else, told == 0 || told == v || FORGOTTEN);
	rcpt = v; by = who; live = 0; R = R_SETTLED; RV = v;
	truth()
}
inline unchanged() { /* after each step of the store */
	CHECK(P2_settled_receipt_changed, !final || (st == fst && rcpt == fval) || FORGOTTEN)
}
/* A caller gets a receipt: it must be the stored one. */
inline answer(v) {
	atomic {
		told = v; printf("> caller %d: is told receipt %d\n", w, v);
		CHECK(P3_caller_told_something_else, (final && v == fval) || FORGOTTEN);
		if :: replay -> MARK(replay) :: else fi
	}
}
/* An effect is about to start under attempt a of caller w. */
inline may_start(w, key, under_way) {
	running++; printf("> caller %d: starts the effect, attempt %d, key %d\n", w, my, key);
	/* Two at once only after the end of a lease, and at-most-once never. */
	CHECK(P1b_two_at_once, running <= 1 || overlap_allowed);
	CHECK(P1b_two_at_once, running <= 1 || !ALL(AT_MOST_ONCE) || waived || voided > 0);
	/* Who declares at-most-once never starts beside what may have happened,
	   unless the key is voided by now, so that the request will be refused. */
	CHECK(P1c_ran_beside_another, policy[w] != AT_MOST_ONCE || waived || (key) < voided || (effects == 0 && !(under_way)))
}
proctype End() {
	timeout;
	d_step {
		CHECK(P6_caller_hangs, gone[0] && (gone[1] || P(nw) < 2) && (gone[2] || P(nw) < 3));
		/* A lapsed claim that may be repeated waits for the next call; nothing
		   else is left claimed. */
		CHECK(P6_left_claimed, st != CLAIMED || (!live && (REPEATS(rp) || WRONG(retry_on_expiry))));
		/* Where somebody may settle it, nothing is left uncertain. */
		CHECK(P6_left_uncertain, st != UNCERTAIN || (!P(lookup) && operators_done == P(operators)));
		CHECK(P3_caller_told_something_else, told == 0 || final);
		CHECK(Q_needlessly_uncertain, !P(quiet) || st != UNCERTAIN);
		if :: st == UNCERTAIN -> MARK(left_uncertain) :: st == CLAIMED -> MARK(left_claimed) :: else fi
	}
}
