package sqlitestore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

// readPool lends connections for reading single rows. The last one given back
// is lent first, since its pages are the freshest.
type readPool struct {
	path   string
	busy   time.Duration
	permit chan struct{} // one token per connection lent

	mu     sync.Mutex
	idle   []*session
	closed bool
}

func newReadPool(path string, busy time.Duration) *readPool {
	return &readPool{path: path, busy: busy, permit: make(chan struct{}, readers)}
}

// use lends a connection to fn. One that failed is not lent again.
func (p *readPool) use(ctx context.Context, fn func(*session) error) error {
	select {
	case p.permit <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.permit }()
	c, err := p.take(ctx)
	if err != nil {
		return err
	}
	whole := false
	defer func() { // also when fn panics
		if !whole {
			_ = c.close()
		}
	}()
	if err := fn(c); err != nil {
		return err
	}
	whole = true
	p.mu.Lock()
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	return nil
}

func (p *readPool) take(ctx context.Context) (*session, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	return dial(ctx, p.path, reader, p.busy)
}

// close waits for what is lent, and lends nothing afterwards.
func (p *readPool) close() error {
	for range cap(p.permit) {
		p.permit <- struct{}{}
		defer func() { <-p.permit }()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var errs []error
	for _, c := range p.idle {
		errs = append(errs, c.close())
	}
	p.idle = nil
	return errors.Join(errs...)
}

// lookup is a plain read of one row; the zero Record where there is none.
func (s *Store) lookup(ctx context.Context, id onceguard.RequestID) (r onceguard.Record, err error) {
	err = s.rows.use(ctx, func(c *session) error {
		r, err = readRow(c, id)
		return err
	})
	return r, err
}

// peek is lookup for requests that mostly have no row: it asks for that first,
// at a fraction of the cost.
func (s *Store) peek(ctx context.Context, id onceguard.RequestID) (r onceguard.Record, err error) {
	err = s.rows.use(ctx, func(c *session) error {
		known, err := c.any(rowExists, id[:])
		if err != nil || !known {
			return err
		}
		r, err = readRow(c, id)
		return err
	})
	return r, err
}
