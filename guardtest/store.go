package guardtest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// Call names a store method whose answers a test can lose.
type Call string

// The calls that a guard makes on its hot path.
const (
	Claim  Call = "claim"
	Settle Call = "settle"
	Renew  Call = "renew"
	Read   Call = "read"
)

// Store is a memory store with switches. It is safe for concurrent use.
type Store struct {
	*memstore.Store
	options onceguard.Options // that New got

	mu    sync.Mutex
	ahead time.Duration
	down  bool
	lost  map[Call][]bool // per lost answer: was it written?
	calls map[Call]int
}

func newStore() *Store {
	s := &Store{lost: map[Call][]bool{}, calls: map[Call]int{}}
	s.Store = memstore.New(memstore.Options{Name: "guardtest", Now: func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return time.Now().Add(s.ahead)
	}})
	return s
}

// Advance puts the store's clock on: a running lease that is shorter than d is
// over then, and retention passes.
func (s *Store) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// ExpireLeases puts the store's clock past every lease that was claimed with
// the default length or a shorter one, as if all owners had died.
func (s *Store) ExpireLeases() { s.Advance(onceguard.DefaultLease + time.Second) }

// Down makes every call fail, with nothing written, until Up.
func (s *Store) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

// Up ends Down.
func (s *Store) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
}

// LoseNext loses the answer to the next call: the guard sees a broken line.
// With written the store did the work, without it did not; a guard cannot tell
// the two apart. Several LoseNext apply one after the other.
func (s *Store) LoseNext(c Call, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[c] = append(s.lost[c], written)
}

// Calls counts the calls so far.
func (s *Store) Calls(c Call) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[c]
}

var (
	errDown = errors.New("guardtest: the store is down")
	errLost = errors.New("guardtest: the answer was lost")
)

// through makes a call unless a switch says otherwise.
func through[Q any](ctx context.Context, s *Store, c Call, q []Q, call func(context.Context, []Q) ([]onceguard.Answer, error)) ([]onceguard.Answer, error) {
	s.mu.Lock()
	s.calls[c]++
	down := s.down
	lose, written := false, false
	if !down && len(s.lost[c]) > 0 {
		lose, written = true, s.lost[c][0]
		s.lost[c] = s.lost[c][1:]
	}
	s.mu.Unlock()
	if down {
		// Permanent, so that a claim gives up at once and tests need not wait.
		return nil, &onceguard.StoreError{Op: string(c), Clean: true, Permanent: c == Claim, Err: errDown}
	}
	if !lose {
		return call(ctx, q)
	}
	if written {
		if _, err := call(ctx, q); err != nil {
			return nil, err
		}
	}
	return nil, &onceguard.StoreError{Op: string(c), Err: errLost}
}

// Claim implements onceguard.Store.
func (s *Store) Claim(ctx context.Context, q []onceguard.Claim) ([]onceguard.Answer, error) {
	return through(ctx, s, Claim, q, s.Store.Claim)
}

// Settle implements onceguard.Store.
func (s *Store) Settle(ctx context.Context, q []onceguard.Settlement) ([]onceguard.Answer, error) {
	return through(ctx, s, Settle, q, s.Store.Settle)
}

// Renew implements onceguard.Store.
func (s *Store) Renew(ctx context.Context, q []onceguard.Renewal) ([]onceguard.Answer, error) {
	return through(ctx, s, Renew, q, s.Store.Renew)
}

// Get implements onceguard.Store.
func (s *Store) Get(ctx context.Context, q []onceguard.RequestID) ([]onceguard.Answer, error) {
	return through(ctx, s, Read, q, s.Store.Get)
}

// Transact implements onceguard.Transactor; it fails while the store is Down.
func (s *Store) Transact(ctx context.Context, c onceguard.Claim, fn func(context.Context, any) (onceguard.Result, error)) (onceguard.Answer, error) {
	s.mu.Lock()
	down := s.down
	s.mu.Unlock()
	if down {
		return onceguard.Answer{}, &onceguard.StoreError{Op: "transact", Clean: true, Permanent: true, Err: errDown}
	}
	return s.Store.Transact(ctx, c, fn)
}
