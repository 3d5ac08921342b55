// Package storetest is the one suite that every onceguard store passes. A store
// outside this module runs it from its own test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Harness {
//			return storetest.Harness{Store: open(t)}
//		})
//	}
//
// The suite calls open for every case and expects an empty store each time. It
// never waits for a lease by sleeping: a lease that must lapse is a millisecond
// long, one that must not is an hour. With AdvanceClock it also tests jumps of
// the clock; each further field of Harness switches on the cases it serves, and
// a case without its ability is skipped by name.
//
// Random histories print their seed (pgregory.net/rapid): the flags
// -rapid.seed and -rapid.checks repeat or extend them.
package storetest

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/storesuite"
)

// Harness is one freshly opened, empty store and what the suite may do to it.
// Only Store is required. Whoever fills it cleans up through t.Cleanup.
type Harness struct {
	Store onceguard.Store

	// Reopen stands for a restart: it closes Store in the roughest way that
	// loses nothing acknowledged, and opens the same memory again. Nil for a
	// store that is not durable.
	Reopen func(t *testing.T) onceguard.Store

	// Second opens another handle on the same memory, as another process
	// would, while Store stays open. Nil where there is none.
	Second func(t *testing.T) onceguard.Store

	// AdvanceClock moves the store's clock, backward when d is negative. Nil
	// where the clock cannot be moved.
	AdvanceClock func(d time.Duration)

	// Failover gives the store another epoch, so that it freezes. Nil where
	// that cannot be done; the frozen cases then need an Archiver's Load.
	Failover func(t *testing.T)

	// WriteRow writes a row of the caller's in the transaction that Transact
	// handed out, and ReadRow reads what is committed, also after Reopen. Both
	// are required for the cases of a Transactor, skipped without them.
	WriteRow func(ctx context.Context, tx any, name, value string) error
	ReadRow  func(t *testing.T, name string) (value string, found bool)

	// Naive is what people write without a guard, on the same database: insert
	// a key, later update it. Bench runs it beside the store. Nil: not compared.
	Naive func(b *testing.B) (claim, settle func(id onceguard.RequestID) error)
}

// Run tests the store that open returns. The names of its subtests are stable.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	// A case that needs a second store opens it through the T of its own test.
	groups := storesuite.Groups(func(t storesuite.T) storesuite.Harness {
		test := t.(*testing.T)
		return open(test).suite(test)
	})
	for _, g := range groups {
		t.Run(g.Name, func(t *testing.T) {
			for _, c := range g.Cases {
				t.Run(c.Name, func(t *testing.T) { c.Run(t) })
			}
		})
	}
}

func (h Harness) suite(t *testing.T) storesuite.Harness {
	s := storesuite.Harness{
		Store: h.Store, AdvanceClock: h.AdvanceClock, WriteRow: h.WriteRow, Histories: histories, Short: testing.Short(),
	}
	if h.Reopen != nil {
		s.Reopen = func() onceguard.Store { return h.Reopen(t) }
	}
	if h.Second != nil {
		s.Second = func() onceguard.Store { return h.Second(t) }
	}
	if h.Failover != nil {
		s.Failover = func() { h.Failover(t) }
	}
	if h.ReadRow != nil {
		s.ReadRow = func(name string) (string, bool) { return h.ReadRow(t, name) }
	}
	return s
}

// histories draws random histories by rapid, which shrinks one that fails.
func histories(t storesuite.T, play func(storesuite.Chooser)) {
	rapid.Check(t.(*testing.T), func(t *rapid.T) { play(drawn{t}) })
}

type drawn struct{ *rapid.T }

func (d drawn) Int(label string, from, to int) int { return rapid.IntRange(from, to).Draw(d.T, label) }
