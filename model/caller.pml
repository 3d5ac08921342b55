/*
 * One caller: calls of Do (or DoTx), one after the other. Crash: whatever it
 * knew is gone; what it sent is not.
 */
#define OWNER_OF(n) ((n) >> 2)

/* One token for each claim call: one that is neither on the row nor on a late
   call. Real tokens are 128 random bits; reusing numbers keeps the state small. */
inline new_token() {
	atomic {
		n = (w << 2) + 1;
		if :: n == own || n == late_token[w] -> n++ :: else fi;
		if :: n == own || n == late_token[w] -> n++ :: else fi;
		resent_by[w] = 0
	}
}
/* Self-fence, as one step with the send: params.h, quiet lookups need the
   lease; the horizon's margin is part of what hz means. */
#define TIMED (P(lookup) == 2 && !WRONG(quiet_without_fence))
#define PAST_FENCE ((TIMED && !(live && st == CLAIMED && HOLDS(n, my))) || (sr && hz && !WRONG(retry_past_horizon)))
#define THE_KEY (WRONG(key_per_attempt) -> my - 1 : g)
#define SEND_IN(s) xst[s] == FREE -> slot = s; xst[s] = SENT; xkey[s] = THE_KEY; xatt[s] = my; inside = 1

inline forget_slot(to) {
	if :: to == FREE -> xkey[slot] = 0; xatt[slot] = 0 :: else fi;
	xst[slot] = to; xval[slot] = 0; slot = 0; running--; inside = 0
}

