// Package bootclock measures how long ago something was, suspend included. The
// guard uses it to stop itself: an owner that cannot prove that its lease still
// holds must not start the effect.
//
// On Linux that is CLOCK_BOOTTIME. Elsewhere Go's monotonic clock may stand
// still while the machine sleeps, so the wall clock is asked too: a deadline is
// over when either says so, and also when the wall clock went backwards. A
// clock that cannot be read makes every deadline over.
//
// Not promised: outside Linux, a sleep hidden by a wall clock that was set back
// by just as much is not seen. Nowhere does a frozen and copied machine notice:
// its clock is copied with it.
//
// All judgements err towards "over". Imports the standard library alone.
package bootclock
