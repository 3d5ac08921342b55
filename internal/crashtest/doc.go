// Package crashtest is the proof by crashes: worker processes run guarded
// effects against a ledger in another process, and are killed, paused, failed
// or cut off from their store at every step. Then the ledger says what
// happened, the store what is remembered, and the workers' histories what
// callers were told.
//
// What must come out, cell by cell, is written in docs/faults.md, and the tests
// read that very table. The package itself holds what the tests and the worker
// share: the job a worker is given and the history it writes.
//
// The tests need Linux: they look at process states, and mount a small disk.
package crashtest
