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
