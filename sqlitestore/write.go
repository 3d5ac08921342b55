package sqlitestore

import (
	"context"
	"fmt"
	"time"

	"github.com/onceguard/onceguard/internal/mutant"
)

// insideKey marks the context of a function that Transact runs.
type insideKey struct{ s *Store }

// enter takes the gate, waiting as long as the busy timeout allows.
func (s *Store) enter(ctx context.Context) (release func(), err error) {
	if err := s.admitted(ctx); err != nil {
		return nil, err
	}
	if release, free := s.enterNow(); free {
		return release, nil
	}
	release = func() { <-s.gate }
	err = s.look.while(func() error {
		patience := time.NewTimer(s.busy)
		defer patience.Stop()
		select {
		case s.gate <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return fmt.Errorf("the store stayed busy for %s: another write of this process does not end", s.busy)
		}
	})
	return release, err
}

// enterNow takes the gate if it is free.
func (s *Store) enterNow() (release func(), free bool) {
	select {
	case s.gate <- struct{}{}:
		return func() { <-s.gate }, true
	default:
		return nil, false
	}
}

// admitted is asked before every write.
func (s *Store) admitted(ctx context.Context) error {
	if ctx.Value(insideKey{s}) != nil {
		return refused("", "called inside a transaction of the same store, which holds the write lock: call it after Transact returned")
	}
	if s.closed.Load() {
		return errClosed
	}
	return ctx.Err()
}

// writing is transaction for a write that travels alone, because it is long.
func (s *Store) writing(ctx context.Context, op string, fn func(t *txn) error) error {
	release, err := s.enter(ctx)
	if err != nil {
		return cleanly(op, err)
	}
	defer release()
	return cleanly(op, s.transaction(ctx, nil, fn))
}

// transaction runs fn in one BEGIN IMMEDIATE transaction and returns when it is
// durable. Nothing is committed, and nothing synced, if fn wrote nothing. ctx
// bounds the wait for the lock and nothing after it. Every error is clean but
// that of the commit itself, which is a *StoreError and says so. The caller
// holds the gate's token. taken, if set, is called where the lock has to be
// waited for, and an error of it ends the matter.
func (s *Store) transaction(ctx context.Context, taken func() error, fn func(t *txn) error) error {
	if s.closed.Load() {
		return errClosed
	}
	c, err := s.session(ctx)
	if err != nil {
		return err
	}
	open := true
	defer func() { // also when fn panics
		if open && !c.rollback() {
			s.drop()
		}
	}()
	if err := c.begin(); isBusy(err) {
		err := s.look.while(func() error {
			if taken != nil {
				if err := taken(); err != nil {
					return err
				}
			}
			return c.await(ctx, s.busy)
		})
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	t, err := s.opened(c)
	if err != nil {
		return err
	}
	if err := fn(t); err != nil {
		return err
	}
	if !t.wrote {
		return nil
	}
	if err := c.commit(); err != nil && !mutant.On("sqlite-commit-error-dropped") {
		return commitFailed("", err)
	}
	open = false
	s.commits.Add(1)
	return nil
}

// commitFailed judges an error of COMMIT. Busy and full come before the
// commit's frame is valid; after anything else (a failed sync) the frames may
// lie in the log and be found by the next recovery.
func commitFailed(op string, err error) error {
	if isBusy(err) || isFull(err) {
		return cleanly(op, err)
	}
	return unclear(op, err)
}
