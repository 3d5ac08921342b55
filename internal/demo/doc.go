// Package demo shows the guard at work on real processes. An agent process
// asks a payment tool, the effect ledger in another process, for payments; the
// agent is killed (SIGKILL) at every interesting point, its answers are
// dropped, it is started twice, and it retries, once without the guard and
// once with it. What the table shows is counted at the ledger and read from
// the receipts in that very run.
package demo
