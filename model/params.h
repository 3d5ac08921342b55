/*
 * What one run of the verifier explores: bounds, policies and, if any, the rule
 * that is wrong in it. One compiled verifier serves every variant; it reads
 * ONCEGUARD_MODEL, such as "policy=safe-retry nf=1 wrong=no-fence", and prints
 * at its end how often each transition and each path was taken. All of this is
 * constant during a run, so it is no part of the state.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define OG_TABLE
#include "transitions.h"

/* Bounds and switches: name, default. What each means stands in docs/model.md. */
#define PARAMS(X) \
	X(nw, 2) X(nc, 0) X(nf, 0) X(ne, 0) X(nd, 0) X(nx, 0) X(nq, 0) X(nm, 0) X(nb, 0) X(nh, 0) X(ng, 0) \
	X(attempts, 3) X(dedup, 0) X(remembers, 0) X(runafter, 0) \
	X(lookup, 0) X(lookups, 1) X(operators, 0) X(orders, 0) X(verdicts, 0) X(quiet, 0)

/* The rules that a variant may have wrong, each found in real systems. */
#define WRONGS(X) \
	X(no_fence) X(settle_by_key) X(settle_looks_at_lease) X(late_overwrites) X(released_settles) \
	X(release_on_settle_error) X(release_on_timeout) X(timeout_is_refusal) X(answer_first) X(fail_open) \
	X(token_per_retry) X(any_claim_is_mine) X(check_then_insert) X(released_token_claims) X(delete_on_release) \
	X(client_clock) X(retry_on_expiry) X(sweeper_releases) X(renew_resurrects) \
	X(refusal_after_unknown) X(remembers_after_order) X(retry_past_horizon) X(horizon_from_takeover) \
	X(key_per_attempt) X(generation_on_takeover) X(generation_on_release) X(generation_kept) \
	X(laxer_governs) X(released_unknown_runs) X(takeover_forgets_unknown) \
	X(not_seen_is_never) X(quiet_without_fence) X(torn_lookup) X(lookup_blind) X(void_mark_lowers) \
	X(order_unmarked) X(order_never_ends) X(operator_blind) \
	X(tx_claim_outside) X(tx_rows_first) X(tx_check_first) \
	X(lossy_store) X(pruned_early)

/* Paths worth knowing that a run took: without them its silence means little. */
#define MARKS(X) \
	X(late_settle) X(late_conflict) X(late_fenced) X(replay) X(resend_granted) X(own_claim_parked) X(abandoned) \
	X(takeover_succeeds) X(deduplicated) X(refused_key_stays_refused) X(unclear_refusal) X(remembered_refusal) \
	X(released_by_owner) X(released_then_run) X(horizon_over) X(self_fenced) X(parked_dead_owner) X(max_run) \
	X(lookup_happened) X(lookup_refused) X(lookup_never) X(lookup_stale) X(generation_raised) X(voided_request) \
	X(ordered) X(ordered_past_horizon) X(operator_settles) X(two_effects_after_order) \
	X(stricter_parks) X(left_uncertain) X(left_claimed) X(tx_commit) X(tx_replay) X(tx_after_release)

enum {
	W_none,
#define X(n) W_##n,
	WRONGS(X)
#undef X
	W_count
};
static const char *og_wrongs[] = {"none",
#define X(n) #n,
	WRONGS(X)
#undef X
};
enum {
#define X(n) M_##n,
	MARKS(X)
#undef X
	M_count
};
static const char *og_marks[] = {
#define X(n) #n,
	MARKS(X)
#undef X
};

static struct {
	int wrong, policy[3];
#define X(n, d) int n;
	PARAMS(X)
#undef X
} og = {
#define X(n, d) .n = d,
	PARAMS(X)
#undef X
};

static unsigned long og_steps[OG_TRANSITIONS][OG_STATES][OG_STATES], og_seen[M_count];

static void og_die(const char *what, const char *word)
{
	fprintf(stderr, "ONCEGUARD_MODEL: %s %s\n", what, word);
	exit(3);
}

static int og_index(const char *const *names, int n, const char *word)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], word) == 0)
			return i;
	og_die("unknown name", word);
	return 0;
}

/* One policy for all callers, or one for each, separated by commas. */
static void og_policies(char *list)
{
	char *end;
	int n = 0;
	for (char *p = strtok_r(list, ",", &end); p && n < 3; p = strtok_r(NULL, ",", &end))
		og.policy[n++] = og_index(og_policy_names, 4, p);
	for (; n > 0 && n < 3; n++)
		og.policy[n] = og.policy[n - 1];
}

static void og_report(void)
{
	for (int t = 0; t < OG_TRANSITIONS; t++)
		for (int f = 0; f < OG_STATES; f++)
			for (int to = 0; to < OG_STATES; to++)
				if (og_steps[t][f][to])
					printf("step %s %s %s %lu\n", og_transition_names[t], og_state_names[f], og_state_names[to], og_steps[t][f][to]);
	for (int m = 0; m < M_count; m++)
		if (og_seen[m])
			printf("mark %s %lu\n", og_marks[m], og_seen[m]);
}

__attribute__((constructor)) static void og_load(void)
{
	static char text[1024];
	char *end, *given = getenv("ONCEGUARD_MODEL");
	if (given && strlen(given) < sizeof text)
		strcpy(text, given);
	for (char *word = strtok_r(text, " ", &end); word; word = strtok_r(NULL, " ", &end)) {
		char *value = strchr(word, '=');
		if (strcmp(word, "list") == 0) { /* what this verifier knows */
			for (int i = 1; i < W_count; i++)
				printf("wrong %s\n", og_wrongs[i]);
			for (int i = 0; i < M_count; i++)
				printf("mark %s\n", og_marks[i]);
			exit(0);
		}
		if (!value)
			og_die("no value for", word);
		*value++ = 0;
		if (strcmp(word, "policy") == 0)
			og_policies(value);
		else if (strcmp(word, "wrong") == 0)
			og.wrong = og_index(og_wrongs, W_count, value);
#define X(n, d) else if (strcmp(word, #n) == 0) og.n = atoi(value);
		PARAMS(X)
#undef X
		else
			og_die("unknown parameter", word);
	}
	atexit(og_report);
}
