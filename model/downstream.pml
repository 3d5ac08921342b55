/*
 * The provider. It acts on each request that reaches it, once for a key while
 * it remembers the key, if it deduplicates at all. A lookup may void keys: the
 * mark covers all generations below it.
 */
#define SLOTS 4
#define FREE 0
#define SENT 1    /* on its way, its sender listens */
#define ORPHAN 2  /* on its way, nobody listens */
#define DONE 3
#define REFUSED 4
#define LOST 5
byte xst[SLOTS], xkey[SLOTS], xatt[SLOTS], xval[SLOTS];

#define KEYS 6
byte acted[KEYS];        /* the provider's books: the latest effect under a key */
byte remembered[KEYS];   /* the answer it would give again for that key */
bit refused[KEYS];       /* it refused that key and remembers it */
byte refused_att;        /* the latest attempt it refused */
byte voided;             /* keys below this are refused for ever */
byte effects;            /* the ledger */

#define ON_ITS_WAY(s) ((xst[s] == SENT || xst[s] == ORPHAN) && xkey[s] >= voided)
#define UNDER_WAY (ON_ITS_WAY(0) || ON_ITS_WAY(1) || ON_ITS_WAY(2) || ON_ITS_WAY(3))
#define WAITING(s) (xst[s] == SENT || xst[s] == ORPHAN)

/* A request reaches it. The answer goes to whoever still listens. */
inline reply(s, what, v) {
	printf("> downstream: attempt %d is answered %d\n", xatt[s], what);
	if :: xst[s] == ORPHAN -> xst[s] = FREE; xkey[s] = 0; xatt[s] = 0 :: else -> xst[s] = what; xval[s] = v fi
}
proctype Downstream() {
	byte s;
end:	do
	:: atomic { WAITING(0) -> s = 0 }; goto serve
	:: atomic { WAITING(1) -> s = 1 }; goto serve
	:: atomic { WAITING(2) -> s = 2 }; goto serve
	:: atomic { WAITING(3) -> s = 3 }; goto serve
	/* It forgets a key some time after the horizon, when nothing that was sent
	   within it is on its way any more: that is what the margin is for. */
	:: d_step { (hz || old_key) && (remembered[gen] || refused[gen]) && !WAITING(0) && !WAITING(1) && !WAITING(2) && !WAITING(3) ->
		printf("> downstream: forgets key %d\n", gen); remembered[gen] = 0; refused[gen] = 0; old_key = 0 }
	od;
serve:	if
	:: d_step { xkey[s] < voided ->
		CHECK(P8_fresh_run_refused_by_an_old_void, taken_att == 0 || xatt[s] <= taken_att || xkey[s] > taken_gen);
		MARK(voided_request); refused_att = xatt[s]; reply(s, REFUSED, 0) }
	:: d_step { xkey[s] >= voided && P(remembers) && refused[xkey[s]] ->
		MARK(refused_key_stays_refused); refused_att = xatt[s]; reply(s, REFUSED, 0) }
	:: d_step { xkey[s] >= voided && !(P(remembers) && refused[xkey[s]]) ->
		if
		:: P(dedup) && remembered[xkey[s]] -> MARK(deduplicated)
		:: else -> printf("> downstream: attempt %d has its effect, key %d\n", xatt[s], xkey[s]); effect(0); remembered[xkey[s]] = 10 + effects; acted[xkey[s]] = 10 + effects
		fi;
		reply(s, DONE, remembered[xkey[s]]); truth() }
	:: d_step { xkey[s] >= voided && nd < P(nd) && !(P(dedup) && remembered[xkey[s]]) ->
		nd++; refused[xkey[s]] = P(remembers); refused_att = xatt[s]; reply(s, REFUSED, 0) }
	:: d_step { nf < P(nf) && !P(quiet) -> nf++; printf("> downstream: attempt %d is lost\n", xatt[s]); reply(s, LOST, 0) } /* the request, or its answer before any work */
	fi;
	s = 0; goto end
}