proctype Caller(byte w) {
	byte n, my, g, slot, kind, val, R, RA, RG, RV;
	bit got, inside, sr, replay, quitting;
	{	my = 0;
call:
	if
	:: policy[w] == TRANSACTIONAL -> goto transact
	:: policy[w] != TRANSACTIONAL
	fi;

/* lead.go: a claim, sent again until it is answered. */
claim:
	new_token();
	if
	:: WRONG(check_then_insert) && st == ABSENT -> d_step { t1_first_claim(n, policy[w]); believes[w] = att; my = 1; R = R_NONE; RA = 0; RG = 0 }; goto execute
	:: else
	fi;
resend:
	send(CALL_CLAIM, n, 0, 0);
	if
	:: !got && WRONG(fail_open) -> my = 9; goto execute
	:: !got && WRONG(token_per_retry) -> goto claim
	:: !got && !WRONG(fail_open) && !WRONG(token_per_retry) -> resent_by[w] = 1; goto resend
	/* StoreTimeout: the caller is told that nothing ran, and what it may have
	   won is given back in the background. Not where Q is asked: docs/model.md. */
	:: !got && !WRONG(fail_open) && !WRONG(token_per_retry) && !quitting && !P(quiet) -> quitting = 1; MARK(abandoned); goto resend
	:: R == R_GRANTED && !quitting -> d_step { my = RA; g = RG; sr = (rp == SAFE_RETRY); replay = 0; R = R_NONE; RA = 0; RG = 0 }; goto execute
	:: R == R_GRANTED && quitting -> my = RA; goto release
	:: R == R_OWN_PARKED -> MARK(own_claim_parked); my = RA; goto release
	:: R == R_PARKED || (quitting && (R == R_HELD || R == R_FENCED || R == R_SETTLED)) -> goto ended
	:: R == R_FENCED && !quitting -> goto claim
	:: R == R_SETTLED && !quitting -> replay = 1; answer(RV); goto ended
	:: R == R_HELD && !quitting -> goto watch
	fi;
/* Nothing was started under our claim: say so (T10). */
release:
	R = R_NONE; RA = 0; RG = 0;
	send(CALL_RELEASED, n, my, 0);
	if
	:: !got -> goto release
	:: got && quitting -> goto ended
	:: got && !quitting -> my = 0; believes[w] = 0; goto claim
	fi;
watch:
	atomic { R = R_NONE; my = 0; believes[w] = 0 };
	(st != CLAIMED || EXPIRED);
	goto claim;

/* effect.go */
execute:
	got = 0; R = R_NONE;
	if
	:: nx < P(nx) -> nx++; kind = CALL_RELEASED; goto settle /* the caller ended, or nothing left the process */
	:: atomic { !PAST_FENCE -> may_start(w, g, UNDER_WAY);
		if :: SEND_IN(0) :: else -> if :: SEND_IN(1) :: else -> if :: SEND_IN(2) :: else -> SEND_IN(3) fi fi fi }
	:: atomic { PAST_FENCE -> MARK(self_fenced); kind = CALL_RELEASED }; goto settle
	fi;
running_effect:
	if
	:: atomic { xst[slot] == DONE -> kind = CALL_SUCCEEDED; val = xval[slot]; forget_slot(FREE) }
	:: atomic { xst[slot] == REFUSED -> kind = CALL_FAILED; val = 40 + my; forget_slot(FREE) }
	/* A refusal that the classifier knows to come before any work. */
	:: atomic { xst[slot] == REFUSED && nq < P(nq) -> nq++; kind = CALL_RELEASED; forget_slot(FREE) }
	:: atomic { xst[slot] == LOST -> kind = CALL_UNKNOWN; forget_slot(FREE) }
	:: atomic { xst[slot] == SENT && nf < P(nf) && !P(quiet) -> nf++; printf("> caller %d: no answer in time\n", w); kind = CALL_UNKNOWN; forget_slot(ORPHAN) }
	:: atomic { nb < P(nb) -> nb++ }; send(CALL_RENEW, n, my, 0); R = R_NONE; goto running_effect
	/* MaxRun is over: said once, while the effect goes on. */
	:: atomic { nm < P(nm) && !sr && rp != RERUN -> nm++; MARK(max_run) }; send(CALL_UNKNOWN, n, my, 0); R = R_NONE; goto running_effect
	fi;
	if
	:: kind == CALL_UNKNOWN && WRONG(timeout_is_refusal) -> kind = CALL_FAILED; val = 40 + my
	:: kind == CALL_UNKNOWN && WRONG(release_on_timeout) -> kind = CALL_RELEASED
	:: (kind == CALL_SUCCEEDED || kind == CALL_FAILED) && WRONG(answer_first) -> told = val
	:: kind == CALL_FAILED && WRONG(delete_on_release) -> kind = CALL_RELEASED; val = 0
	:: else
	fi;

/* settle.go: sent until the store answers; then answered from what it has. */
settle:
	send(kind, n, my, val);
	if
	:: !got && !(WRONG(release_on_settle_error) && kind == CALL_SUCCEEDED) -> goto settle
	:: !got && WRONG(release_on_settle_error) && kind == CALL_SUCCEEDED -> kind = CALL_RELEASED; val = 0; goto settle
	:: R == R_SETTLED -> answer(RV); goto ended
	:: R == R_APPLIED || R == R_PARKED || R == R_FENCED_RELEASED || R == R_MISSING -> goto ended
	:: R == R_FENCED -> d_step { kind = 0; val = 0; R = R_NONE; my = 0; believes[w] = 0; replay = 1 }; goto claim /* superseded */
	fi;

/* tx.go */
transact:
	new_token();
	if
	:: (WRONG(tx_check_first) && st == ABSENT) -> skip
	:: (WRONG(tx_check_first) && (st == SUCCEEDED || st == FAILED)) -> answer(rcpt); goto ended
	:: WRONG(tx_rows_first) && st != SUCCEEDED && st != FAILED -> skip
	:: (WRONG(tx_rows_first) && (st == SUCCEEDED || st == FAILED)) -> answer(rcpt); goto ended
	:: !WRONG(tx_check_first) && !WRONG(tx_rows_first) -> goto commit
	fi;
write:
	send(CALL_WRITE, n, my, 20 + w);
	if
	:: !got -> goto write
	:: R == R_APPLIED -> my = 1; goto write /* the rows are there; now the receipt */
	:: R == R_SETTLED -> answer(RV); goto ended
	fi;
commit:
	send(CALL_TRANSACT, n, 0, 20 + w);
	if
	:: !got -> goto commit /* ambiguous: read back by the token, or the same again */
	:: !got -> goto ended  /* could not be read back: "uncertain", read by the next call */
	:: R == R_GRANTED -> my = 1; goto write /* tx_claim_outside alone */
	:: R == R_SETTLED -> answer(RV); goto ended
	:: R == R_PARKED || R == R_OWN_PARKED || R == R_FENCED -> goto ended
	:: R == R_HELD -> (st != CLAIMED || EXPIRED); R = R_NONE; goto transact
	fi;

ended:
	atomic { n = 0; my = 0; g = 0; slot = 0; kind = 0; val = 0; R = R_NONE; RA = 0; RG = 0; RV = 0; got = 0; sr = 0; replay = 0; quitting = 0; believes[w] = 0; resent_by[w] = 0 };
	if
	:: atomic { ng < P(ng) -> ng++; replay = 1 }; goto call
	:: goto out
	fi
	} unless {
		atomic { crashed[w] ->
			if
			:: inside -> if :: xst[slot] == SENT -> forget_slot(ORPHAN) :: else -> forget_slot(FREE) fi
			:: else
			fi }
	};
out:	atomic { n = 0; my = 0; g = 0; slot = 0; kind = 0; val = 0; R = R_NONE; RA = 0; RG = 0; RV = 0; got = 0; sr = 0; replay = 0; quitting = 0;
		believes[w] = 0; resent_by[w] = 0; gone[w] = 1 }
}
