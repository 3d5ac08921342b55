package groupcommit_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/onceguard/onceguard/internal/groupcommit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoneCallerFlushesOnItsOwnGoroutine(t *testing.T) {
	type mark struct{}
	var inside, seen string
	g := groupcommit.New(groupcommit.Options[int, *member]{
		Key: func(m *member) int { return m.key },
		Flush: func(ctx context.Context, _ []*member) {
			inside, seen = goroutine(), ctx.Value(mark{}).(string)
		},
	})
	defer g.Close()
	if err := g.Do(context.WithValue(t.Context(), mark{}, "mine"), []*member{{key: 1}}); err != nil {
		t.Fatal(err)
	}
	if inside != goroutine() || seen != "mine" {
		t.Errorf("flushed on goroutine %s with the context's value %q; the caller's is %s", inside, seen, goroutine())
	}
	if s := g.Stats(); s.Batches != 1 || s.Members != 1 || s.Running != 0 || s.Flying != 0 {
		t.Errorf("%+v", s)
	}
}

func goroutine() (id string) {
	var b [64]byte
	fmt.Sscanf(string(b[:runtime.Stack(b[:], false)]), "goroutine %s", &id)
	return id
}

func TestCallsGatherWhileOneIsFlushed(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{})
	first := d.call(t.Context(), &member{key: 0})
	d.expect(t, 0)
	var all []<-chan error
	list := make([]*member, 101)
	for i := 1; i <= 100; i++ {
		list[i] = &member{key: i}
		all = append(all, d.call(t.Context(), list[i]))
		d.until(t, waiting(i))
	}
	d.end <- nil
	if n := len(<-d.begun); n != 100 {
		t.Errorf("%d members travelled together, want 100", n)
	}
	d.end <- nil
	ok(t, first)
	for _, done := range all {
		ok(t, done)
	}
	if list[7].answer != "7 of 100" {
		t.Errorf("answer %q", list[7].answer)
	}
	if s := d.Stats(); s.Batches != 2 || s.Members != 101 || s.Largest != 100 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFewCallsFlyAlone(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{Solo: 3, Slots: 2})
	var all []<-chan error
	for i := range 3 {
		all = append(all, d.call(t.Context(), &member{key: i}))
		d.expect(t, i)
	}
	all = append(all, d.call(t.Context(), &member{key: 3}))
	d.until(t, waiting(1))
	all = append(all, d.call(t.Context(), &member{key: 4}))
	d.until(t, waiting(2))
	d.end <- nil // three under way were more than the slots; two are as many
	d.until(t, func(s groupcommit.Stats) bool { return s.Running == 2 && s.Waiting == 2 })
	d.end <- nil
	d.expect(t, 3, 4)
	d.end <- nil
	d.end <- nil
	for _, done := range all {
		ok(t, done)
	}
}

// After a crowd, calls gather although few are under way; then they fly alone
// again.
func TestCrowdIsRemembered(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{Solo: 2})
	var all []<-chan error
	for i := range 2 {
		all = append(all, d.call(t.Context(), &member{key: i}))
		d.expect(t, i)
	}
	all = append(all, d.call(t.Context(), &member{key: 2}))
	d.until(t, waiting(1))
	d.end <- nil
	d.end <- nil
	d.expect(t, 2)
	all = append(all, d.call(t.Context(), &member{key: 3}))
	d.until(t, waiting(1)) // two were few before
	d.end <- nil
	d.expect(t, 3)
	d.end <- nil
	for range 100 {
		done := d.call(t.Context(), &member{key: 9})
		d.expect(t, 9)
		d.end <- nil
		ok(t, done)
	}
	for i := range 2 {
		all = append(all, d.call(t.Context(), &member{key: i}))
		d.expect(t, i)
	}
	d.end <- nil
	d.end <- nil
	for _, done := range all {
		ok(t, done)
	}
}

// One flush that hangs costs the others a moment, not its whole time.
func TestFlushThatHangsIsPassed(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{Stall: time.Millisecond})
	hung := d.call(t.Context(), &member{key: 0})
	d.expect(t, 0)
	other := d.call(t.Context(), &member{key: 1})
	d.expect(t, 1)
	d.end <- nil
	d.end <- nil
	ok(t, hung)
	ok(t, other)
	if s := d.Stats(); s.Stalled == 0 || s.Flying != 0 || s.Running != 0 {
		t.Errorf("%+v", s)
	}
}

func TestOneKeyOnceInABatch(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{})
	all := []<-chan error{d.call(t.Context(), &member{key: 0})}
	d.expect(t, 0)
	for i, m := range []*member{{key: 5}, {key: 6}, {key: 5}, {key: 7}, {key: 5}} {
		all = append(all, d.call(t.Context(), m))
		d.until(t, waiting(i+1))
	}
	d.end <- nil
	d.expect(t, 5, 6, 7)
	d.end <- nil
	d.expect(t, 5)
	d.end <- nil
	d.expect(t, 5)
	d.end <- nil
	all = append(all, d.call(t.Context(), &member{key: 8}, &member{key: 9}, &member{key: 8}))
	d.expect(t, 8, 9)
	d.end <- nil
	d.expect(t, 8)
	d.end <- nil
	for _, done := range all {
		ok(t, done)
	}
}

