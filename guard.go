package onceguard

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"time"

	"github.com/onceguard/onceguard/internal/process"
	"github.com/onceguard/onceguard/internal/underway"
)

// Guard runs effects at most once per request ID against one store. It is safe
// for concurrent use; make one per store and process, and Scoped ones from it.
type Guard struct {
	*core
	scope string
}

// core is what all guards of one store and process share.
type core struct {
	store   Store
	opts    Options
	name    string // of the store, for errors
	process string

	ringMu sync.Mutex
	ring   *keyring

	flights flights
	replays *replayCache

	background underway.Count
	warned     sync.Map // retention warnings, each given once
	stop       context.Context
	stopNow    context.CancelFunc
}

// New makes a guard on a store. It reads the store's secrets, making the
// missing ones, and sends again what an earlier process left in the spool.
// A failure to deliver the spool is not an error: delivery goes on in the
// background.
func New(ctx context.Context, store Store, opts Options) (*Guard, error) {
	if err := opts.fill(); err != nil {
		return nil, fmt.Errorf("onceguard: %w", err)
	}
	if err := checkScope(opts.Scope); err != nil {
		return nil, err
	}
	info, err := store.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("onceguard: opening the guard: %w", err)
	}
	ring, err := openKeyring(ctx, store, opts.KeyEncryptionKey)
	if err != nil {
		return nil, fmt.Errorf("onceguard: secrets of store %s: %w", info.Name, err)
	}
	c := &core{store: store, opts: opts, name: info.Name, ring: ring, process: opts.Process}
	c.stop, c.stopNow = context.WithCancel(context.Background())
	if c.process == "" {
		self, err := process.Self().MarshalText()
		if err != nil {
			self = nil // nobody can be told dead by it; the lease decides
		}
		c.process = string(self)
	}
	began, err := c.opts.clock.Now()
	if err != nil {
		return nil, fmt.Errorf("onceguard: no clock that counts suspend, so a lease cannot be judged: %w", err)
	}
	c.replays = newReplayCache(opts.ReplayCache, began)
	g := &Guard{core: c, scope: opts.Scope}
	if info.Frozen {
		c.observe(ctx, Event{Kind: EventFrozen, Detail: info.FrozenWhy})
	}
	if err := c.startSpool(ctx); err != nil {
		return nil, fmt.Errorf("onceguard: spool %s: %w", opts.Spool, err)
	}
	return g, nil
}

// Scoped returns a guard of the same store whose requests belong to scope.
// A bad scope is reported by the first Do.
func (g *Guard) Scoped(scope string) *Guard { return &Guard{core: g.core, scope: scope} }

// Scope returns the tenant or namespace of this guard's requests.
func (g *Guard) Scope() string { return g.scope }

// Store returns the store, for reading receipts.
func (g *Guard) Store() Store { return g.store }

// Close waits for background work (outcomes not stored yet, claims to give
// back) until ctx ends, then stops it. What was not delivered stays in the
// spool, if there is one; without one it becomes uncertain when its lease
// ends. Close does not close the store.
func (g *Guard) Close(ctx context.Context) error {
	select {
	case <-g.background.Idle():
		g.stopNow()
		return nil
	case <-ctx.Done():
		g.stopNow()
		<-g.background.Idle()
		return fmt.Errorf("onceguard: closed with outcomes not stored: %w", ctx.Err())
	}
}

func (c *core) observe(ctx context.Context, e Event) { c.opts.Observer.Observe(ctx, e) }

// keys returns the keyring; fresh reads it from the store again, for a record
// that names a fingerprint key which was added since.
func (c *core) keys(ctx context.Context, fresh bool) (*keyring, error) {
	c.ringMu.Lock()
	defer c.ringMu.Unlock()
	if fresh {
		ring, err := openKeyring(ctx, c.store, c.opts.KeyEncryptionKey)
		if err != nil {
			return nil, err
		}
		c.ring = ring
	}
	return c.ring, nil
}

// newToken draws an owner token. crypto/rand does not fail on the platforms
// that Go supports; it ends the program rather than return weak bytes.
func newToken() (t Token) {
	_, _ = rand.Read(t[:])
	return t
}

// detached is a context for store calls: it keeps the caller's values and not
// its cancellation, which could turn a durable write into a non-durable one.
func (c *core) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), c.opts.StoreTimeout)
}

// backoff waits before try n (from 1), with jitter: up to half a second, and up
// to 15 s once a store is silent for long. It is false when the guard stops or
// until ends first.
func (c *core) backoff(until <-chan struct{}, n int) bool {
	d := min(500*time.Millisecond, 10*time.Millisecond<<min(n, 8))
	if n > 40 {
		d = 15 * time.Second
	}
	t := time.NewTimer(jitter(d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-until:
		return false
	case <-c.stop.Done():
		return false
	}
}
