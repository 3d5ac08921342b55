//go:build linux

package crashtest_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/ledger"
)

func files(t testing.TB, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(entries)
}

// The store does not take the outcome, and then the process dies: what it had
// put into the spool settles the request at the next start.
func TestSpool(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		once := crashtest.Call{Policy: crashtest.AtMostOnce}
		for _, tc := range []struct {
			point string
			files int
			state onceguard.State
			later string
		}{
			{"spool.before-write", 0, onceguard.Uncertain, "uncertain"},
			{"spool.after-write", 1, onceguard.Succeeded, crashtest.Receipt},
		} {
			t.Run(tc.point, func(t *testing.T) {
				s := s.again(t)
				spool := filepath.Join(t.TempDir(), "spool")
				s.change = func(j *crashtest.Job) { j.Spool = spool }
				s.start("store.settle.before-commit=error;"+tc.point+"=kill", once).killed()
				if n := files(t, spool); n != tc.files {
					t.Errorf("%d files in the spool, want %d", n, tc.files)
				}
				s.change = nil
				s.tells("a retry of a process without the spool", s.call(once), "uncertain")
				s.change = func(j *crashtest.Job) { j.Spool = spool }
				s.launch("", s.job()).ok() // the next start, and nothing else
				s.tells("a retry later", s.call(once), tc.later)
				s.ends(crashtest.AtMostOnce, tc.state, 1)
				if n := files(t, spool); n != 0 {
					t.Errorf("%d files left in the spool", n)
				}
			})
		}
		if s.kind != postgres {
			return
		}
		t.Run("the server cannot be reached", func(t *testing.T) {
			s := s.again(t)
			s.memory = s.proxied(t)
			spool := filepath.Join(t.TempDir(), "spool")
			s.change = func(j *crashtest.Job) { j.Spool, j.SettleWait, j.Lease = spool, 200*time.Millisecond, 10*time.Second }
			s.books.modes(t, s.op, ledger.Mode{Hold: true})
			w := s.start("", once)
			s.books.arrived(t, s.op, 1)
			if err := s.proxy.Refuse(); err != nil {
				t.Fatal(err)
			}
			s.proxy.CutAll(cutproxy.Reset)
			s.books.release(t, s.op)
			w.has("what its caller was told", func(l crashtest.Line) bool { return l.Kind == crashtest.Return })
			s.tells("the caller", w.told(), "unsettled")
			w.signal(killSignal)
			w.killed()
			if err := s.proxy.Allow(); err != nil {
				t.Fatal(err)
			}
			s.launch("", s.job()).ok()
			s.tells("a retry later", s.call(once), crashtest.Receipt)
			s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
		})
	})
}