func TestWithoutKeysAllTravel(t *testing.T) {
	sizes := make(chan int, 1)
	g := groupcommit.New(groupcommit.Options[int, *member]{
		Flush: func(_ context.Context, batch []*member) { sizes <- len(batch) },
	})
	defer g.Close()
	if err := g.Do(t.Context(), []*member{{key: 1}, {key: 1}, {key: 1}}); err != nil {
		t.Fatal(err)
	}
	if n := <-sizes; n != 3 {
		t.Errorf("%d members in the batch, want 3", n)
	}
}

func TestCallerLeaves(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{})
	all := []<-chan error{d.call(t.Context(), &member{key: 0})}
	d.expect(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	late, early := d.call(ctx, &member{key: 1}), (<-chan error)(nil)
	d.until(t, waiting(1))
	all = append(all, d.call(t.Context(), &member{key: 2}))
	d.until(t, waiting(2))
	short, stop := context.WithCancel(t.Context())
	early = d.call(short, &member{key: 3})
	d.until(t, waiting(3))
	stop()
	var left *groupcommit.LeftError
	if err := <-early; !errors.As(err, &left) || left.Started {
		t.Errorf("the call that left before its batch was told %v", err)
	}
	d.end <- nil
	d.expect(t, 1, 2)
	cancel()
	if err := <-late; !errors.As(err, &left) || !left.Started || !errors.Is(err, context.Canceled) {
		t.Errorf("the call that left during its batch was told %v", err)
	}
	d.end <- nil
	for _, done := range all {
		ok(t, done)
	}
	if s := d.Stats(); s.Members != 3 || s.Left != 2 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}

func TestFlushThatPanics(t *testing.T) {
	for name, f := range map[string]func(){"panic": func() { panic("broken") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, groupcommit.Options[int, *member]{})
			own := make(chan any, 1)
			go func() {
				defer func() { own <- recover() }()
				d.Do(t.Context(), []*member{{key: 0}})
			}()
			d.expect(t, 0)
			a, b := d.call(t.Context(), &member{key: 1}), d.call(t.Context(), &member{key: 2})
			d.until(t, waiting(2))
			d.end <- f
			if v := <-own; (v != nil) != (name == "panic") {
				t.Errorf("the caller that flushed for itself saw %v", v)
			}
			<-d.begun
			c := d.call(t.Context(), &member{key: 3})
			d.until(t, waiting(1))
			d.end <- f
			for _, done := range []<-chan error{a, b} {
				var p *groupcommit.PanicError
				if err := <-done; !errors.As(err, &p) {
					t.Errorf("a neighbour was told %v", err)
				}
			}
			d.expect(t, 3)
			d.end <- nil
			ok(t, c)
		})
	}
}

func TestClose(t *testing.T) {
	d := newDesk(t, groupcommit.Options[int, *member]{})
	a := d.call(t.Context(), &member{key: 1})
	d.expect(t, 1)
	b := d.call(t.Context(), &member{key: 2})
	d.until(t, waiting(1))
	closed := make(chan struct{})
	go func() {
		d.Close()
		close(closed)
	}()
	for !errors.Is(d.Do(t.Context(), nil), groupcommit.ErrClosed) {
		runtime.Gosched()
	}
	if err := d.Do(t.Context(), []*member{{key: 3}}); !errors.Is(err, groupcommit.ErrClosed) {
		t.Errorf("a call after Close was told %v", err)
	}
	d.end <- nil
	d.expect(t, 2)
	select {
	case <-closed:
		t.Error("Close returned before the batch was written")
	default:
	}
	d.end <- nil
	<-closed
	ok(t, a)
	ok(t, b)
}

// Everything at once, for the race detector: each member is flushed exactly
// once unless its caller left in time, and no batch holds a key twice.
func TestManyCallers(t *testing.T) {
	var mu sync.Mutex
	flushed := map[*member]int{}
	g := groupcommit.New(groupcommit.Options[int, *member]{
		Key: func(m *member) int { return m.key }, Solo: 4, Slots: 2, MaxBatch: 16, MaxWaiting: 32,
		Flush: func(_ context.Context, batch []*member) {
			runtime.Gosched()
			mu.Lock()
			defer mu.Unlock()
			seen := map[int]bool{}
			for _, m := range batch {
				if seen[m.key] {
					t.Errorf("key %d is twice in a batch", m.key)
				}
				seen[m.key] = true
				flushed[m]++
				m.answer = "x"
			}
		},
	})
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			for j := range 100 {
				list := make([]*member, 1+j%3)
				for k := range list {
					list[k] = &member{key: (i + j*k) % 50}
				}
				ctx, cancel := context.WithCancel(t.Context())
				if j%5 == 0 {
					go cancel()
				}
				err := g.Do(ctx, list)
				cancel()
				var left *groupcommit.LeftError
				switch {
				case errors.As(err, &left) && left.Started:
				case errors.As(err, &left):
					mu.Lock()
					for _, m := range list {
						if flushed[m] != 0 {
							t.Error("a member was flushed whose caller was told that it was not")
						}
					}
					mu.Unlock()
				case err != nil:
					t.Error(err)
				default:
					for _, m := range list {
						if m.answer != "x" {
							t.Error("a member has no answer")
						}
					}
				}
			}
		})
	}
	group.Wait()
	g.Close()
	for _, n := range flushed {
		if n != 1 {
			t.Errorf("a member was flushed %d times", n)
		}
	}
	if s := g.Stats(); s.Waiting != 0 || s.Running != 0 || s.Flying != 0 || s.Outside != 0 {
		t.Errorf("%+v", s)
	}
}
