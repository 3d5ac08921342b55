// Package bench measures the stores and the guard beside what people write
// without one, and beside peers, and says of each goal whether it is met.
//
//	make bench                              # all of it, about 20 minutes
//	make bench BENCH_ARGS='-quick'          # under two minutes, for development
//	make bench BENCH_ARGS='-only sqlite'    # some scenes
//
// It is a module of its own, so that nobody who uses onceguard inherits the
// peers. A measurement is one test, since the private PostgreSQL servers of
// internal/pgtest need one; without -measure, go test runs the unit tests of the
// arithmetic alone.
//
// Rules that make numbers worth reading: the sides of a comparison take turns
// in one run, so that both meet the same machine; a ratio is the median of the
// ratios of single rounds; a round in which other programs used more than
// [MostNoise] of the machine is repeated while there are repeats left, and
// marked otherwise; the naive side is the strongest one known (pgx, pool of
// 64). Commits, WAL, CPU time, stored bytes and allocations stand beside the
// rates, because noise moves them least.
package bench
