package storesuite

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onceguard/onceguard"
)

type archived struct {
	record   onceguard.Record
	evidence []onceguard.Evidence
}

func (e *env) archiver() onceguard.Archiver {
	e.Helper()
	x, ok := e.Store.(onceguard.Archiver)
	if !ok {
		e.Skip("the store is no onceguard.Archiver")
	}
	return x
}

func dump(e *env) []archived {
	e.Helper()
	var all []archived
	e.must(e.archiver().Dump(e.ctx, func(r onceguard.Record, ev []onceguard.Evidence) error {
		all = append(all, archived{r, ev})
		return nil
	}))
	return all
}

func load(e *env, info onceguard.StoreInfo, secrets []onceguard.Secret, all []archived, end error) error {
	return e.archiver().Load(e.ctx, info, secrets, func() (onceguard.Record, []onceguard.Evidence, error) {
		if len(all) == 0 {
			return onceguard.Record{}, nil, end
		}
		x := all[0]
		all = all[1:]
		return x.record, x.evidence, nil
	})
}

// archiveCases need a second empty store, so they open one themselves.
func archiveCases(open func(T) Harness) []testCase {
	other := func(e *env) *env {
		e.Helper()
		e.archiver()
		return newEnv(e.T, open(e.T))
	}
	return []testCase{
		{"dump and load give the same memory in a new, frozen epoch", func(e *env) { archiveRoundTrip(e, other(e)) }},
		{"a store with rows refuses an archive", func(e *env) { archiveRefused(e, other(e)) }},
		{"a broken archive loads nothing", func(e *env) { archiveBroken(e, other(e)) }},
		{"a yield that fails ends the dump", archiveYield},
	}
}

func archiveRoundTrip(e, to *env) {
	claimed := e.granted(under(forgets), withInput([]byte{0, 255}))
	parked := e.lost(under(forgets))
	e.settle(says(parked, 2, onceguard.SettleFailed, "no"), onceguard.Parked, onceguard.T8)
	final := e.granted()
	e.settle(says(final, 1, onceguard.SettleSucceeded, string(bytes.Repeat([]byte{0, 255}, 1000))), onceguard.Settled, onceguard.T7)
	waived := e.parked()
	e.resolve(person(verdict(waived, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	optIn := e.request()
	optIn.RunAfterNeverWill = true
	e.claim(optIn, onceguard.Granted, onceguard.T1)
	e.settle(says(optIn, 1, onceguard.SettleUnknown, "?"), onceguard.Parked, onceguard.T9)
	e.resolve(verdict(optIn, 1, onceguard.ResolveNeverWill), onceguard.Applied, onceguard.T12)
	tomb := e.granted(retained(gone, onceguard.Forever))
	e.settle(succeeds(tomb, 1), onceguard.Settled, onceguard.T7)
	e.lapse()
	e.pruned(1, 0)
	secrets, err := e.Store.Secrets(e.ctx, []onceguard.Secret{{Name: "test", Value: []byte("s")}})
	e.must(err)
	from := e.info()

	e.must(load(to, from, secrets, dump(e), io.EOF))
	info := to.info()
	if info.StoreID != from.StoreID || info.Epoch == from.Epoch || !info.Frozen {
		to.Errorf("store %s, epoch %s, frozen %v; loaded from store %s, epoch %s", info.StoreID, info.Epoch, info.Frozen, from.StoreID, from.Epoch)
	}
	got, err := to.Store.Secrets(to.ctx, nil)
	e.must(err)
	if !cmp.Equal(secrets, got, cmpopts.EquateApproxTime(time.Microsecond)) {
		to.Error("the secrets differ from those in the archive: downstream keys would change")
	}
	for _, c := range []onceguard.Claim{claimed, parked, final, waived, optIn, tomb} {
		to.same(e.found(c.ID), to.found(c.ID))
		want, err := e.Store.Evidence(e.ctx, c.ID)
		e.must(err)
		have, err := to.Store.Evidence(to.ctx, c.ID)
		to.must(err)
		if diff := cmp.Diff(want, have, cmpopts.EquateApproxTime(time.Microsecond), cmpopts.EquateEmpty()); diff != "" {
			to.Errorf("evidence differs (-archived +loaded):\n%s", diff)
		}
	}
	if diff := cmp.Diff(ids(e.list(onceguard.Filter{}).Records), ids(to.list(onceguard.Filter{}).Records)); diff != "" {
		to.Errorf("listing differs (-archived +loaded):\n%s", diff)
	}
	to.claim(again(final), onceguard.Settled, onceguard.NoTransition)
	to.settle(succeeds(claimed, 1), onceguard.Settled, onceguard.T7)
	fresh := to.request()
	to.claim(fresh, onceguard.Frozen, onceguard.NoTransition)
	to.must(to.Store.Acknowledge(to.ctx, onceguard.Acknowledgement{Epoch: info.Epoch, By: "ada", Reason: "restored"}))
	to.claim(fresh, onceguard.Granted, onceguard.T1)
}

func archiveRefused(e, to *env) {
	e.granted()
	kept := to.granted()
	before := to.info()
	to.failed(load(to, e.info(), nil, dump(e), io.EOF))
	if after := to.info(); after.StoreID != before.StoreID || after.Epoch != before.Epoch || after.Frozen {
		to.Errorf("a refused load changed the store from %+v to %+v", before, after)
	}
	to.state(kept.ID, onceguard.Claimed, 1)
	if n := len(to.list(onceguard.Filter{}).Records); n != 1 {
		to.Errorf("%d records after a refused load, want the one it had", n)
	}
}

func archiveBroken(e, to *env) {
	e.granted()
	e.granted()
	before := to.info()
	broken := errors.New("the archive is cut short")
	if err := load(to, e.info(), nil, dump(e), broken); !errors.Is(err, broken) {
		to.Errorf("load answered %v", err)
	}
	if after := to.info(); after.StoreID != before.StoreID || after.Frozen || len(to.list(onceguard.Filter{}).Records) != 0 {
		to.Errorf("a broken archive left traces: %+v", after)
	}
}

func archiveYield(e *env) {
	archive := e.archiver()
	e.granted()
	e.granted()
	full := errors.New("the disk is full")
	calls := 0
	err := archive.Dump(e.ctx, func(onceguard.Record, []onceguard.Evidence) error {
		calls++
		return full
	})
	if !errors.Is(err, full) || calls != 1 {
		e.Errorf("%d calls, then %v", calls, err)
	}
	e.granted() // the store still works
}
