/*
 * The durable row, and every way it may change. Each write of the state goes
 * through STEP, which asks the generated table whether the code allows it.
 */
byte st = ABSENT;
byte att;    /* number of the latest attempt; only grows */
byte own;    /* owner token of that attempt */
byte gen;    /* generation of the downstream key */
byte rp;     /* the policy on the row */
byte rcpt;   /* the result, as a number; no two results are equal */
byte by;     /* who settled or ordered: SettledBy */
bit live;    /* the lease is not over, by the store's clock */
bit unk;     /* UnknownAttempt */
bit waived;  /* Waived */
bit hz;      /* the horizon of the present key is over, by the store's clock */

/* Answers of the store. */
#define R_NONE 0
#define R_GRANTED 1
#define R_HELD 2
#define R_PARKED 3
#define R_OWN_PARKED 4
#define R_SETTLED 5
#define R_APPLIED 6
#define R_FENCED 7
#define R_FENCED_RELEASED 8
#define R_MISSING 9

#define BY_NONE 0
#define BY_OWNER 1
#define BY_LOOKUP 2
#define BY_OPERATOR 3

/* Not known to the protocol: what the properties look at. */
bit final; byte fst, fval, fby; /* the outcome that was settled first */
byte orders;                    /* how often a person ordered another run */
bit overlap_allowed;            /* a lease ended before a claim was granted, or it was released */
byte taken_att, taken_gen;      /* NeverWill was settled: up to where, which key */
bit old_key;                    /* an order restarted the horizon of a key that the downstream counts from before */

