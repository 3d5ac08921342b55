package guardtest

import (
	"context"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// New returns a guard on a memory store of its own. Both end with the test.
// Without an Observer nothing is logged, and a settle that the store does not
// take returns ErrUnsettled after a tenth of a second. At most one Options may
// be given.
func New(t testing.TB, opts ...onceguard.Options) *onceguard.Guard {
	t.Helper()
	return Restart(t, nil, opts...)
}

// Restart returns a guard on the store of g, as another process would open it,
// or this one after a crash, with g's scope and, unless others are given, the
// Options that New got. g may go on meanwhile: a crashed process's late answers
// are then seen as well.
func Restart(t testing.TB, g *onceguard.Guard, opts ...onceguard.Options) *onceguard.Guard {
	t.Helper()
	store := newStore()
	if g != nil {
		store = StoreOf(t, g)
	}
	o := store.options
	switch len(opts) {
	case 0:
	case 1:
		o = opts[0]
	default:
		t.Fatalf("guardtest: %d Options given, at most one is taken", len(opts))
	}
	if o.Observer == nil {
		o.Observer = silent{}
	}
	if o.SettleWait == 0 {
		o.SettleWait = 100 * time.Millisecond
	}
	if g == nil {
		store.options = o
	}
	fresh, err := onceguard.New(context.Background(), store, o)
	if err != nil {
		t.Fatalf("guardtest: %v", err)
	}
	t.Cleanup(func() {
		store.Up() // what is not settled yet may end
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := fresh.Close(ctx); err != nil {
			t.Errorf("guardtest: %v", err)
		}
	})
	if g != nil && len(opts) == 0 {
		return fresh.Scoped(g.Scope())
	}
	return fresh
}

// StoreOf returns the switches of a guard that New made.
func StoreOf(t testing.TB, g *onceguard.Guard) *Store {
	t.Helper()
	s, ok := g.Store().(*Store)
	if !ok {
		t.Fatalf("guardtest: the guard's store is a %T; use a guard of guardtest.New", g.Store())
	}
	return s
}

type silent struct{}

func (silent) Observe(context.Context, onceguard.Event) {}
