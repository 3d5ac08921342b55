/*
 * Calls of the store. One arrives and is answered; or its answer is lost; or it
 * is late: it arrives at any time after, also after its sender crashed, sent it
 * again or went on, or never. got says whether the caller learned anything.
 */
byte late_kind[3], late_token[3], late_attempt[3], late_value[3]; /* one late call for each caller */

inline nothing_heard() {
	R = R_NONE; RA = 0; RG = 0; RV = 0; got = 0
}
inline send(k, n, a, v) {
	if
	:: d_step { apply(k, n, a, v, policy[w]); got = 1; if :: R == R_GRANTED -> believes[w] = RA :: else fi }
	:: d_step { nf < P(nf) -> nf++; printf("> caller %d: the answer to call %d is lost\n", w, k); apply(k, n, a, v, policy[w]); nothing_heard() }
	:: d_step { nf < P(nf) && late_kind[w] == 0 -> nf++; printf("> caller %d: call %d is late\n", w, k);
		late_kind[w] = k; late_token[w] = n; late_attempt[w] = a; late_value[w] = v; nothing_heard() }
	fi
}
inline forget_call() {
	late_kind[w] = 0; late_token[w] = 0; late_attempt[w] = 0; late_value[w] = 0;
	w = 0; R = R_NONE; RA = 0; RG = 0; RV = 0
}
proctype Network() {
	byte R, RA, RG, RV, w;
end:	do
	:: atomic { late_kind[0] -> w = 0 }; goto arrive
	:: atomic { late_kind[1] -> w = 1 }; goto arrive
	:: atomic { late_kind[2] -> w = 2 }; goto arrive
	od;
arrive:	if
	:: d_step { printf("> late call %d of caller %d arrives\n", late_kind[w], w); apply(late_kind[w], late_token[w], late_attempt[w], late_value[w], policy[w]); forget_call() }
	:: d_step { forget_call() }
	fi;
	goto end
}
