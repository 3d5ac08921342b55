/* Code generated from onceguard.Transitions() by go test ./model -run TestTransitions -update; DO NOT EDIT. */
#ifndef OG_TABLE /* for Promela */
#define ABSENT 0
#define CLAIMED 1
#define RELEASED 2
#define UNCERTAIN 3
#define SUCCEEDED 4
#define FAILED 5
#define AT_MOST_ONCE 0
#define SAFE_RETRY 1
#define RERUN 2
#define TRANSACTIONAL 3
#define T1 1
#define T2 2
#define T3 3
#define T4 4
#define T5 5
#define T6 6
#define T7 7
#define T8 8
#define T9 9
#define T9b 10
#define T10 11
#define T11 12
#define T12 13
#define T13 14
#define T14 15
#define T15 16
#else /* for C */
#define OG_TRANSITIONS 17
#define OG_STATES 6
static const char *const og_transition_names[] = {"none", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T9b", "T10", "T11", "T12", "T13", "T14", "T15"};
static const char *const og_state_names[] = {"absent", "claimed", "released", "uncertain", "succeeded", "failed"};
static const char *const og_policy_names[] = {"at-most-once", "safe-retry", "rerun", "transactional"};
static const unsigned char og_table[OG_TRANSITIONS][OG_STATES][OG_STATES] = {
	[1][0][1] = 1, /* T1 absent claimed */
	[2][1][1] = 1, /* T2 claimed claimed */
	[3][2][1] = 1, /* T3 released claimed */
	[3][2][3] = 1, /* T3 released uncertain */
	[4][1][1] = 1, /* T4 claimed claimed */
	[5][1][3] = 1, /* T5 claimed uncertain */
	[6][1][1] = 1, /* T6 claimed claimed */
	[7][1][4] = 1, /* T7 claimed succeeded */
	[7][3][4] = 1, /* T7 uncertain succeeded */
	[8][1][5] = 1, /* T8 claimed failed */
	[8][1][3] = 1, /* T8 claimed uncertain */
	[8][3][5] = 1, /* T8 uncertain failed */
	[8][3][3] = 1, /* T8 uncertain uncertain */
	[9][1][3] = 1, /* T9 claimed uncertain */
	[10][1][1] = 1, /* T9b claimed claimed */
	[11][1][2] = 1, /* T10 claimed released */
	[11][3][2] = 1, /* T10 uncertain released */
	[12][0][4] = 1, /* T11 absent succeeded */
	[12][2][4] = 1, /* T11 released succeeded */
	[13][3][4] = 1, /* T12 uncertain succeeded */
	[13][3][5] = 1, /* T12 uncertain failed */
	[13][3][2] = 1, /* T12 uncertain released */
	[14][3][4] = 1, /* T13 uncertain succeeded */
	[14][3][5] = 1, /* T13 uncertain failed */
	[14][3][2] = 1, /* T13 uncertain released */
	[15][4][4] = 1, /* T14 succeeded succeeded */
	[15][5][5] = 1, /* T14 failed failed */
	[16][4][4] = 1, /* T15 succeeded succeeded */
	[16][4][0] = 1, /* T15 succeeded absent */
	[16][5][5] = 1, /* T15 failed failed */
	[16][5][0] = 1, /* T15 failed absent */
	[16][2][0] = 1, /* T15 released absent */
};
#endif
