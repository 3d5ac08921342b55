package mutant

// Marker is a string that binaries with mutants contain and all others lack.
const Marker = "onceguard-mutants-are-compiled-in"

// Ring names the tests that must notice a mutant.
type Ring string

// The rings of docs/proof.md that kill mutants: the in-process simulation, and
// for what it cannot see the conformance suite on the stores themselves.
const (
	Simulation Ring = "simulation"
	Memory     Ring = "memstore"
	SQLite     Ring = "sqlitestore"
	Postgres   Ring = "pgstore"
)

// Mutant is one guarantee broken on purpose.
type Mutant struct {
	Name   string
	Breaks string // which guarantee, and how
	Ring   Ring   // who must notice
	Checks string // of the simulation, one of which notices; or the tests of a suite, likewise
}

// Table lists every mutant. docs/proof.md repeats it.
var Table = []Mutant{
	{"no-fence", "the owner's writes (renew, settle, checkpoint) ignore attempt and token", Simulation, "C1 C3 C4 C8 C9"},
	{"settle-by-key", "a settle counts for whatever attempt the request is at", Simulation, "C1 C3 C4 C8 C9"},
	{"settle-needs-lease", "an owner whose lease is over is not heard any more", Simulation, "C3 C4"},
	{"late-overwrites", "a late success overwrites a final receipt", Simulation, "C2"},
	{"late-result-dropped", "what a superseded attempt learned leaves no evidence", Simulation, "C8"},
	{"contradiction-dropped", "a late outcome that contradicts the receipt leaves no evidence", Simulation, "C8"},
	{"release-deletes", "a release deletes the row, so that attempts count from 1 again", Simulation, "C9 C4"},
	{"release-on-settle-error", "an outcome that the store did not take is turned into a release", Simulation, "C1 C3"},
	{"answer-before-durable", "the caller hears of success before the store has it", Simulation, "C2"},
	{"fail-open", "a store that does not answer lets the effect run", Simulation, "C1 C9"},
	{"token-per-resend", "each resend of one claim draws a new owner token", Simulation, "C4 C7 C9"},
	{"resend-is-a-read", "one's own claim found after an unclear answer is read, not written again", Simulation, "C1 C4"},
	{"own-claim-lapses", "one's own claim, lease over, is taken for somebody else's", Simulation, "C4 C7"},
	{"released-claim-again", "a delayed duplicate of a released claim is granted", Simulation, "C4 C9"},
	{"abandoned-claim-kept", "a claim whose caller gave up is not given back", Simulation, "C7 C9"},
	{"retry-on-expiry", "at-most-once starts again when a lease is over", Simulation, "C1"},
	{"uncertain-is-claimed", "an uncertain request is granted to the next caller", Simulation, "C1 C4 C8 C9"},
	{"replay-runs-again", "a final request is granted to the next caller", Simulation, "C1 C2"},
	{"unknown-is-not-executed", "an undeclared error of the effect releases the request", Simulation, "C1 C3"},
	{"panic-is-refused", "a panic of the effect is stored as a refusal", Simulation, "C2 C3"},
	{"refusal-is-final", "a refusal after an unknown attempt is stored as failed", Simulation, "C3 C4"},
	{"takeover-forgets", "a takeover does not remember that an earlier attempt is unknown", Simulation, "C1 C2 C3 C4"},
	{"takeover-past-horizon", "safe-retry takes over after the downstream's horizon", Simulation, "C1 C4"},
	{"takeover-restarts-horizon", "a takeover counts the horizon from itself", Simulation, "C1 C4"},
	{"attempts-unlimited", "the limit of attempts is not looked at", Simulation, "C4"},
	{"self-fence-ignored", "an owner that was paused beyond its lease starts all the same", Simulation, "C1 C5"},
	{"client-clock", "leases are judged by the clock of the caller's host", Simulation, "C4 C5"},
	{"renew-resurrects", "a renewal brings a parked claim back", Simulation, "C4"},
	{"sweep-parks-running", "the sweeper parks claims whose lease runs", Simulation, "C5"},
	{"prune-claimed", "prune deletes an old claim", Simulation, "C2 C4"},
	{"verdict-of-any-attempt", "a lookup's verdict settles a later attempt than it was asked about", Simulation, "C1 C3 C4"},
	{"not-seen-is-never-will", "a lookup that does not see the effect proves that it never will be", Simulation, "C1 C3"},
	{"key-kept-after-never-will", "a run after NeverWill sends the key that was made impossible", Simulation, "C3"},
	{"key-per-attempt", "the downstream key contains the attempt's number", Simulation, "C1 C3"},
	{"mismatch-executes", "another input under the same key is let through", Simulation, "C2 C4"},
	{"join-without-input", "a call that joins another of its process is not asked for its input", Simulation, "C2"},
	{"cache-ignores-input", "the cache of receipts answers another input", Simulation, "C2"},
	{"cache-keeps-open", "the cache keeps a request that is not final", Simulation, "C2"},
	{"frozen-grants", "a store that may have forgotten claims grants new ones", Memory, "TestConformance/epoch"},
	{"sqlite-batch-answers-first", "all members of a batch get the answer of its first", SQLite, "TestNeighboursInABatch TestAnswersAreTheRow"},
	{"sqlite-commit-error-dropped", "a commit that failed is taken for one that did not", SQLite, "TestUnclearCommitIsToldToAll"},
	{"pg-batch-answers-first", "all members of a batch get the answer of its first", Postgres, "TestGatheredCallsShareOneCommit"},
	{"pg-commit-error-dropped", "a commit without an answer is taken for one that succeeded", Postgres, "TestLostAnswers TestLostAnswerOfABatch"},
	{"pg-settle-by-key", "the settle's statement does not look at attempt and owner", Postgres, "TestConformance/settle"},
	{"pg-claim-overwrites", "the first claim's statement takes a row that exists", Postgres, "TestConformance/claim"},
	{"pg-lease-from-start", "leases count from the start of the transaction, before its locks", Postgres, "TestLeaseCountsFromTheLock"},
}

// Row is the mutant's line in the table of docs/proof.md.
func (m Mutant) Row() string {
	return "| `" + m.Name + "` | " + m.Breaks + " | " + string(m.Ring) + " | " + m.Checks + " |"
}
