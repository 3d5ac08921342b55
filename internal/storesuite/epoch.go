package storesuite

import (
	"errors"
	"io"
	"sync"

	"github.com/onceguard/onceguard"
)

var epochCases = []testCase{
	{"a new store says what it is and is not frozen", epochInfo},
	{"a frozen store starts nothing that must not start twice", frozenRefuses},
	{"a frozen store answers what it knows", frozenAnswers},
	{"acknowledging is a compare-and-set", acknowledge},
}

func (e *env) info() onceguard.StoreInfo {
	e.Helper()
	info, err := e.Store.Info(e.ctx)
	e.must(err)
	return info
}

func epochInfo(e *env) {
	info := e.info()
	if info.Kind == "" || info.Name == "" || info.StoreID == "" || info.Durability == "" {
		e.Errorf("the store leaves out what it is: %+v", info)
	}
	if info.Frozen || info.FrozenWhy != "" {
		e.Errorf("a new store is frozen: %s", info.FrozenWhy)
	}
	if again := e.info(); again.StoreID != info.StoreID || again.Epoch != info.Epoch {
		e.Error("identity or epoch changes by looking")
	}
}

// freeze brings the store into another epoch: by failover, or, if it holds
// nothing yet, by loading an empty archive.
func (e *env) freeze() {
	e.Helper()
	before := e.info()
	switch archive, ok := e.Store.(onceguard.Archiver); {
	case e.Failover != nil:
		e.Failover()
	case ok && len(e.list(onceguard.Filter{Limit: 1}).Records) == 0:
		e.must(archive.Load(e.ctx, before, nil, func() (onceguard.Record, []onceguard.Evidence, error) {
			return onceguard.Record{}, nil, io.EOF
		}))
	default:
		e.Skip("the harness cannot change the store's epoch")
	}
	after := e.info()
	if !after.Frozen || after.FrozenWhy == "" || after.Epoch == before.Epoch {
		e.Fatalf("epoch %q became %q; frozen %v, because %q", before.Epoch, after.Epoch, after.Frozen, after.FrozenWhy)
	}
}

func frozenRefuses(e *env) {
	e.freeze()
	c := e.request()
	a := e.claim(c, onceguard.Frozen, onceguard.NoTransition)
	if a.Record.State != onceguard.Absent {
		e.Errorf("the refusal shows a record that is %s", a.Record.State)
	}
	e.missing(c.ID)
	// Where a second run does no harm, work goes on.
	for _, p := range repeating {
		c := e.granted(under(p), leased(brief))
		e.lapse()
		second := again(c)
		e.claim(second, onceguard.Granted, onceguard.T4)
		e.claim(second, onceguard.Granted, onceguard.T2)
		e.release(second, 2)
		e.claim(again(c), onceguard.Granted, onceguard.T3)
	}
	strict := e.granted(under(rerun))
	own := strict
	own.Policy = atMostOnce // what the caller declares counts as much as the row
	e.claim(own, onceguard.Frozen, onceguard.NoTransition)
	e.release(strict, 1)
	e.claim(again(strict, under(atMostOnce)), onceguard.Frozen, onceguard.NoTransition)
	e.state(strict.ID, onceguard.Released, 1)
}

func frozenAnswers(e *env) {
	if e.Failover == nil {
		e.Skip("the harness has no Failover")
	}
	claimed, released, parked, final := e.granted(), e.granted(), e.parked(), e.granted()
	e.release(released, 1)
	lapsed := e.granted(leased(brief))
	swept := e.granted(leased(brief))
	e.settle(succeeds(final, 1), onceguard.Settled, onceguard.T7)
	e.lapse()
	e.freeze()

	// Nothing starts: the claim's answer may have been lost in the old epoch.
	before := e.found(claimed.ID)
	e.claim(claimed, onceguard.Frozen, onceguard.NoTransition)
	e.claim(again(released), onceguard.Frozen, onceguard.NoTransition)
	e.same(before, e.found(claimed.ID))
	e.state(released.ID, onceguard.Released, 1)

	// What is known is answered, and what runs can end.
	e.claim(again(final), onceguard.Settled, onceguard.NoTransition)
	e.claim(again(claimed), onceguard.Held, onceguard.NoTransition)
	e.claim(again(parked), onceguard.Parked, onceguard.NoTransition)
	other := again(final)
	other.Fingerprints = []onceguard.Fingerprint{print("other")}
	e.claim(other, onceguard.Mismatched, onceguard.NoTransition)
	e.claim(again(lapsed), onceguard.Parked, onceguard.T5)
	if list := e.sweep(10); len(list) != 1 || list[0].ID != swept.ID {
		e.Errorf("a frozen store swept %d records, want one", len(list))
	}
	e.renew(renewal(claimed, 1, 2*long), onceguard.Applied, onceguard.T6)
	e.settle(succeeds(claimed, 1), onceguard.Settled, onceguard.T7)
	e.resolve(verdict(parked, 1, onceguard.ResolveHappened), onceguard.Applied, onceguard.T12)
}

func acknowledge(e *env) {
	e.freeze()
	shown := e.info()
	c := e.request()
	wrong := onceguard.Acknowledgement{Epoch: "another epoch", By: "ada", Reason: "looked at it"}
	e.failed(e.Store.Acknowledge(e.ctx, wrong))
	if !e.info().Frozen {
		e.Fatal("acknowledging another epoch unfroze the store")
	}
	e.claim(c, onceguard.Frozen, onceguard.NoTransition)

	right := wrong
	right.Epoch = shown.Epoch
	var all sync.WaitGroup
	for _, s := range e.both() {
		all.Go(func() {
			var se *onceguard.StoreError
			if err := s.Acknowledge(e.ctx, right); err != nil && !errors.As(err, &se) {
				e.Errorf("acknowledge: %v", err)
			}
		})
	}
	all.Wait()
	if info := e.info(); info.Frozen || info.FrozenWhy != "" || info.Epoch != shown.Epoch {
		e.Errorf("after acknowledging: frozen %v because %q, epoch %q", info.Frozen, info.FrozenWhy, info.Epoch)
	}
	e.claim(c, onceguard.Granted, onceguard.T1)
	if e.Failover != nil { // what was acknowledged was one epoch, not all to come
		e.Failover()
		e.claim(e.request(), onceguard.Frozen, onceguard.NoTransition)
		e.failed(e.Store.Acknowledge(e.ctx, right))
	}
}
