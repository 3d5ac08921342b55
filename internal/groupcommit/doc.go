// Package groupcommit lets calls that arrive at the same time share one write.
//
// A call that finds the store idle enough flushes its own members, at once, on
// its own goroutine and under its own context: a lone caller pays for no timer
// and no other goroutine. Calls that find it busy gather. Whoever ends a flush
// starts one for all that gathered meanwhile, so that a batch is as large as the
// traffic of one commit, and nobody waits for a batch to fill.
//
// What gathers is bounded in members and in bytes. Beyond that, callers wait
// outside in the order of their arrival, until there is room or their context
// ends.
//
// The package knows nothing of stores. It promises that a member is given to
// the flush function at most once, that a batch holds a key at most once, and
// that neither a caller that leaves nor a flush that panics keeps the others
// waiting. It does not promise that a batch is flushed before a later one where
// more than one may run.
package groupcommit
