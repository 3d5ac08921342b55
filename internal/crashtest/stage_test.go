//go:build linux

package crashtest_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// stage is what a named case plays on: a store, a ledger, and all that the
// workers wrote down.
type stage struct {
	testing.TB
	*memory
	books   *books
	op      string
	workers []*worker
	change  func(*crashtest.Job) // of every job
}

// onEach plays a named case on every store.
func onEach(t *testing.T, play func(t *testing.T, s *stage)) {
	for _, kind := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			play(t, newStage(t, newMemory(t, kind)))
		})
	}
}

func newStage(t testing.TB, m *memory) *stage {
	t.Helper()
	return &stage{TB: t, memory: m, books: newBooks(t), op: newOp(t.Name())}
}

// privateServer starts a Postgres that this test may kill.
func privateServer(t testing.TB, options pgtest.Options) (*pgtest.Cluster, *memory) {
	t.Helper()
	notShort(t)
	c := pgtest.Start(t, options)
	return c, newPostgres(t, c)
}

// again goes on with another request on the same store and ledger.
func (s *stage) again(t testing.TB) *stage {
	t.Helper()
	return &stage{TB: t, memory: s.memory, books: s.books, op: newOp(t.Name()), change: s.change}
}

func (s *stage) job(calls ...crashtest.Call) crashtest.Job {
	for i := range calls {
		if calls[i].Op == "" {
			calls[i].Op = s.op
		}
	}
	return crashtest.Job{Store: s.url, Ledger: s.books.addr, Calls: calls}
}

// launch starts a worker.
func (s *stage) launch(rules string, job crashtest.Job) *worker {
	s.Helper()
	if s.change != nil {
		s.change(&job)
	}
	w := launch(s, job, rules, false)
	s.workers = append(s.workers, w)
	return w
}

// start starts a worker with one call.
func (s *stage) start(rules string, call crashtest.Call) *worker {
	s.Helper()
	return s.launch(rules, s.job(call))
}

// call makes one call in a process of its own and returns what it was told.
func (s *stage) call(call crashtest.Call) crashtest.Line {
	s.Helper()
	return s.start("", call).ok().told()
}

// told is what the worker's only call was told.
func (w *worker) told() crashtest.Line {
	w.t.Helper()
	lines := w.returns()
	if len(lines) != 1 {
		w.t.Fatalf("%d calls, want 1", len(lines))
	}
	return lines[0]
}

// ask has the reconciler ask about the request.
func (s *stage) ask(lookup string) {
	s.Helper()
	job := s.job()
	job.Ask = []crashtest.Question{{Policy: crashtest.WithLookup, Request: s.op}}
	job.Lookup = lookup
	s.launch("", job).ok()
}

// tells fails unless a caller was told this.
func (s *stage) tells(what string, l crashtest.Line, told string) {
	s.Helper()
	if l.Told != told {
		s.Errorf("%s was told %s (%s), want %s", what, l.Told, l.Text, told)
	}
}

// ends checks the request's end: its record, its effects, and that nobody was
// told anything else.
func (s *stage) ends(policy string, state onceguard.State, effects int) onceguard.Record {
	s.Helper()
	r := s.record(s, policy, s.op)
	if r.State != state {
		s.Errorf("the record is %s (%s), want %s", r.State, r.Reason, state)
	}
	var lines []crashtest.Line
	for _, w := range s.workers {
		lines = append(lines, w.lines()...)
	}
	var happened []string
	if policy == crashtest.Transactional {
		for range s.rows(s, s.op) {
			happened = append(happened, "row "+s.op)
		}
	} else {
		happened = s.books.effects(s, s.op)
	}
	if len(happened) != effects {
		s.Errorf("%d effects, want %d", len(happened), effects)
	}
	for _, broken := range promises(r, policy, happened, lines) {
		s.Error(broken)
	}
	return r
}

// shows checks that there is evidence of these kinds.
func (s *stage) shows(policy string, kinds ...string) {
	s.Helper()
	has := map[string]bool{}
	for _, kind := range s.evidence(s, policy, s.op) {
		has[kind] = true
	}
	for _, kind := range kinds {
		if !has[kind] {
			s.Errorf("no evidence of kind %s, there is %v", kind, has)
		}
	}
}

// sent counts the requests that a worker's effects sent.
func (w *worker) sent() int {
	n := 0
	for _, l := range w.lines() {
		if l.Kind == crashtest.Sent {
			n++
		}
	}
	return n
}

// saw reports whether the worker's guard told its observer of a transition.
func (w *worker) saw(transition string) bool {
	for _, l := range w.lines() {
		if l.Kind == crashtest.Saw && l.Change == transition {
			return true
		}
	}
	return false
}

// dedup is a provider that honours keys for ever, refusals included.
var dedup = ledger.Mode{Dedup: true, Sticky: true}

// prune drops what is past its retention, all of it.
func (s *stage) prune() {
	s.Helper()
	job := s.job()
	job.Prune = true
	s.launch("", job).ok()
}

// until waits for the clock; nothing tells.
func (s *stage) until(what string, is func() bool) {
	s.Helper()
	late := time.Now().Add(patience)
	for !is() {
		if time.Now().After(late) {
			s.Fatalf("waited in vain to %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// uuidV7 is a UUIDv7 (RFC 9562) of a time.
func uuidV7(at time.Time) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	ms := at.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (8 * (5 - i)))
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
