//go:build linux

package crashtest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/pgtest"
)

const killSignal = syscall.SIGKILL

// TestPostmasterKilled kills the database server, all of it, at each stage of
// an operation. What it had acknowledged is there when it comes back, and what
// it had not starts nothing.
func TestPostmasterKilled(t *testing.T) {
	t.Parallel()
	server, m := privateServer(t, pgtest.Options{})
	s := newStage(t, m)
	s.change = func(j *crashtest.Job) {
		j.Lease, j.StoreTimeout, j.SettleWait = 20*time.Second, 500*time.Millisecond, 300*time.Millisecond
	}
	for _, policy := range []string{crashtest.AtMostOnce, crashtest.SafeRetry} {
		once := crashtest.Call{Policy: policy}
		fresh := func(t *testing.T) *stage {
			s := s.again(t)
			s.books.modes(t, s.op, dedup)
			return s
		}
		later := func(s *stage, attempt int64) {
			s.tells("a retry later", s.call(once), crashtest.Receipt)
			if r := s.ends(policy, onceguard.Succeeded, 1); r.Attempt != attempt {
				s.Errorf("the record is at attempt %d, want %d", r.Attempt, attempt)
			}
		}
		t.Run(policy+"/before the claim", func(t *testing.T) {
			s := fresh(t)
			w := s.start("guard.claim.before@1=stop", once)
			w.stopped()
			server.Kill(t)
			w.signal(syscall.SIGCONT)
			w.has("what its caller was told", func(l crashtest.Line) bool { return l.Kind == crashtest.Return })
			server.Restart(t)
			s.tells("the caller", w.ok().told(), "not-run")
			// Where the broken connection was noticed before the claim was sent,
			// there is nothing. Otherwise it was unclear whether it had arrived, so
			// it was asked for again and given back.
			left := s.record(t, policy, s.op)
			if left.State != onceguard.Absent {
				s.ends(policy, onceguard.Released, 0)
			}
			later(s, left.Attempt+1)
		})
		t.Run(policy+"/between claim and effect", func(t *testing.T) {
			s := fresh(t)
			w := s.start("guard.claim.after@1=stop", once)
			w.stopped()
			server.Kill(t)
			server.Restart(t)
			w.signal(syscall.SIGCONT)
			s.tells("the caller", w.ok().told(), crashtest.Receipt)
			later(s, 1)
		})
		t.Run(policy+"/effect running", func(t *testing.T) {
			s := fresh(t)
			s.books.modes(t, s.op, ledger.Nth(1, dedup, ledger.Mode{Dedup: true, Sticky: true, Hold: true})...)
			w := s.start("", once)
			s.books.arrived(t, s.op, 1)
			server.Kill(t)
			s.books.release(t, s.op)
			// The server stays away for longer than the caller waits.
			w.has("what its caller was told", func(l crashtest.Line) bool { return l.Kind == crashtest.Return })
			s.tells("the caller", w.told(), "unsettled")
			server.Restart(t)
			w.ok() // it went on until the outcome was stored
			later(s, 1)
		})
		t.Run(policy+"/before the settle", func(t *testing.T) {
			s := fresh(t)
			w := s.start("guard.settle.before@1=stop", once)
			w.stopped()
			server.Kill(t)
			server.Restart(t)
			w.signal(syscall.SIGCONT)
			s.tells("the caller", w.ok().told(), crashtest.Receipt)
			later(s, 1)
		})
		t.Run(policy+"/after the receipt", func(t *testing.T) {
			s := fresh(t)
			first := s.call(once)
			s.tells("the caller", first, crashtest.Receipt)
			server.Kill(t)
			server.Restart(t)
			if l := s.call(once); l.Value != first.Value || !l.Replayed {
				t.Errorf("after the crash a caller holds %s (replayed %t), before it %s", l.Value, l.Replayed, first.Value)
			}
			later(s, 1)
		})
	}
	t.Run("transactional", func(t *testing.T) {
		for _, point := range []string{"guard.effect.after", "store.settle.before-commit", "store.settle.after-commit"} {
			s := s.again(t)
			w := s.start(point+"@1=stop", crashtest.Call{Policy: crashtest.Transactional})
			w.stopped()
			server.Kill(t)
			server.Restart(t)
			w.signal(syscall.SIGCONT)
			w.ok()
			s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.Transactional}), crashtest.Receipt)
			s.ends(crashtest.Transactional, onceguard.Succeeded, 1)
		}
	})
}

// TestLedgerKilled kills the downstream: before it did anything, after it did
// and could not say so, and while nobody is there at all.
func TestLedgerKilled(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, tc := range []struct {
			when, policy string
			effects      int // when the ledger died
			retry        string
			end          onceguard.State
		}{
			{ledger.Before, crashtest.AtMostOnce, 0, "uncertain", onceguard.Uncertain},
			{ledger.After, crashtest.AtMostOnce, 1, "uncertain", onceguard.Uncertain},
			{ledger.Before, crashtest.SafeRetry, 0, crashtest.Receipt, onceguard.Succeeded},
			{ledger.After, crashtest.SafeRetry, 1, crashtest.Receipt, onceguard.Succeeded},
			{ledger.Before, crashtest.WithLookup, 0, "uncertain", onceguard.Failed},
			{ledger.After, crashtest.WithLookup, 1, "uncertain", onceguard.Succeeded},
		} {
			t.Run(tc.when+"/"+tc.policy, func(t *testing.T) {
				s := s.again(t)
				s.books.modes(t, s.op, ledger.Mode{Die: tc.when})
				s.tells("the caller", s.call(crashtest.Call{Policy: tc.policy}), "uncertain")
				s.books.end()
				s.books.start(t)
				s.books.modes(t, s.op, dedup)
				s.tells("a retry", s.call(crashtest.Call{Policy: tc.policy}), tc.retry)
				if tc.policy == crashtest.WithLookup {
					s.ask("")
				}
				effects := tc.effects
				if tc.policy == crashtest.SafeRetry {
					effects = 1
				}
				s.ends(tc.policy, tc.end, effects)
			})
		}
		t.Run("away", func(t *testing.T) {
			s := s.again(t)
			s.books.end()
			s.tells("the caller", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), "not-executed") // nobody answered the dial
			s.books.start(t)
			s.ends(crashtest.AtMostOnce, onceguard.Released, 0)
			s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), crashtest.Receipt)
			s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
		})
	})
}
