package sqlitestore

import "sync/atomic"

// look tells claims whether to read before they ask for the write lock. Most
// claims are of new requests, for which reading is in vain: writing finds out
// by itself. It pays where the lock is taken, since a replay must not wait for
// it, and while claims meet requests that are known.
type look struct {
	waits atomic.Int32 // writes that wait for the lock
	hits  atomic.Int32 // claims that still read, since one met a known request
}

// afterHit is how many claims read after one that met a known request: a stream
// of replays is answered by reading, each at a quarter of the cost.
const afterHit = 64

func (l *look) hit() { l.hits.Store(afterHit) }

// first says whether the next claim should read.
func (l *look) first() bool {
	if l.waits.Load() > 0 {
		return true
	}
	if l.hits.Load() <= 0 {
		return false
	}
	l.hits.Add(-1)
	return true
}

// while runs a wait for the lock.
func (l *look) while(wait func() error) error {
	l.waits.Add(1)
	defer l.waits.Add(-1)
	return wait()
}
