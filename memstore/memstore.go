// Package memstore is the reference store: the Record rules over a map, in the
// memory of one process. It is the oracle for other stores and serves users'
// tests. It forgets everything when the process ends, so it never belongs in
// front of an effect that must not happen twice.
//
// What it promises: every method is atomic, and transactions (Transact) run one
// at a time. Its clock is Options.Now, so it follows testing/synctest.
package memstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

// Options of New. The zero value works.
type Options struct {
	Now  func() time.Time // the store's clock; default time.Now
	Name string           // for people; default "memory"
}

// Store keeps records in memory. Its zero value is not usable: call New.
type Store struct {
	now  func() time.Time
	name string

	turn chan struct{} // holds one token while a transaction runs

	mu        sync.Mutex
	closed    bool
	records   map[onceguard.RequestID]onceguard.Record
	evidence  map[onceguard.RequestID]*pile
	inTx      onceguard.RequestID // the request that a transaction holds
	txDone    chan struct{}       // closed when it ends; nil without one
	rows      map[string][]byte   // what transactions wrote for the caller
	secrets   map[string]onceguard.Secret
	storeID   string
	epoch     string
	frozenWhy string // empty: not frozen
}

var (
	_ onceguard.Store      = (*Store)(nil)
	_ onceguard.Transactor = (*Store)(nil)
	_ onceguard.Archiver   = (*Store)(nil)
)

// New returns an empty store with a random identity.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Name == "" {
		o.Name = "memory"
	}
	return &Store{
		now: o.Now, name: o.Name, turn: make(chan struct{}, 1),
		records: map[onceguard.RequestID]onceguard.Record{}, evidence: map[onceguard.RequestID]*pile{},
		rows: map[string][]byte{}, secrets: map[string]onceguard.Secret{},
		storeID: rand.Text(), epoch: rand.Text(),
	}
}

var errClosed = errors.New("the store is closed")

// clean is the only kind of failure here: nothing was written.
func clean(op string, err error) error {
	return &onceguard.StoreError{Op: op, Clean: true, Permanent: errors.Is(err, errClosed), Err: err}
}

// refused is a clean failure that trying again does not mend.
func refused(op, format string, args ...any) error {
	return &onceguard.StoreError{Op: op, Clean: true, Permanent: true, Err: fmt.Errorf(format, args...)}
}

// lock takes the mutex, and the time once it is held.
func (s *Store) lock(ctx context.Context, op string) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, clean(op, err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return time.Time{}, clean(op, errClosed)
	}
	return s.clock(), nil
}

// clock drops the monotonic reading: stored times are compared as stored.
func (s *Store) clock() time.Time { return s.now().UTC().Round(0) }

// lockRow is lock at a moment when no transaction holds the request.
func (s *Store) lockRow(ctx context.Context, op string, id onceguard.RequestID) (time.Time, error) {
	for {
		now, err := s.lock(ctx, op)
		if err != nil || s.txDone == nil || s.inTx != id {
			return now, err
		}
		wait := s.txDone
		s.mu.Unlock()
		if ctx.Value(insideKey{s}) != nil {
			return time.Time{}, refused(op, "called inside the transaction that holds the same request: use it after Transact returned")
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return time.Time{}, clean(op, ctx.Err())
		}
	}
}

// apply lets a rule decide about one row and writes what it decided.
func (s *Store) apply(ctx context.Context, op string, id onceguard.RequestID, rule func(onceguard.Record, time.Time) onceguard.Step) (onceguard.Answer, error) {
	now, err := s.lockRow(ctx, op, id)
	if err != nil {
		return onceguard.Answer{}, err
	}
	defer s.mu.Unlock()
	step := rule(s.records[id], now)
	s.write(id, step, now)
	return answer(step, now), nil
}

func (s *Store) write(id onceguard.RequestID, step onceguard.Step, now time.Time) {
	switch {
	case step.Delete:
		delete(s.records, id)
		delete(s.evidence, id)
	case step.Write:
		s.records[id] = copied(step.Record)
	}
	for _, e := range step.Evidence {
		s.append(e, now)
	}
}

// each applies a rule to every member of a slice; members fail singly.
func each[Q any](ctx context.Context, s *Store, op string, questions []Q, id func(Q) onceguard.RequestID, rule func(onceguard.Record, Q, time.Time) onceguard.Step) ([]onceguard.Answer, error) {
	if err := s.distinct(ctx, op, len(questions), func(i int) onceguard.RequestID { return id(questions[i]) }); err != nil {
		return nil, err
	}
	out := make([]onceguard.Answer, len(questions))
	for i, q := range questions {
		a, err := s.apply(ctx, op, id(q), func(r onceguard.Record, now time.Time) onceguard.Step { return rule(r, q, now) })
		if out[i] = a; err != nil {
			out[i] = onceguard.Answer{Err: err}
		}
	}
	return out, nil
}

// distinct refuses a call that names a request twice: its second member would
// be answered by the first.
func (s *Store) distinct(ctx context.Context, op string, n int, id func(int) onceguard.RequestID) error {
	if _, err := s.lock(ctx, op); err != nil {
		return err
	}
	s.mu.Unlock()
	seen := make(map[onceguard.RequestID]bool, n)
	for i := range n {
		if seen[id(i)] {
			return refused(op, "%s occurs twice in one call: ask once per request", id(i))
		}
		seen[id(i)] = true
	}
	return nil
}

func answer(step onceguard.Step, now time.Time) onceguard.Answer {
	a := step.Answer(now)
	a.Record = copied(a.Record)
	return a
}

// copied shares no bytes with r, so that neither side changes the other's.
func copied(r onceguard.Record) onceguard.Record {
	r.Input, r.Result.Body = bytes.Clone(r.Input), bytes.Clone(r.Result.Body)
	return r
}
