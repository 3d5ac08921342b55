//go:build linux

package crashtest_test

import (
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
)

// The worst moment: the effect has happened and nobody wrote it down.
func TestKilledBetweenEffectAndSettle(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		s.start("guard.effect.after=kill", crashtest.Call{Policy: crashtest.AtMostOnce}).killed()
		s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), "uncertain")
		s.ends(crashtest.AtMostOnce, onceguard.Uncertain, 1)
		s.shows(crashtest.AtMostOnce, "parked")

		s = s.again(t)
		s.start("guard.effect.after=kill", crashtest.Call{Policy: crashtest.WithLookup}).killed()
		s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.WithLookup}), "uncertain")
		s.ask("")
		s.tells("a retry after the lookup", s.call(crashtest.Call{Policy: crashtest.WithLookup}), crashtest.Receipt)
		if r := s.ends(crashtest.WithLookup, onceguard.Succeeded, 1); r.SettledBy != "reconciler" {
			t.Errorf("settled by %s", r.SettledBy)
		}

		s = s.again(t)
		s.books.modes(t, s.op, dedup)
		s.start("guard.effect.after=kill", crashtest.Call{Policy: crashtest.SafeRetry}).killed()
		l := s.call(crashtest.Call{Policy: crashtest.SafeRetry})
		s.tells("a retry", l, crashtest.Receipt)
		if l.Attempt != 2 {
			t.Errorf("attempt %d, want 2", l.Attempt)
		}
		s.ends(crashtest.SafeRetry, onceguard.Succeeded, 1)
		s.shows(crashtest.SafeRetry, "takeover")
	})
}

// Nobody sees the owner die, as on another host: its lease decides when others
// may park the request or take it over, and never that nothing happened.
func TestKilledOnAnotherHost(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		s.change = func(j *crashtest.Job) { j.Process, j.Lease = "somewhere else", 3*crashtest.DefaultLease/2 }
		for _, point := range []string{"guard.claim.after", "guard.effect.after"} {
			for _, tc := range []struct {
				policy, told string
				end          onceguard.State
				effects      int // besides the first
			}{
				{crashtest.AtMostOnce, "uncertain", onceguard.Uncertain, 0},
				{crashtest.SafeRetry, crashtest.Receipt, onceguard.Succeeded, 1},
			} {
				t.Run(point+"/"+tc.policy, func(t *testing.T) {
					s := s.again(t)
					s.books.modes(t, s.op, dedup)
					call := crashtest.Call{Policy: tc.policy}
					s.start(point+"=kill", call).killed()
					call.Wait = -1
					s.tells("a retry within the lease", s.call(call), "in-progress")
					call.Wait = 0
					s.tells("a retry that waits", s.call(call), tc.told)
					effects := tc.effects
					if point == "guard.effect.after" {
						effects = 1
					}
					s.ends(tc.policy, tc.end, effects)
				})
			}
		}
		t.Run("swept", func(t *testing.T) {
			s := s.again(t)
			s.start("guard.effect.after=kill", crashtest.Call{Policy: crashtest.AtMostOnce}).killed()
			job := s.job()
			job.Sweep = true
			s.until("be parked by a sweep", func() bool {
				s.launch("", job).ok()
				return s.record(t, crashtest.AtMostOnce, s.op).State == onceguard.Uncertain
			})
			s.ends(crashtest.AtMostOnce, onceguard.Uncertain, 1)
		})
	})
}

// What an effect does to its own goroutine or process is no proof that nothing
// happened.
func TestEffectGoesWrong(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, tc := range []struct{ how, told string }{{"panic", "panic"}, {"goexit", "goexit"}, {"exit", dead}} {
			t.Run(tc.how, func(t *testing.T) {
				s := s.again(t)
				w := s.start("", crashtest.Call{Policy: crashtest.AtMostOnce, Effect: tc.how}).wait()
				s.tells("the caller", w.told(), tc.told)
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), "uncertain")
				s.ends(crashtest.AtMostOnce, onceguard.Uncertain, 1)

				s = s.again(t)
				s.books.modes(t, s.op, dedup)
				s.start("", crashtest.Call{Policy: crashtest.SafeRetry, Effect: tc.how}).wait()
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.SafeRetry}), crashtest.Receipt)
				s.ends(crashtest.SafeRetry, onceguard.Succeeded, 1)

				s = s.again(t)
				s.start("", crashtest.Call{Policy: crashtest.Transactional, Effect: tc.how}).wait()
				s.ends(crashtest.Transactional, onceguard.Absent, 0)
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.Transactional}), crashtest.Receipt)
				s.ends(crashtest.Transactional, onceguard.Succeeded, 1)
			})
		}
	})
}

// A caller that gives up before the effect started gives the claim back; after
// that its giving up changes nothing.
func TestCallerGivesUp(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, policy := range []string{crashtest.AtMostOnce, crashtest.SafeRetry, crashtest.Transactional} {
			t.Run(policy, func(t *testing.T) {
				s := s.again(t)
				s.tells("the caller", s.call(crashtest.Call{Policy: policy, Cancel: "before"}), "not-run")
				s.ends(policy, onceguard.Absent, 0)
				s.tells("a retry", s.call(crashtest.Call{Policy: policy}), crashtest.Receipt)
				s.ends(policy, onceguard.Succeeded, 1)

				s = s.again(t)
				told := s.call(crashtest.Call{Policy: policy, Cancel: "sent", Heed: true})
				if policy == crashtest.Transactional {
					// Not committing was still possible. Whether the insert or the
					// commit meets the end first is the driver's affair.
					if told.Told != "not-run" {
						s.tells("the caller", told, "not-executed")
					}
					s.ends(policy, onceguard.Absent, 0)
					return
				}
				s.tells("the caller", told, crashtest.Receipt)
				s.ends(policy, onceguard.Succeeded, 1)
			})
		}
		t.Run("while it waits", func(t *testing.T) {
			s := s.again(t)
			s.books.modes(t, s.op, ledger.Mode{Hold: true})
			first := s.start("", crashtest.Call{Policy: crashtest.AtMostOnce})
			s.books.arrived(t, s.op, 1)
			s.tells("a duplicate that does not wait", s.call(crashtest.Call{Policy: crashtest.AtMostOnce, Wait: -1}), "in-progress")
			s.books.release(t, s.op)
			s.tells("the first", first.ok().told(), crashtest.Receipt)
			s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
		})
	})
}

// The same key with another input runs nothing, whether the first is in flight
// or long done.
func TestMismatchInFlight(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, policy := range []string{crashtest.AtMostOnce, crashtest.SafeRetry} {
			t.Run(policy, func(t *testing.T) {
				s := s.again(t)
				s.books.modes(t, s.op, ledger.Mode{Hold: true, Dedup: true})
				first := s.start("", crashtest.Call{Policy: policy, Amount: 10})
				s.books.arrived(t, s.op, 1)
				s.tells("another amount, in flight,", s.call(crashtest.Call{Policy: policy, Amount: 11}), "mismatch")
				s.books.release(t, s.op)
				s.tells("the first", first.ok().told(), crashtest.Receipt)
				s.tells("another amount, later,", s.call(crashtest.Call{Policy: policy, Amount: 11}), "mismatch")
				s.tells("the same amount", s.call(crashtest.Call{Policy: policy, Amount: 10}), crashtest.Receipt)
				s.ends(policy, onceguard.Succeeded, 1)
			})
		}
	})
}
