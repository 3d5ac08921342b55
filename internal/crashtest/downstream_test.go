//go:build linux

package crashtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
)

// The first request is still on its way when the second is refused, and arrives
// after that: a record that said "refused" would be a lie. Only a downstream
// that remembers refusals keeps the late one out.
func TestRefusalAfterUnknownAttempt(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, tc := range []struct {
			policy  string
			sticky  bool
			told    string
			end     onceguard.State
			effects int
		}{
			{crashtest.SafeForgetful, false, "uncertain", onceguard.Uncertain, 1},
			{crashtest.SafeRetry, true, "refused", onceguard.Failed, 0},
		} {
			t.Run(tc.policy, func(t *testing.T) {
				s := s.again(t)
				held := ledger.Mode{Dedup: true, Sticky: tc.sticky, Hold: true}
				no := ledger.Mode{Dedup: true, Sticky: tc.sticky, Refuse: "no funds"}
				s.books.modes(t, s.op, held, no)
				w := s.start("", crashtest.Call{Policy: tc.policy})
				s.books.arrived(t, s.op, 1)
				w.signal(killSignal)
				w.killed()
				s.tells("a retry that is refused", s.call(crashtest.Call{Policy: tc.policy}), tc.told)
				s.books.release(t, s.op)
				s.books.decided(t, s.op, 2)
				s.tells("a retry later", s.call(crashtest.Call{Policy: tc.policy}), tc.told)
				s.ends(tc.policy, tc.end, tc.effects)
				if tc.end == onceguard.Uncertain {
					s.shows(tc.policy, "takeover", "refusal")
				}
			})
		}
	})
}

// Past the horizon the downstream has forgotten the key, and a retry would be a
// second effect: it is parked, and nothing is sent.
func TestDedupWindowIsOver(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		const horizon = crashtest.DefaultLease + crashtest.DefaultLease/4
		s.books.modes(t, s.op, ledger.Mode{Dedup: true, Sticky: true, Forget: horizon})
		s.change = func(j *crashtest.Job) { j.Horizon = horizon }
		s.start("guard.effect.after=kill", crashtest.Call{Policy: crashtest.SafeRetry}).killed()
		r := s.record(t, crashtest.SafeRetry, s.op)
		time.Sleep(time.Until(r.KeyedAt.Add(horizon + 50*time.Millisecond))) // the store's clock is this machine's
		retry := s.start("", crashtest.Call{Policy: crashtest.SafeRetry}).ok()
		s.tells("a retry", retry.told(), "uncertain")
		if retry.sent() != 0 {
			t.Error("a request was sent past the horizon")
		}
		if r := s.ends(crashtest.SafeRetry, onceguard.Uncertain, 1); !strings.Contains(r.Reason, "horizon") {
			t.Errorf("the record's reason is %q, want it to name the horizon", r.Reason)
		}
	})
}

// A lookup that only looks cannot say "never": what it does not see may still
// arrive, and then it does.
func TestNotSeenIsNotNever(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		s.books.modes(t, s.op, ledger.Mode{Hold: true})
		w := s.start("", crashtest.Call{Policy: crashtest.WithLookup})
		s.books.arrived(t, s.op, 1)
		w.signal(killSignal)
		w.killed()
		s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.WithLookup}), "uncertain")
		s.ask("see")
		s.ends(crashtest.WithLookup, onceguard.Uncertain, 0)
		s.shows(crashtest.WithLookup, "lookup")
		s.books.release(t, s.op)
		s.books.decided(t, s.op, 1)
		s.ask("see")
		s.tells("a retry later", s.call(crashtest.Call{Policy: crashtest.WithLookup}), crashtest.Receipt)
		s.ends(crashtest.WithLookup, onceguard.Succeeded, 1)
	})
}

// A purge and then a late retry. A key that carries its time is refused for
// good; one that does not is remembered as long as its identity is kept, and
// runs again after that.
func TestPurgeThenLateRetry(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, dated := range []bool{true, false} {
			name := "undated key"
			if dated {
				name = "dated key"
			}
			t.Run(name, func(t *testing.T) {
				s := s.again(t)
				call := crashtest.Call{Policy: crashtest.AtMostOnce}
				if dated {
					call.Key = uuidV7(time.Now())
				}
				s.change = func(j *crashtest.Job) { j.ResultRetention, j.IdentityRetention = time.Millisecond, time.Hour }
				first := s.call(call)
				s.tells("the caller", first, crashtest.Receipt)
				s.prune()
				s.tells("a retry after the result is gone", s.call(call), "no-result")
				if n := len(s.books.effects(t, s.op)); n != 1 {
					t.Errorf("%d effects, want 1", n)
				}
				if dated {
					// The same once the whole identity is past its time.
					call.Op, call.Key = newOp(t.Name()), uuidV7(time.Now().Add(time.Millisecond))
				} else {
					call.Op = newOp(t.Name())
				}
				s.change = func(j *crashtest.Job) { j.ResultRetention, j.IdentityRetention = time.Millisecond, time.Millisecond }
				s.op = call.Op
				if dated {
					s.change = func(j *crashtest.Job) { j.ResultRetention, j.IdentityRetention = time.Millisecond, 2*time.Second }
				}
				first = s.call(call)
				s.tells("the caller of the second request", first, crashtest.Receipt)
				s.until("be past its retention", func() bool { return time.Since(first.At) > 2100*time.Millisecond || !dated })
				s.prune()
				if r := s.record(t, crashtest.AtMostOnce, call.Request()); r.State != onceguard.Absent {
					t.Fatalf("the record is %s after the purge, want none", r.State)
				}
				want, effects := crashtest.Receipt, 2 // documented: the memory ends with the identity
				if dated {
					want, effects = "expired", 1
				}
				s.tells("a late retry", s.call(call), want)
				if n := len(s.books.effects(t, s.op)); n != effects {
					t.Errorf("%d effects, want %d", n, effects)
				}
			})
		}
	})
}
