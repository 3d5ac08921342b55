package pgstore

import "time"

// Gathering makes every second call of a kind gather, however long the first
// takes, and gives waits for rows in a batch the time wait (0: the default).
func Gathering(o Options, wait time.Duration) *Options {
	o.solo, o.stall, o.batchWait = 1, -1, wait
	return &o
}

// Stalling makes a flush that takes longer than d hold no slot.
func Stalling(o Options, d time.Duration) *Options {
	o.solo, o.stall = 1, d
	return &o
}
