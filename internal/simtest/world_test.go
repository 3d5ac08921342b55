package simtest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// Bounds of the simulated world. What the downstream promises (maxDelay, and
// the horizon that safe-retry declares) it keeps; all else is up to the seed.
const (
	lease        = 12 * time.Second
	maxRun       = 40 * time.Second
	storeTimeout = 5 * time.Second
	settleWait   = 3 * time.Second
	horizon      = 3 * time.Minute
	maxDelay     = 30 * time.Second // of one request on its way to the downstream
	quiet        = maxDelay + time.Second
)

// world is one schedule: processes, one store, one downstream, and the books.
type world struct {
	seed uint64
	rng  *rand.Rand // of the scheduler alone
	mild bool       // nothing but lost store answers and short delays
	theme

	mu       sync.Mutex
	step     int
	procs    []*proc
	items    []*item   // what waits at a yield point
	zombies  []*zombie // requests that nobody waits for any more
	requests []*request
	calls    []*call
	db       *memstore.Store
	journal  []*entry
	replayAt time.Time // the store's clock while the journal is replayed
	offset   time.Duration
	ops      []*op
	tokens   map[onceguard.Token]int
	inputs   map[[32]byte]int
	secrets  []onceguard.Secret
	claims   map[grantKey]*grant
	open     int // goroutines of calls and helpers that have not ended
	lines    []line
	counts   counts
	bad      []violation
	healing  bool
	tx       int // transactions begun and not ended
	helpers  int
}

// counts says what a schedule exercised; see vacuity.
type counts map[string]int

// violation is a guarantee that did not hold.
type violation struct{ check, what string }

type line struct {
	step  int
	actor string
	text  string
}

// logf keeps a line of history. Lines of one step come from goroutines that ran
// at the same time; they are put in the order of their actors.
func (w *world) logf(actor, format string, args ...any) {
	w.lines = append(w.lines, line{w.step, actor, fmt.Sprintf(format, args...)})
}

func (w *world) say(actor, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.logf(actor, format, args...)
}

// tick begins the next step.
func (w *world) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step++
}

// history is the schedule as text, the same for the same seed.
func (w *world) history() string {
	slices.SortStableFunc(w.lines, func(a, b line) int {
		return cmp.Or(a.step-b.step, strings.Compare(a.actor, b.actor))
	})
	var b strings.Builder
	for _, l := range w.lines {
		fmt.Fprintf(&b, "%4d %-14s %s\n", l.step, l.actor, l.text)
	}
	return b.String()
}

// violate needs the mutex.
func (w *world) violate(check, format string, args ...any) {
	v := violation{check, fmt.Sprintf(format, args...)}
	w.bad = append(w.bad, v)
	w.logf("~check", "VIOLATION %s: %s", v.check, v.what)
}

// now is the store's clock.
func (w *world) now() time.Time {
	if !w.replayAt.IsZero() {
		return w.replayAt
	}
	return time.Now().Add(w.offset)
}

// fate is what becomes of one call or request.
type fate int

const (
	reach      fate = iota // carried out and answered
	slow                   // carried out; the answer is on its way
	down                   // refused, surely not carried out
	lostBefore             // unclear, and not carried out
	lostAfter              // unclear, and carried out
	later                  // unclear, and carried out later
	twice                  // carried out and answered, and once more later
	forgotten              // unclear, visible, and not durable (claims)
	stopped                // carried out and answered, and then the process stands still
	dead                   // the process is dead
)

var fateNames = [...]string{"reach", "slow", "down", "lost-before", "lost-after", "later", "twice", "forgotten", "stopped", "dead"}

func (f fate) String() string { return fateNames[f] }

// item is one goroutine at a yield point.
type item struct {
	name  string // the same for the same seed
	p     *proc
	fates []fate // what may become of it beside reach
	go_   chan fate
	seq   int
	post  bool // a request to the downstream
	renew bool // a heartbeat
}

// proc is one process: a guard, its line to the store, its helpers.
type proc struct {
	w          *world
	n          int
	dead       bool
	guard      *onceguard.Guard
	sweeper    *onceguard.Sweeper
	reconciler *onceguard.Reconciler
	stop       context.CancelFunc
	ctx        context.Context
}

func (p *proc) String() string { return fmt.Sprintf("p%d", p.n) }

// pause waits at a yield point until the scheduler lets it go on; ok is false
// when done came first. A goroutine of a dead process ends here.
func (w *world) pause(p *proc, name string, done <-chan struct{}, fates ...fate) (f fate, ok bool) {
	it := &item{name: name, p: p, fates: fates, go_: make(chan fate)}
	it.post, it.renew = strings.Contains(name, "posts"), strings.Contains(name, "renew")
	w.mu.Lock()
	if p.dead {
		w.mu.Unlock()
		runtime.Goexit()
	}
	it.seq = len(w.items)
	w.items = append(w.items, it)
	w.mu.Unlock()
	select {
	case f = <-it.go_:
	case <-done:
		w.mu.Lock()
		if i := slices.Index(w.items, it); i >= 0 {
			w.items = slices.Delete(w.items, i, i+1)
		}
		w.mu.Unlock()
		return 0, false
	}
	if f == dead {
		runtime.Goexit()
	}
	return f, true
}

// gone ends the goroutine of a dead process.
func (p *proc) gone() {
	p.w.mu.Lock()
	over := p.dead
	p.w.mu.Unlock()
	if over {
		runtime.Goexit()
	}
}

// release lets one item go on and waits until everything has come to rest.
func (w *world) release(it *item, f fate) {
	w.mu.Lock()
	i := slices.Index(w.items, it)
	if i < 0 {
		w.mu.Unlock()
		return
	}
	w.items = slices.Delete(w.items, i, i+1)
	w.mu.Unlock()
	it.go_ <- f
	synctest.Wait()
}

// sorted is what waits, in an order that does not depend on who came first.
func (w *world) sorted() []*item {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := slices.Clone(w.items)
	slices.SortFunc(list, func(a, b *item) int {
		return cmp.Or(strings.Compare(a.name, b.name), a.seq-b.seq)
	})
	return list
}

// spawn runs f on a goroutine of its own, counted until it ends.
func (w *world) spawn(f func()) {
	w.mu.Lock()
	w.open++
	w.mu.Unlock()
	go func() {
		defer func() {
			w.mu.Lock()
			w.open--
			w.mu.Unlock()
		}()
		f()
	}()
}
