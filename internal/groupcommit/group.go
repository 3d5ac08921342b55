package groupcommit

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Group gathers members into batches. Make one with New; all methods may be
// called concurrently.
type Group[K comparable, M any] struct {
	opt Options[K, M]

	mu      sync.Mutex
	idle    *sync.Cond // running fell to 0 with nothing waiting
	waiting []entry[M] // in the order of arrival
	outside []*call[M] // calls for which waiting has no room
	taken   map[K]struct{}
	flights []flight // flushes under way
	last    uint64   // number of the latest of them
	crowded int      // calls that gather although few are under way
	relief  *time.Timer
	closed  bool
	stats   Stats // Running, Flying, Waiting and Bytes steer the Group too
}

// crowd is how many calls gather after more than Options.Solo were seen.
const crowd = 64

// passes bounds the flushes that hang while others go on.
const passes = 8

// flight is a flush under way.
type flight struct {
	number  uint64
	members int
	began   time.Time
	passed  bool // it took so long that it holds no slot
}

// call is one Do.
type call[M any] struct {
	members []M
	left    int // members without an answer
	started bool
	err     error
	done    chan struct{}
}

type entry[M any] struct {
	member M
	size   int
	call   *call[M]
}

// New makes a Group. It needs no goroutine while nobody calls.
func New[K comparable, M any](o Options[K, M]) *Group[K, M] {
	o.complete()
	g := &Group[K, M]{opt: o, taken: map[K]struct{}{}}
	g.idle = sync.NewCond(&g.mu)
	return g
}

// Do returns once a flush has had every member, or with a *LeftError when ctx
// ended before, a *PanicError, or ErrClosed. A call's members may be spread
// over several batches where they are many, or where they share a key.
func (g *Group[K, M]) Do(ctx context.Context, members []M) error {
	g.mu.Lock()
	switch {
	case g.closed:
		g.mu.Unlock()
		return ErrClosed
	case len(members) == 0:
		g.mu.Unlock()
		return nil
	}
	if g.alone(members) {
		number := g.begin(len(members))
		g.mu.Unlock()
		return g.flushOwn(ctx, members, number)
	}
	c := &call[M]{members: members, left: len(members), done: make(chan struct{})}
	g.outside = append(g.outside, c)
	g.admit()
	g.start()
	g.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return g.leave(c, context.Cause(ctx))
	}
}

// alone reports whether a call is flushed by itself: the only one, or so few
// are under way that each is better off with a flush of its own.
func (g *Group[K, M]) alone(members []M) bool {
	n := len(members)
	if g.stats.Flying+len(g.waiting)+n > max(g.opt.Solo, n) {
		g.crowded = crowd
	} else if g.crowded > 0 {
		g.crowded--
	}
	if len(g.waiting)+len(g.outside) > 0 || n > g.opt.MaxBatch {
		return false
	}
	if g.stats.Running > 0 && (g.crowded > 0 || g.stats.Flying+n > g.opt.Solo) {
		return false
	}
	if n == 1 {
		return true
	}
	bytes := 0
	clear(g.taken)
	for _, m := range members {
		bytes += g.opt.Size(m)
		if g.second(m) {
			return false
		}
	}
	return bytes <= g.opt.MaxBytes
}

// begin counts a flush and numbers it.
func (g *Group[K, M]) begin(members int) uint64 {
	g.stats.Batches++
	g.stats.Members += uint64(members)
	g.stats.Largest = max(g.stats.Largest, members)
	g.stats.Running++
	g.stats.Flying += members
	g.last++
	g.flights = append(g.flights, flight{number: g.last, members: members, began: time.Now()})
	return g.last
}

// over counts a flush that has ended.
func (g *Group[K, M]) over(number uint64) {
	i := slices.IndexFunc(g.flights, func(f flight) bool { return f.number == number })
	f := g.flights[i]
	g.flights = slices.Delete(g.flights, i, i+1)
	g.stats.Running--
	if !f.passed {
		g.stats.Flying -= f.members
	}
}

// free reports whether what gathered may be flushed now.
func (g *Group[K, M]) free() bool {
	if len(g.waiting) == 0 {
		return false
	}
	held, passed := 0, 0
	for i := range g.flights {
		f := &g.flights[i]
		if !f.passed && g.opt.Stall > 0 && time.Since(f.began) >= g.opt.Stall {
			f.passed = true
			g.stats.Flying -= f.members
			g.stats.Stalled++
		}
		if f.passed {
			passed++
		} else {
			held++
		}
	}
	return held < g.opt.Slots && passed <= passes
}

// relieve looks again, while calls wait, for flushes that hang.
func (g *Group[K, M]) relieve() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.relief = nil
	g.start()
}

