package onceguard

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// keptReceipt is what a replay says of a final record. All but its place in the
// shard is immutable; the body is shared by all who replay it.
type keptReceipt struct {
	id          RequestID
	fingerprint Fingerprint
	state       State
	attempt     int64
	waived      bool
	since       time.Time
	settledBy   string
	reason      string
	result      Result
	until       int64 // see Record.dropped

	seen         atomic.Bool // asked for since the hand last passed
	older, newer *keptReceipt
}

// keptOverhead is what a receipt costs beside its bodies and texts: itself, and
// its share of a map that is between seven sixteenths and seven eighths full.
const keptOverhead = int(unsafe.Sizeof(keptReceipt{})) + 2*(int(unsafe.Sizeof(RequestID{}))+9) + 6*16

// bytes is the size of k; allocations are rounded up by the allocator, for
// which keptOverhead has room.
func (k *keptReceipt) bytes() int {
	n := keptOverhead + len(k.result.Type) + len(k.reason)
	if body := len(k.result.Body); body > 0 {
		n += body + body/8
	}
	return n
}

func (k *keptReceipt) record() Record {
	return Record{
		ID: k.id, Fingerprint: k.fingerprint, State: k.state, Attempt: k.attempt, Waived: k.waived,
		Since: k.since, SettledBy: k.settledBy, Reason: k.reason, Result: k.result,
	}
}

// replayShard is a bounded map with the SIEVE rule of eviction (Zhang and
// others, NSDI 2024): a queue by age and a hand that walks from old to new,
// spares what was asked for since it last passed, and takes the first that was
// not. A hit marks and moves nothing, so it needs no exclusive lock, and the
// many receipts that nobody ever asks for again do not drive out the others.
type replayShard struct {
	mu     sync.RWMutex
	m      map[RequestID]*keptReceipt
	oldest *keptReceipt
	newest *keptReceipt
	hand   *keptReceipt // nil: begins at the oldest
	used   int          // bytes
	most   int
	_      [64]byte // its own cache line
}

func (s *replayShard) get(id RequestID) *keptReceipt {
	s.mu.RLock()
	k := s.m[id]
	s.mu.RUnlock()
	if k != nil && !k.seen.Load() {
		k.seen.Store(true)
	}
	return k
}

func (s *replayShard) put(k *keptReceipt) {
	size := k.bytes()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[RequestID]*keptReceipt)
	}
	if old := s.m[k.id]; old != nil {
		s.remove(old)
	}
	for s.used+size > s.most && s.oldest != nil {
		s.evict()
	}
	s.m[k.id] = k
	s.used += size
	k.older = s.newest
	if s.newest != nil {
		s.newest.newer = k
	} else {
		s.oldest = k
	}
	s.newest = k
}

func (s *replayShard) drop(id RequestID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.m[id]; k != nil {
		s.remove(k)
	}
}

func (s *replayShard) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m, s.oldest, s.newest, s.hand, s.used = nil, nil, nil, nil, 0
}

// evict ends: every step clears a mark, and nobody marks twice as fast as the
// hand walks for ever.
func (s *replayShard) evict() {
	k := s.hand
	for range 2 * len(s.m) {
		if k == nil {
			k = s.oldest
		}
		if !k.seen.Swap(false) {
			break
		}
		k = k.newer
	}
	if k == nil {
		k = s.oldest
	}
	s.hand = k
	s.remove(k)
}

func (s *replayShard) remove(k *keptReceipt) {
	if s.hand == k {
		s.hand = k.newer
	}
	if k.older != nil {
		k.older.newer = k.newer
	} else {
		s.oldest = k.newer
	}
	if k.newer != nil {
		k.newer.older = k.older
	} else {
		s.newest = k.older
	}
	k.older, k.newer = nil, nil
	delete(s.m, k.id)
	s.used -= k.bytes()
}
