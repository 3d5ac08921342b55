// Package simtest is the ring of in-process simulation (R1 in docs/proof.md):
// the guard's own code over the reference store and a simulated downstream, in
// the virtual time of testing/synctest, under schedules that a seed draws.
//
// Several guards stand for several processes. Every call of a store and every
// request to the downstream stops at a yield point, and one scheduler decides
// what goes on next and what becomes of it: reached, refused, lost before or
// after it was applied, applied later, applied twice, visible and then
// forgotten by a crash of the store. Between two decisions everything else of
// the bubble has come to rest, so a seed gives one history.
//
// The scheduler crashes processes (no later store call or effect of theirs
// happens), starts new ones, lets time pass beyond leases and horizons, sets
// the store's clock, and sends sweepers, reconcilers, operators and prunes into
// it. Then it heals everything, and the checks C1 to C9 look at the books of
// the downstream, the store and the callers.
//
//	go test ./internal/simtest                          # bounded, for CI
//	go test ./internal/simtest -sim.duration=1h         # new seeds for an hour
//	go test ./internal/simtest -sim.seed=42 -sim.print  # one schedule again
package simtest