hidden byte P0_outside_the_table;
#define STEP(t, to) \
	c_code { og_steps[t][now.st][to]++; }; \
	printf("> "); printf(#t); printf(": state %d to %d, attempt %d, token %d\n", st, to, att, own); \
	assert(c_expr { og_table[t][now.st][to] } || P0_outside_the_table); \
	st = to

#define REPEATS(p) ((p) == SAFE_RETRY || (p) == RERUN)
#define STRICTNESS(p) ((p) == RERUN -> 0 : ((p) == SAFE_RETRY -> 1 : 2))
#define STRICTER(r, d) (WRONG(laxer_governs) -> (STRICTNESS(d) < STRICTNESS(r) -> (d) : (r)) : (STRICTNESS(d) > STRICTNESS(r) -> (d) : (r)))

/* Record.ordered: a person's order covers every attempt that is unknown. */
#define ORDERED (waived && (by == BY_OPERATOR || WRONG(order_never_ends)))
#define OVER(p) ((p) == SAFE_RETRY && hz && !WRONG(retry_past_horizon))

/* Record.noTakeover: p forbids another attempt after an unknown one. */
#define NO_TAKEOVER(p) ((!REPEATS(p) && !WRONG(retry_on_expiry)) || att >= P(attempts) || OVER(p))

#define HOLDS(n, a) (own == (n) && att == (a))

inline start(n) { /* Record.grant, but for the state */
	att++; own = n; live = 1; by = BY_NONE; R = R_GRANTED; RA = att; RG = gen
}
inline t1_first_claim(n, d) {
	STEP(T1, CLAIMED); rp = d; gen = 0; hz = 0;
	start(n)
}
inline t2_own_claim() {
	STEP(T2, CLAIMED); live = 1; R = R_GRANTED; RA = att; RG = gen;
	MARK(resend_granted)
}
/* Nothing was ever sent under this key: what the caller declares now counts. */
inline t3_fresh(n, d) {
	STEP(T3, CLAIMED); rp = d; hz = 0;
	start(n); MARK(released_then_run)
}
/* An earlier attempt is unknown: the row keeps its key, and an order its force. */
inline t3_again(n, p) {
	STEP(T3, CLAIMED); rp = p;
	start(n)
}
inline t3_ordered(n, p) {
	STEP(T3, CLAIMED); rp = p;
	if :: p == SAFE_RETRY && hz -> hz = 0; old_key = (remembered[gen] || refused[gen]); MARK(ordered_past_horizon) :: else fi;
	start(n); by = BY_OPERATOR; MARK(ordered)
}
inline t3_park(p) {
	STEP(T3, UNCERTAIN); rp = p; live = 0; R = R_PARKED;
	if :: OVER(p) -> MARK(horizon_over) :: else -> MARK(stricter_parks) fi
}
inline t4_take_over(n, p) {
	STEP(T4, CLAIMED); rp = p; unk = !WRONG(takeover_forgets_unknown);
	if :: WRONG(horizon_from_takeover) -> old_key = (remembered[gen] || refused[gen]) :: else fi;
	if :: WRONG(generation_on_takeover) -> gen++ :: else fi;
	overlap_allowed = overlap_allowed || !live;
	start(n)
}
inline t5_park() {
	if :: OVER(rp) -> MARK(horizon_over) :: else fi;
	STEP(T5, UNCERTAIN); live = 0; R = R_PARKED
}
inline t6_renew() {
	STEP(T6, CLAIMED); live = 1; R = R_APPLIED
}
inline t7_succeed(v) {
	if :: st == UNCERTAIN -> MARK(late_settle) :: else fi;
	STEP(T7, SUCCEEDED); settled(SUCCEEDED, v, BY_OWNER);
	if :: att > 1 -> MARK(takeover_succeeds) :: else fi
}
inline t8_refuse(v) {
	STEP(T8, FAILED); settled(FAILED, v, BY_OWNER);
	if :: unk -> MARK(remembered_refusal) :: else fi
}
inline t8_unclear() {
	STEP(T8, UNCERTAIN); live = 0; R = R_PARKED; MARK(unclear_refusal)
}
inline t9_park() {
	STEP(T9, UNCERTAIN); live = 0; R = R_PARKED
}
inline t9b_leave() {
	STEP(T9b, CLAIMED); live = 0; unk = 1; by = BY_NONE; R = R_APPLIED
}
inline t10_release() {
	STEP(T10, RELEASED); live = 0; R = R_APPLIED; MARK(released_by_owner);
	if :: WRONG(generation_on_release) -> gen++ :: else fi;
	if /* the row is deleted, and numbers start again */
	:: WRONG(delete_on_release) -> st = ABSENT; att = 0; own = 0; unk = 0
	:: else
	fi
}
/* Claim, the user's rows and the receipt in one commit. */
inline t11_commit(n, p, v) {
	if :: st == RELEASED -> MARK(tx_after_release) :: else fi;
	STEP(T11, SUCCEEDED); rp = p; att++; own = n;
	effect(v); settled(SUCCEEDED, v, BY_OWNER);
	R = R_SETTLED; RV = rcpt; MARK(tx_commit)
}
inline t12_happened(v) {
	STEP(T12, SUCCEEDED); settled(SUCCEEDED, v, BY_LOOKUP); MARK(lookup_happened)
}
inline t12_refused(v) {
	STEP(T12, FAILED); settled(FAILED, v, BY_LOOKUP); MARK(lookup_refused)
}
inline t12_never(v) { /* the verdict covers every attempt so far */
	STEP(T12, FAILED); unk = 0; settled(FAILED, v, BY_LOOKUP); MARK(lookup_never)
}
inline t13_happened(v) {
	STEP(T13, SUCCEEDED); settled(SUCCEEDED, v, BY_OPERATOR); MARK(operator_settles)
}
inline t13_refused(v) {
	STEP(T13, FAILED); settled(FAILED, v, BY_OPERATOR); MARK(operator_settles)
}
/* NeverWill where the action opted in: the old key may be burned downstream. */
inline released_afresh(who) {
	taken_att = att; taken_gen = gen;
	unk = 0; by = who; overlap_allowed = 1;
	if :: WRONG(generation_kept) -> skip :: else -> gen++ fi;
	MARK(generation_raised)
}
inline t12_release() {
	STEP(T12, RELEASED); released_afresh(BY_LOOKUP); MARK(lookup_never)
}
inline t13_release() {
	STEP(T13, RELEASED); released_afresh(BY_OPERATOR)
}
inline t13_run_again() {
	STEP(T13, RELEASED); orders++; overlap_allowed = 1;
	if :: WRONG(order_unmarked) -> skip :: else -> unk = 1; waived = 1 fi;
	by = BY_OPERATOR
}
inline t14_keep() {
	if :: st == SUCCEEDED -> STEP(T14, SUCCEEDED) :: else -> STEP(T14, FAILED) fi;
	MARK(late_conflict)
}
