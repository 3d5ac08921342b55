//go:build linux

package crashtest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// Statements of the store, as a proxy sees them.
const (
	claiming = "INSERT INTO onceguard_receipt (request_id, scope"
	settling = "UPDATE onceguard_receipt SET state"
)

// TestAnswerLost loses the answer of a claim or of a settle five times in a
// row, in both truths: the server never heard of it, or did it.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	shared := newPostgres(t, pgtest.Server(t))
	for _, step := range []struct{ name, text string }{{"claim", claiming}, {"settle", settling}} {
		for _, truth := range []struct {
			name string
			when func(string) func(cutproxy.Frame) bool
		}{{"never arrived", cutproxy.Commits}, {"was done", cutproxy.Answers}} {
			for _, policy := range []string{crashtest.AtMostOnce, crashtest.SafeRetry} {
				t.Run(step.name+" "+truth.name+" "+policy, func(t *testing.T) {
					t.Parallel()
					s := newStage(t, shared.proxied(t))
					s.books.modes(t, s.op, dedup)
					s.change = func(j *crashtest.Job) { j.Lease = 10 * time.Second }
					lost := s.proxy.Add(cutproxy.Rule{When: truth.when(step.text), Times: 5, Do: cutproxy.CutBefore(cutproxy.Reset)})
					l := s.call(crashtest.Call{Policy: policy})
					s.tells("the caller", l, crashtest.Receipt)
					if l.Attempt != 1 || lost.Count() != 5 {
						t.Errorf("attempt %d after %d lost answers, want 1 and 5", l.Attempt, lost.Count())
					}
					s.tells("a retry", s.call(crashtest.Call{Policy: policy}), crashtest.Receipt)
					if r := s.ends(policy, onceguard.Succeeded, 1); r.Attempt != 1 {
						t.Errorf("the record is at attempt %d", r.Attempt)
					}
				})
			}
		}
	}
}

// A claim whose answers never come starts nothing, whatever the server did.
func TestAnswerOfClaimNeverComes(t *testing.T) {
	t.Parallel()
	shared := newPostgres(t, pgtest.Server(t))
	for _, truth := range []struct {
		name string
		when func(string) func(cutproxy.Frame) bool
	}{{"never arrived", cutproxy.Commits}, {"was done", cutproxy.Answers}} {
		for _, heals := range []bool{true, false} {
			name := truth.name + ", and then"
			if heals {
				name += " the network heals"
			} else {
				name += " the process dies"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, shared.proxied(t))
				s.change = func(j *crashtest.Job) { j.Lease, j.StoreTimeout = 5*time.Second, 300*time.Millisecond }
				rule := cutproxy.Rule{When: truth.when(claiming), Times: -1, Do: cutproxy.CutBefore(cutproxy.Reset)}
				cut := s.proxy.Add(rule)
				// The row that is there already is asked for under its lock.
				locked := rule
				locked.When = func(f cutproxy.Frame) bool {
					return f.Dir == cutproxy.ToServer && strings.Contains(f.SQL, "FOR UPDATE")
				}
				cutToo := s.proxy.Add(locked)
				w := s.start("", crashtest.Call{Policy: crashtest.AtMostOnce})
				w.has("what its caller was told", func(l crashtest.Line) bool { return l.Kind == crashtest.Return })
				s.tells("the caller", w.told(), "not-run")
				if heals {
					// It gives back, behind the caller's back, what it may have won.
					cut.Remove()
					cutToo.Remove()
					w.ok()
				} else {
					w.signal(killSignal)
					w.killed()
				}
				s.memory.url = s.direct
				told, state := crashtest.Receipt, onceguard.Succeeded
				if !heals && truth.name == "was done" {
					told, state = "uncertain", onceguard.Uncertain // nobody can know that it never started
				}
				s.tells("a retry", s.call(crashtest.Call{Policy: crashtest.AtMostOnce}), told)
				effects := 0
				if state == onceguard.Succeeded {
					effects = 1
				}
				s.ends(crashtest.AtMostOnce, state, effects)
				if w.sent() != 0 {
					t.Error("the effect was started without a claim")
				}
			})
		}
	}
}
