// Package underway counts work that may outlive the call that began it.
package underway

import (
	"context"
	"sync"
)

// Count is the number of pieces of work under way. Unlike a sync.WaitGroup it
// may be waited for while more begins. The zero value is ready.
type Count struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n is zero again; nil while nobody waits
}

// Enter counts one more.
func (c *Count) Enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

// Leave counts one less.
func (c *Count) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// Go runs f on a goroutine of its own. It leaves also where f panics or ends
// its goroutine.
func (c *Count) Go(f func()) {
	c.Enter()
	go func() {
		defer c.Leave()
		f()
	}()
}

// Idle is closed at the first moment without work.
func (c *Count) Idle() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == 0 {
		now := make(chan struct{})
		close(now)
		return now
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	return c.idle
}

// Wait returns at the first moment without work, or with the cause of ctx's end.
func (c *Count) Wait(ctx context.Context) error {
	idle := c.Idle()
	select {
	case <-idle:
		return nil // also where ctx has ended
	default:
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
