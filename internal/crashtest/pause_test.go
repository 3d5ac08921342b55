//go:build linux

package crashtest_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
)

// outlast has a retry wait for the paused owner until its lease is over, and
// then wakes the owner. It returns what the retry was told.
func (s *stage) outlast(owner *worker, policy string) crashtest.Line {
	s.Helper()
	owner.stopped()
	l := s.call(crashtest.Call{Policy: policy})
	owner.signal(syscall.SIGCONT)
	owner.ok()
	return l
}

// Paused between the claim and the last check: it must not send any more.
func TestPausedBeforeTheCheck(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, point := range []string{"guard.claim.after", "guard.effect.before"} {
			t.Run(point, func(t *testing.T) {
				s := s.again(t)
				owner := s.start(point+"@1=stop", crashtest.Call{Policy: crashtest.AtMostOnce})
				s.tells("a retry meanwhile", s.outlast(owner, crashtest.AtMostOnce), "uncertain")
				want := "not-run"
				if point == "guard.effect.before" {
					want = "not-executed" // the transport's own check
				}
				s.tells("the resumed owner", owner.told(), want)
				if owner.sent() != 0 {
					t.Error("the owner sent its request although its lease was over")
				}
				s.ends(crashtest.AtMostOnce, onceguard.Released, 0)
				s.tells("a retry later", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), crashtest.Receipt)
				s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
			})
		}
	})
}

// Paused between the last check and the first byte: no guard can stop that one.
// It is the only request, its late result settles, or the downstream refuses
// what a lookup has made void.
func TestPausedBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		pause := func(policy string) crashtest.Call {
			return crashtest.Call{Policy: policy, Effect: "stop-before-send"}
		}
		owner := s.start("", pause(crashtest.AtMostOnce))
		s.tells("a retry meanwhile", s.outlast(owner, crashtest.AtMostOnce), "uncertain")
		s.tells("the resumed owner", owner.told(), crashtest.Receipt)
		s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)

		s = s.again(t)
		s.books.modes(t, s.op, dedup)
		owner = s.start("", pause(crashtest.SafeRetry))
		s.tells("a retry meanwhile", s.outlast(owner, crashtest.SafeRetry), crashtest.Receipt)
		s.tells("the resumed owner", owner.told(), crashtest.Receipt)
		s.ends(crashtest.SafeRetry, onceguard.Succeeded, 1)

		s = s.again(t)
		owner = s.start("", pause(crashtest.WithLookup))
		owner.stopped()
		s.tells("a retry meanwhile", s.call(crashtest.Call{Policy: crashtest.WithLookup}), "uncertain")
		s.ask("")
		s.tells("a retry after the lookup", s.call(crashtest.Call{Policy: crashtest.WithLookup}), "refused")
		owner.signal(syscall.SIGCONT)
		s.tells("the resumed owner", owner.ok().told(), "refused")
		if owner.sent() != 1 {
			t.Errorf("the owner sent %d requests, want the one that was voided", owner.sent())
		}
		s.ends(crashtest.WithLookup, onceguard.Failed, 0)
	})
}

// Paused after the effect: the result is late and still the truth.
func TestPausedAfterTheEffect(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		owner := s.start("guard.effect.after@1=stop", crashtest.Call{Policy: crashtest.AtMostOnce})
		s.tells("a retry meanwhile", s.outlast(owner, crashtest.AtMostOnce), "uncertain")
		s.tells("the resumed owner", owner.told(), crashtest.Receipt)
		if !owner.saw("T7") {
			t.Error("the owner did not settle")
		}
		s.tells("a retry later", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), crashtest.Receipt)
		s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
		s.shows(crashtest.AtMostOnce, "parked")

		s = s.again(t)
		s.books.modes(t, s.op, dedup)
		owner = s.start("guard.effect.after@1=stop", crashtest.Call{Policy: crashtest.SafeRetry})
		s.tells("a retry meanwhile", s.outlast(owner, crashtest.SafeRetry), crashtest.Receipt)
		s.tells("the resumed owner", owner.told(), crashtest.Receipt)
		if l := owner.told(); !l.Replayed {
			t.Error("the owner took its own result although another attempt has the request")
		}
		s.ends(crashtest.SafeRetry, onceguard.Succeeded, 1)
		s.shows(crashtest.SafeRetry, "takeover")
	})
}

// An owner that was taken over wakes up, sees that it is late and gives its
// claim back. What it gives back is not its own any more.
func TestLateReleaseOfATakenOverAttempt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, policy := range []string{crashtest.Rerun, crashtest.SafeForgetful} {
			t.Run(policy, func(t *testing.T) {
				s := s.again(t)
				s.books.modes(t, s.op, ledger.Mode{Hold: true}, ledger.Mode{})
				first := s.start("guard.claim.after@1=stop", crashtest.Call{Policy: policy})
				first.stopped()
				second := s.start("", crashtest.Call{Policy: policy})
				s.books.arrived(t, s.op, 1)
				first.signal(syscall.SIGCONT)
				s.tells("the first", first.ok().told(), "not-run")
				s.tells("a third while the second runs", s.call(crashtest.Call{Policy: policy, Wait: 200 * time.Millisecond}), "in-progress")
				s.books.release(t, s.op)
				s.tells("the second", second.ok().told(), crashtest.Receipt)
				if r := s.ends(policy, onceguard.Succeeded, 1); r.Attempt != 2 {
					t.Errorf("the record is at attempt %d, want 2", r.Attempt)
				}
			})
		}
	})
}