// start begins the flushes that may begin, and tells Close if none is left.
func (g *Group[K, M]) start() {
	for g.free() {
		batch, number := g.take(nil)
		go g.run(batch, number)
	}
	if len(g.waiting) > 0 && g.relief == nil && g.opt.Stall > 0 {
		g.relief = time.AfterFunc(g.opt.Stall, g.relieve)
	}
	if g.stats.Running == 0 {
		if g.relief != nil {
			g.relief.Stop() // a late run of it finds nothing to do
			g.relief = nil
		}
		g.idle.Broadcast()
	}
}

// flushOwn flushes a call's own members on its own goroutine.
func (g *Group[K, M]) flushOwn(ctx context.Context, members []M, number uint64) error {
	defer func() { // also after a panic, which goes on
		g.mu.Lock()
		g.over(number)
		g.start()
		g.mu.Unlock()
	}()
	g.opt.Flush(ctx, members)
	return nil
}

// run flushes batches, as long as it finds that more have gathered.
func (g *Group[K, M]) run(batch []entry[M], number uint64) {
	var members []M
	for batch != nil {
		members = members[:0]
		for _, e := range batch {
			members = append(members, e.member)
		}
		batch, number = g.flush(batch, members, number)
		clear(members) // the buffer keeps nothing alive
	}
}

// flush writes one batch, answers its calls and takes the next batch if one may
// begin. The goroutine is nobody's, so that the calls are the ones to hear of a
// panic; after runtime.Goexit, another goroutine goes on.
func (g *Group[K, M]) flush(batch []entry[M], members []M, number uint64) (next []entry[M], nextNumber uint64) {
	returned := false
	defer func() {
		var failure error
		if !returned {
			failure = &PanicError{Value: recover()}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, e := range batch {
			e.call.answer(failure)
		}
		g.over(number)
		if returned && g.free() {
			next, nextNumber = g.take(batch)
		}
		g.start()
	}()
	g.opt.Flush(context.Background(), members)
	returned = true
	return nil, 0
}

// take makes the next batch of what waits: the oldest first, each key once. It
// reuses the memory of the batch before.
func (g *Group[K, M]) take(buffer []entry[M]) (batch []entry[M], number uint64) {
	clear(buffer)
	batch = buffer[:0]
	bytes := 0
	clear(g.taken)
	stay := g.waiting[:0]
	for i, e := range g.waiting {
		if len(batch) == g.opt.MaxBatch || len(batch) > 0 && bytes+e.size > g.opt.MaxBytes {
			stay = append(stay, g.waiting[i:]...)
			break
		}
		if g.second(e.member) {
			stay = append(stay, e)
			continue
		}
		e.call.started = true
		bytes += e.size
		batch = append(batch, e)
	}
	clear(g.waiting[len(stay):])
	g.waiting = stay
	g.stats.Waiting -= len(batch)
	g.stats.Bytes -= bytes
	number = g.begin(len(batch))
	g.admit()
	return batch, number
}

// second notes a member's key and reports whether it was noted already.
func (g *Group[K, M]) second(m M) bool {
	if g.opt.Key == nil {
		return false
	}
	key := g.opt.Key(m)
	_, twice := g.taken[key]
	g.taken[key] = struct{}{}
	return twice
}

// admit lets calls in from outside, in order, as far as there is room.
func (g *Group[K, M]) admit() {
	for len(g.outside) > 0 {
		c := g.outside[0]
		bytes := 0
		for _, m := range c.members {
			bytes += g.opt.Size(m)
		}
		if len(g.waiting) > 0 && (len(g.waiting)+len(c.members) > g.opt.MaxWaiting || g.stats.Bytes+bytes > g.opt.MaxWaitingBytes) {
			return
		}
		for _, m := range c.members {
			g.waiting = append(g.waiting, entry[M]{member: m, size: g.opt.Size(m), call: c})
		}
		g.stats.Waiting += len(c.members)
		g.stats.Bytes += bytes
		g.outside = slices.Delete(g.outside, 0, 1)
	}
}

// answer notes that one member is through.
func (c *call[M]) answer(err error) {
	if c.err == nil {
		c.err = err
	}
	if c.left--; c.left == 0 {
		close(c.done)
	}
}

// leave takes a call's members out of the queue, as far as they are still there.
func (g *Group[K, M]) leave(c *call[M], cause error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.left == 0 {
		return c.err // the answer came at the same time
	}
	e := &LeftError{Started: c.started, Cause: cause}
	if i := slices.Index(g.outside, c); i >= 0 {
		g.outside = slices.Delete(g.outside, i, i+1)
		e.Full = true
		g.stats.Refused++
	}
	g.waiting = slices.DeleteFunc(g.waiting, func(o entry[M]) bool {
		if o.call != c {
			return false
		}
		g.stats.Waiting--
		g.stats.Bytes -= o.size
		return true
	})
	g.stats.Left++
	g.admit()
	return e
}

// Close refuses further calls and returns when all that were made before are
// answered. Calling it again waits likewise.
func (g *Group[K, M]) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for g.stats.Running > 0 || len(g.waiting) > 0 {
		g.idle.Wait()
	}
}

// Stats shows what was done and what waits.
func (g *Group[K, M]) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Outside = len(g.outside)
	return s
}
