// Package storesuite is the one suite that every onceguard store passes, free
// of package testing: storetest runs it as Go tests, and `onceguard store
// verify` against a user's own database.
//
// The suite opens an empty store for every case. It never waits for a lease by
// sleeping long: a lease that must lapse is a millisecond, one that must not is
// an hour. With AdvanceClock it also tests jumps of the clock; each further
// field of Harness switches on the cases it serves, and a case without its
// ability is skipped by name.
package storesuite

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// T is what a case says about itself; *testing.T has it. Fatal, Fatalf and Skip
// end the goroutine that calls them.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Error(args ...any)
	Fatalf(format string, args ...any)
	Fatal(args ...any)
	Logf(format string, args ...any)
	Skip(args ...any)
	Cleanup(func())
}

// Chooser draws what a random history does next.
type Chooser interface {
	// Int draws a number between from and to, both included.
	Int(label string, from, to int) int
	Fatalf(format string, args ...any)
}

// Harness is one freshly opened, empty store and what the suite may do to it.
// Only Store is required; see storetest.Harness for the other fields.
type Harness struct {
	Store        onceguard.Store
	Reopen       func() onceguard.Store
	Second       func() onceguard.Store
	AdvanceClock func(d time.Duration)
	Failover     func()
	WriteRow     func(ctx context.Context, tx any, name, value string) error
	ReadRow      func(name string) (value string, found bool)

	// Histories calls play with the choices of one random history after the
	// other. Nil: a hundred, from a seed that a failure names.
	Histories func(t T, play func(Chooser))
	// Short leaves out cases of a thousand writes.
	Short bool
}

// Case is one entry of the suite. Run plays it on a store of its own.
type Case struct {
	Name string
	Run  func(t T)
}

// Group is what the cases of one subject are called together.
type Group struct {
	Name  string
	Cases []Case
}

// Groups lists every case in reading order. open is called once per case, or
// twice where a case needs another store.
func Groups(open func(T) Harness) []Group {
	var groups []Group
	for _, g := range suite(open) {
		out := Group{Name: g.name}
		for _, c := range g.cases {
			out.Cases = append(out.Cases, Case{c.name, func(t T) { c.run(newEnv(t, open(t))) }})
		}
		groups = append(groups, out)
	}
	return groups
}

// testCase is one entry of the suite.
type testCase struct {
	name string
	run  func(e *env)
}

type group struct {
	name  string
	cases []testCase
}

func suite(open func(T) Harness) []group {
	return []group{
		{"claim", claimCases},
		{"takeover", takeoverCases},
		{"settle", settleCases},
		{"renew", renewCases},
		{"resolve", resolveCases},
		{"evidence", evidenceCases},
		{"sweep", sweepCases},
		{"list", listCases},
		{"prune", pruneCases},
		{"import", importCases},
		{"secrets", secretCases},
		{"epoch", epochCases},
		{"archive", archiveCases(open)},
		{"transact", transactCases},
		{"durable", durableCases},
		{"race", raceCases},
		{"clock", clockCases},
		{"history", historyCases},
	}
}
