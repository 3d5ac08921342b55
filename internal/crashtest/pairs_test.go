//go:build linux

package crashtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/pgtest"
)

var pairSeed = flag.Uint64("crash.pairs", 0, "seed of the pairs that are drawn where not all are run; 0 draws one")

// pairsInCI is how many pairs of a store are run where -crash.full is not given.
const pairsInCI = 24

// oneFault is what one process meets.
type oneFault struct{ point, action string }

func (f oneFault) String() string { return f.action + " " + f.point }

func (f oneFault) rule() string { return f.point + "@1=" + f.action }

// twoFaults come in a row: one for the first process, one for the next.
type twoFaults struct {
	first, second oneFault
	policy        string
}

func (p twoFaults) String() string {
	return p.policy + "/" + p.first.String() + "/" + p.second.String()
}

// pairs lists every two faults that a call can meet, under the policies in
// which the second process has something to decide.
func pairs() (all []twoFaults) {
	var faults []oneFault
	for _, action := range []string{actKill, actError} {
		for _, point := range points(action) {
			if point != inFlight && !(cell{point: point}).asks() && !(cell{point: point}).renews() {
				faults = append(faults, oneFault{point, action})
			}
		}
	}
	for _, policy := range crashtest.Policies {
		for _, first := range faults {
			for _, second := range faults {
				all = append(all, twoFaults{first, second, policy})
			}
		}
	}
	return all
}

// TestCrashPairs has a second fault meet the process that comes after the
// first. No outcome is written down for them: what must hold for every request
// is checked, and that it comes to an end.
func TestCrashPairs(t *testing.T) {
	t.Parallel()
	books := newBooks(t)
	seed := *pairSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i, store := range stores {
		all := pairs()
		if !*full {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			all = all[:pairsInCI]
			t.Logf("%s: seed %d; again by -crash.pairs=%d", store, seed, seed)
		}
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			var shared *memory
			if store == postgres {
				shared = newPostgres(t, pgtest.Server(t))
			}
			for _, p := range all {
				t.Run(p.String(), func(t *testing.T) {
					t.Parallel()
					m := shared
					if m == nil {
						m = newSQLite(t)
					}
					p.run(newPairStage(t, m, books))
				})
			}
		})
	}
}

func newPairStage(t testing.TB, m *memory, b *books) *stage {
	t.Helper()
	return &stage{TB: t, memory: m, books: b, op: newOp(t.Name())}
}

func (p twoFaults) run(s *stage) {
	s.Helper()
	once := crashtest.Call{Policy: p.policy}
	if p.policy == crashtest.SafeRetry {
		s.books.modes(s, s.op, dedup)
	}
	for _, f := range []oneFault{p.first, p.second} {
		s.start(f.rule(), once).wait()
	}
	// Two without a fault: one that may still find a lapsed claim, and one that
	// is told how it ended.
	s.start("", once).ok()
	if p.policy == crashtest.WithLookup {
		s.ask("")
	}
	last := s.call(once)
	r := s.record(s, p.policy, s.op)
	happened := 0
	if p.policy == crashtest.Transactional {
		happened = s.rows(s, s.op)
	} else {
		happened = len(s.books.effects(s, s.op))
	}
	s.ends(p.policy, r.State, happened)
	if !allowed(p.policy, r.State, happened) {
		s.Errorf("%s ends as %s with %d effects (%s); the last caller was told %s", p, r.State, happened, r.Reason, last.Told)
	}
}

// allowed says how a request may end that two processes broke off and two more
// asked for.
func allowed(policy string, state onceguard.State, effects int) bool {
	switch policy {
	case crashtest.AtMostOnce:
		return state == onceguard.Succeeded && effects == 1 || state == onceguard.Uncertain && effects <= 1
	case crashtest.WithLookup:
		return state == onceguard.Succeeded && effects == 1 || state == onceguard.Failed && effects == 0
	case crashtest.Rerun:
		return state == onceguard.Succeeded && effects >= 1 && effects <= 3
	default:
		return state == onceguard.Succeeded && effects == 1
	}
}

// Every promise of a pair is seen to be broken by an outcome that breaks it.
func TestAllowedSees(t *testing.T) {
	for _, tc := range []struct {
		policy  string
		state   onceguard.State
		effects int
		want    bool
	}{
		{crashtest.AtMostOnce, onceguard.Succeeded, 2, false},
		{crashtest.AtMostOnce, onceguard.Claimed, 0, false},
		{crashtest.AtMostOnce, onceguard.Uncertain, 1, true},
		{crashtest.WithLookup, onceguard.Uncertain, 0, false},
		{crashtest.WithLookup, onceguard.Failed, 1, false},
		{crashtest.SafeRetry, onceguard.Uncertain, 1, false},
		{crashtest.SafeRetry, onceguard.Succeeded, 1, true},
		{crashtest.Transactional, onceguard.Succeeded, 2, false},
		{crashtest.Rerun, onceguard.Succeeded, 4, false},
	} {
		t.Run(fmt.Sprint(tc.policy, " ", tc.state, " ", tc.effects), func(t *testing.T) {
			if got := allowed(tc.policy, tc.state, tc.effects); got != tc.want {
				t.Errorf("allowed: %v", got)
			}
		})
	}
}
