package onceguard

import "github.com/onceguard/onceguard/internal/mutant"

// Freeze is the rule of a frozen store, applied to what Claim or Transact
// decided: the store may have forgotten claims, so nothing starts that must not
// start twice. At-most-once and transactional grants, the resend of one's own
// claim (T2) among them, become Frozen and write nothing. Replays, refusals,
// parking, and the grants of safe-retry and rerun stay as they are.
//
// Transactional requests are frozen too, since an archive may have been loaded
// beside rows of the caller that are newer than it.
func (s Step) Freeze(c Claim) Step {
	if mutant.On("frozen-grants") || s.Outcome != Granted || (s.Record.Policy.repeats() && c.Policy.repeats()) {
		return s
	}
	return Step{Outcome: Frozen, Record: Record{ID: c.ID}}
}
