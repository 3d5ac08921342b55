package groupcommit

import (
	"context"
	"time"
)

// Options says what a Group gathers and how it is written. Flush must be set;
// the rest has defaults.
type Options[K comparable, M any] struct {
	// Key names what a member is about. A batch holds each key once; a second
	// member with it waits for the next batch. Nil where that does not matter.
	Key func(M) K
	// Size is the weight of a member in bytes; nil means that members have none.
	Size func(M) int
	// Flush writes one batch and leaves each member's answer in the member. It
	// must not keep the slice. The context is that of the caller where the
	// batch is one call's own, else one that does not end: Flush bounds its own
	// time.
	Flush func(ctx context.Context, batch []M)

	// Solo is up to how many members, running and waiting, every call is
	// flushed by itself instead of gathering. Default 1: only a lone caller is.
	// When there were more, the next calls gather although they are few, so that
	// the gaps between two large batches are not filled with single flushes.
	Solo int
	// Slots is how many batches may be flushed at a time while calls gather.
	// Default 1.
	Slots int
	// Stall is after what time a flush no longer holds its slot: one that hangs
	// must not keep everybody else waiting. At most 8 are passed so. Default
	// 500 ms; negative for never.
	Stall time.Duration
	// MaxBatch and MaxBytes bound one batch. A single member may be larger than
	// MaxBytes and then goes alone. Defaults 1,024 and 8 MiB.
	MaxBatch, MaxBytes int
	// MaxWaiting and MaxWaitingBytes bound what has gathered. Defaults 8,192
	// and 64 MiB.
	MaxWaiting, MaxWaitingBytes int
}

func (o *Options[K, M]) complete() {
	if o.Size == nil {
		o.Size = func(M) int { return 0 }
	}
	if o.Stall == 0 {
		o.Stall = 500 * time.Millisecond
	}
	for _, n := range []struct {
		field *int
		value int
	}{
		{&o.Solo, 1},
		{&o.Slots, 1},
		{&o.MaxBatch, 1024},
		{&o.MaxBytes, 8 << 20},
		{&o.MaxWaiting, 8192},
		{&o.MaxWaitingBytes, 64 << 20},
	} {
		if *n.field <= 0 {
			*n.field = n.value
		}
	}
}

// Stats is what a Group did and holds at one moment.
type Stats struct {
	Batches uint64 // flushes begun
	Members uint64 // members in them
	Largest int    // members of the largest batch
	Running int    // flushes under way
	Stalled uint64 // flushes that were passed because they took longer than Options.Stall
	Flying  int    // members in them
	Waiting int    // members that gathered for the next flush
	Bytes   int    // their weight
	Outside int    // calls that wait for room
	Left    uint64 // calls whose context ended before their answer
	Refused uint64 // of those, calls that never found room
}
