package memstore

import (
	"bytes"
	"context"
	"maps"

	"github.com/onceguard/onceguard"
)

// Tx is the transaction that Transact hands to its function: named values in
// the store's memory, which commit with the receipt or not at all. It is valid
// only until the function returns, and only on its goroutine.
type Tx struct {
	rows map[string][]byte
	done bool
}

// Get returns a value as this transaction sees it.
func (t *Tx) Get(name string) ([]byte, bool) {
	v, ok := t.rows[name]
	return bytes.Clone(v), ok
}

// Put sets a value. It panics after the transaction ended, where the write
// would be lost silently.
func (t *Tx) Put(name string, value []byte) {
	t.open()
	t.rows[name] = bytes.Clone(value)
}

// Delete removes a value, and panics as Put does.
func (t *Tx) Delete(name string) {
	t.open()
	delete(t.rows, name)
}

func (t *Tx) open() {
	if t.done {
		panic("memstore: the transaction has ended; nothing can be written in it any more")
	}
}

// Row returns a committed value.
func (s *Store) Row(name string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.rows[name]
	return bytes.Clone(v), ok
}

// insideKey marks the context of a running transaction function.
type insideKey struct{ s *Store }

// TxType implements onceguard.Transactor.
func (s *Store) TxType() string { return "*memstore.Tx" }

// Transact implements onceguard.Transactor; fn receives a *Tx. Transactions
// run one at a time, and a duplicate waits until its context ends. An error or
// panic of fn passes through, and leaves no trace.
func (s *Store) Transact(ctx context.Context, c onceguard.Claim, fn func(ctx context.Context, tx any) (onceguard.Result, error)) (onceguard.Answer, error) {
	if len(c.Fingerprints) == 0 {
		return onceguard.Answer{}, refused("transact", "claim of %s has no fingerprint", c.ID)
	}
	if ctx.Value(insideKey{s}) != nil {
		return onceguard.Answer{}, refused("transact", "called inside another transaction of this store: call it after that one returned")
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return onceguard.Answer{}, clean("transact", ctx.Err())
	}
	defer func() { <-s.turn }()

	now, err := s.lock(ctx, "transact")
	if err != nil {
		return onceguard.Answer{}, err
	}
	before := s.records[c.ID]
	step := s.freeze(before.Transact(c, now), c)
	if step.Outcome != onceguard.Granted || step.Transition != onceguard.NoTransition {
		defer s.mu.Unlock()
		s.write(c.ID, step, now)
		return answer(step, now), nil
	}
	tx := &Tx{rows: maps.Clone(s.rows)}
	s.inTx, s.txDone = c.ID, make(chan struct{})
	s.mu.Unlock()

	committed := false
	defer func() { // also when fn panics or ends its goroutine
		if !committed {
			s.mu.Lock()
		}
		close(s.txDone)
		s.txDone, tx.done = nil, true
		s.mu.Unlock()
	}()
	result, err := fn(context.WithValue(ctx, insideKey{s}, true), tx)
	if err != nil {
		return onceguard.Answer{}, err
	}
	s.mu.Lock()
	committed = true
	if s.closed {
		return onceguard.Answer{}, clean("transact", errClosed)
	}
	now = s.clock()
	receipt := step.Record.Commit(before.State, result, now)
	s.rows = tx.rows
	for _, e := range step.Evidence {
		s.append(e, now)
	}
	s.write(c.ID, receipt, now)
	return answer(receipt, now), nil
}
