package sqlitestore

import (
	"context"
	"time"
)

// WithClock returns o with another clock for the store.
func WithClock(o Options, now func() time.Time) *Options {
	o.now = now
	return &o
}

// SelectClaimed is what Sweep asks.
var SelectClaimed = selectClaimed

// Failover gives the store a new epoch, as a copied file would have.
func (s *Store) Failover(ctx context.Context) error {
	return s.writing(ctx, "failover", func(t *txn) error { return t.freeze("a test said so") })
}

// BallastWhole reports whether the ballast is in place.
func (s *Store) BallastWhole() bool { return s.ballast.whole() }

// Hold keeps every write of this process waiting.
func (s *Store) Hold() (release func()) {
	s.gate <- struct{}{}
	return func() { <-s.gate }
}

// Commits counts the commits of the store's own writes.
func (s *Store) Commits() uint64 { return s.commits.Load() }

// OnWriter runs a statement on the writer's connection.
func (s *Store) OnWriter(ctx context.Context, query string) error {
	release, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	_, err = c.exec(query)
	return err
}
