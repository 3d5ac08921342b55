package onceguard

import (
	"bytes"
	"context"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/internal/mutant"
)

// defaultReplayCache is Options.ReplayCache where that is zero, in bytes.
const defaultReplayCache = 16 << 20

// replayCache holds final receipts of one store in memory, shared by all guards
// of it in this process. A final record never changes, so a copy of one is
// right for as long as the store still has it: a receipt is given back only
// while its retention cannot be over by the store's clock.
//
// That clock is not asked. It is at least what the latest-looking answer showed
// plus what has passed here since before that answer was asked for, suspend
// included; when in doubt, the store is asked. Nil keeps nothing.
type replayCache struct {
	shards []replayShard // a power of two

	base  bootclock.Instant
	last  atomic.Pointer[bootReading]
	ahead atomic.Int64 // the store's clock, as Unix ns, minus what passed since base
}

// bootReading saves most readings of a clock that costs a system call.
type bootReading struct {
	at      time.Time
	elapsed time.Duration // since base
}

// bootReadingGood is how long a reading is carried on by Go's clock. A suspend
// that neither the monotonic nor the wall clock of the process shows is seen
// after so much running time.
const bootReadingGood = time.Second

// newReplayCache divides size bytes among shards of a mebibyte or more. A
// negative size is no cache.
func newReplayCache(size int, base bootclock.Instant) *replayCache {
	if size < 0 {
		return nil
	}
	n := 1
	for n < 64 && size/(2*n) >= 1<<20 {
		n *= 2
	}
	rc := &replayCache{shards: make([]replayShard, n), base: base}
	rc.ahead.Store(math.MinInt64)
	for i := range rc.shards {
		rc.shards[i].most = size / n
	}
	return rc
}

// shard uses the ID's first bytes, which are those of a SHA-256.
func (rc *replayCache) shard(id RequestID) *replayShard {
	return &rc.shards[int(id[0])&(len(rc.shards)-1)]
}

// elapsed is the time since base. ok is false when no clock can say.
func (rc *replayCache) elapsed() (d time.Duration, ok bool) {
	now := time.Now()
	if r := rc.last.Load(); r != nil {
		ran, wall := now.Sub(r.at), now.Round(0).Sub(r.at.Round(0))
		if 0 <= ran && ran < bootReadingGood && 0 <= wall && wall < bootReadingGood {
			return r.elapsed + ran, true
		}
	}
	d, err := rc.base.Elapsed()
	if err != nil {
		return 0, false
	}
	rc.last.Store(&bootReading{now, d})
	return d, true
}

// sent is taken before a store is asked for what keep may get.
func (rc *replayCache) sent() (d time.Duration, ok bool) {
	if rc == nil {
		return 0, false
	}
	return rc.elapsed()
}

// observe raises the least that the store's clock can show.
func (rc *replayCache) observe(now time.Time, sent time.Duration) {
	ahead := now.UnixNano() - int64(sent)
	for {
		old := rc.ahead.Load()
		if old >= ahead || rc.ahead.CompareAndSwap(old, ahead) {
			return
		}
	}
}

// get returns a receipt whose retention is not over.
func (rc *replayCache) get(id RequestID) (*keptReceipt, bool) {
	s := rc.shard(id)
	k := s.get(id)
	if k == nil {
		return nil, false
	}
	if k.until == math.MaxInt64 {
		return k, true
	}
	elapsed, ok := rc.elapsed()
	if !ok {
		return nil, false
	}
	if rc.ahead.Load()+int64(elapsed) >= k.until {
		s.drop(id)
		return nil, false
	}
	return k, true
}

// keep copies a store's answer, if it is final. Not kept are records without a
// fingerprint (imported ones, which match every input: that is the store's to
// say each time), and whatever is large beside the whole.
func (rc *replayCache) keep(a Answer, sent time.Duration) {
	r := &a.Record
	if !r.State.Final() && !mutant.On("cache-keeps-open") || r.Fingerprint.Version == 0 || a.Now.IsZero() {
		return
	}
	rc.observe(a.Now, sent)
	k := &keptReceipt{
		id: r.ID, fingerprint: r.Fingerprint, state: r.State, attempt: r.Attempt, waived: r.Waived, since: r.Since, until: r.dropped(),
		reason: strings.Clone(r.Reason), settledBy: string(ByOwner), result: r.Result,
	}
	if r.SettledBy != k.settledBy {
		k.settledBy = strings.Clone(r.SettledBy)
	}
	s := rc.shard(k.id)
	if k.until <= a.Now.UnixNano() || k.bytes()+len(r.Result.Body) > s.most/4 {
		return
	}
	// The answer's body may be the caller's own slice, or part of a batch.
	k.result.Type, k.result.Body = strings.Clone(r.Result.Type), bytes.Clone(r.Result.Body)
	s.put(k)
}

func (rc *replayCache) drop(id RequestID) {
	if rc != nil {
		rc.shard(id).drop(id)
	}
}

func (rc *replayCache) clear() {
	if rc == nil {
		return
	}
	for i := range rc.shards {
		rc.shards[i].clear()
	}
}

// dropped is when prune may first take something of a final record, by the
// store's clock in Unix nanoseconds: the result, or of a tombstone the rest.
func (r *Record) dropped() int64 {
	keep := r.IdentityRetention
	if !r.Pruned && r.ResultRetention != Forever && (keep == Forever || r.ResultRetention < keep) {
		keep = r.ResultRetention
	}
	since := r.Since.UnixNano()
	if keep == Forever || int64(keep) > math.MaxInt64-max(since, 0) {
		return math.MaxInt64
	}
	return since + int64(keep)
}

// recall answers a call from memory. It says nothing about a call that has
// ended, so that what such a caller gets does not depend on luck, nor about an
// input that it cannot compare.
func (c *call) recall(ctx context.Context) (end ending, ok bool) {
	if c.replays == nil || ctx.Err() != nil {
		return ending{}, false
	}
	if c.sensitive {
		c.replays.drop(c.claim.ID) // an earlier caller did not say so
		return ending{}, false
	}
	k, ok := c.replays.get(c.claim.ID)
	if !ok {
		return ending{}, false
	}
	r := k.record()
	switch match, known := r.matches(c.claim); {
	case !known:
		return ending{}, false
	case !match && !mutant.On("cache-ignores-input"):
		return c.mismatch(ctx), true
	}
	ev := c.event(EventReplayed, r)
	ev.Detail = "from memory"
	c.observe(ctx, ev)
	return ending{record: r, replayed: true}, true
}

// remember keeps a store's final answer for later calls. sent and ok are from
// replayCache.sent.
func (c *call) remember(a Answer, sent time.Duration, ok bool) {
	if ok && !c.sensitive && a.Record.ID == c.claim.ID {
		c.replays.keep(a, sent)
	}
}
