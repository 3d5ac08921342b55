package onceguard_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

// uncached is for tests that count what a guard asks of its store.
func uncached(o *onceguard.Options) { o.ReplayCache = -1 }

// asked counts the calls that a replay may make.
func (w *world) asked() int { return w.store.count("claim") + w.store.count("get") }

// wantAsked runs act and expects it to make n store calls.
func (w *world) wantAsked(n int, act func()) {
	w.Helper()
	before := w.asked()
	act()
	if got := w.asked() - before; got != n {
		w.Errorf("%d store calls, want %d", got, n)
	}
}

func TestReplayFromMemoryNeedsNoStore(t *testing.T) {
	virtual(t, func(w *world) {
		first := w.mustDo(request("1"), w.ok())
		_, refusal := w.do(request("2"), w.act(refund{ID: "declined"}, onceguard.Refused(errors.New("no funds"))))
		w.want(refusal, onceguard.ErrRefused)
		if err := w.store.Close(); err != nil {
			t.Fatal(err)
		}
		again := w.mustDo(request("1"), w.never())
		if !again.Replayed {
			t.Error("not a replay")
		}
		again.Replayed = false
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("the replay differs (-first +replay):\n%s", diff)
		}
		rec, err := w.do(request("2"), w.never())
		if e := w.want(err, onceguard.ErrRefused); rec.Value.ID != "declined" || e.Error() != refusal.Error() {
			t.Errorf("%+v, %v; want %v", rec.Value, err, refusal)
		}
		if n := w.events.count(onceguard.EventReplayed); n != 2 {
			t.Errorf("%d replays were observed", n)
		}
	})
}

func TestReplayOfAnotherProcessIsKept(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		other := w.another()
		defer w.close(other)
		for _, calls := range []int{1, 0, 0} {
			w.wantAsked(calls, func() {
				if rec, err := onceguard.Do(w.ctx, other, request("1"), w.never()); err != nil || rec.Value != (refund{"re_1", 500}) || rec.SettledBy != "owner" {
					t.Errorf("%+v, %v", rec, err)
				}
			})
		}
	})
}

func TestScopedGuardsShareTheCacheAndNoReceipts(t *testing.T) {
	virtual(t, func(w *world) {
		a, b := w.guard.Scoped("a"), w.guard.Scoped("b")
		if _, err := onceguard.Do(w.ctx, a, request("1"), w.ok()); err != nil {
			t.Fatal(err)
		}
		w.wantAsked(0, func() {
			if rec, err := onceguard.Do(w.ctx, w.guard.Scoped("a"), request("1"), w.never()); err != nil || !rec.Replayed {
				t.Errorf("%+v, %v", rec, err)
			}
		})
		if rec, err := onceguard.Do(w.ctx, b, request("1"), w.ok()); err != nil || rec.Replayed {
			t.Errorf("another scope's receipt was replayed: %+v, %v", rec, err)
		}
	})
}

func TestMismatchFromMemory(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		other := request("1")
		other.Input = map[string]any{"cents": 501}
		w.wantAsked(0, func() {
			rec, err := w.do(other, w.never())
			w.want(err, onceguard.ErrMismatch)
			if diff := cmp.Diff(onceguard.Receipt[refund]{RequestID: w.id(other)}, rec); diff != "" {
				t.Errorf("a mismatch reveals more than that:\n%s", diff)
			}
		})
		w.wantAsked(0, func() { w.mustDo(request("1"), w.never()) })
	})
}

// A record that names a fingerprint key this guard has not read yet cannot be
// compared: the store decides, and the guard reads the keys.
func TestUnknownFingerprintKeyGoesToTheStore(t *testing.T) {
	virtual(t, func(w *world) {
		if _, err := onceguard.RotateFingerprintKey(w.ctx, w.store, nil); err != nil {
			t.Fatal(err)
		}
		newer := w.another()
		defer w.close(newer)
		if _, err := onceguard.Do(w.ctx, newer, request("1"), w.ok()); err != nil {
			t.Fatal(err)
		}
		w.guard.ShareReplays(newer)
		w.wantAsked(2, func() { w.mustDo(request("1"), w.never()) })
		w.wantAsked(0, func() { w.mustDo(request("1"), w.never()) })
	})
}

func TestOnlyFinalReceiptsAreKept(t *testing.T) {
	virtual(t, func(w *world) {
		released, unknown, running := request("released"), request("unknown"), request("running")
		_, err := w.do(released, w.act(refund{}, onceguard.NotExecuted(errors.New("no route"))))
		w.want(err, onceguard.ErrNotExecuted)
		w.uncertain(unknown)
		end := w.running(w.guard, running, refund{"re_1", 500}, nil)
		other := w.another() // whose flights do not join ours
		defer w.close(other)
		running.Limits.Wait = -1
		for range 2 {
			w.wantAsked(1, func() {
				_, err := onceguard.Do(w.ctx, other, running, w.never())
				w.want(err, onceguard.ErrInProgress)
			})
			w.wantAsked(1, func() {
				_, err := w.do(unknown, w.never())
				w.want(err, onceguard.ErrUncertain)
			})
		}
		w.guard.FillReplays(w.record(unknown), time.Now())
		if n := w.guard.KeptReplays() + other.KeptReplays(); n != 0 {
			t.Errorf("%d receipts are kept and none is final", n)
		}
		w.mustDo(released, w.ok())
		if a := end(); a.err != nil {
			t.Error(a.err)
		}
		record := w.wantState(unknown, onceguard.Uncertain, 1)
		if _, err := w.guard.Resolve(w.ctx, onceguard.Resolution{
			ID: record.ID, Attempt: 1, Verdict: onceguard.ResolveRefused, By: "ann", Reason: "the provider has no such refund",
		}); err != nil {
			t.Fatal(err)
		}
		for _, calls := range []int{1, 0} {
			w.wantAsked(calls, func() {
				_, err := w.do(unknown, w.never())
				if e := w.want(err, onceguard.ErrRefused); e.SettledBy != "operator:ann" {
					t.Errorf("settled by %q", e.SettledBy)
				}
			})
		}
	})
}

func TestSensitiveIsNeverKept(t *testing.T) {
	virtual(t, func(w *world) {
		secret := request("1")
		secret.Sensitive = true
		w.mustDo(secret, w.ok())
		for range 2 {
			w.wantAsked(1, func() { w.mustDo(secret, w.never()) })
		}
		if w.guard.KeptReplays() != 0 {
			t.Error("a sensitive result is kept")
		}
		action := onceguard.Action[int, refund]{
			Name: "refund.create", Key: func(n int) onceguard.Key { return onceguard.KeyOf("order", n) }, Sensitive: true,
			Run: func(ctx context.Context, a *onceguard.Attempt, _ int) (refund, error) { return w.ok()(ctx, a) },
		}
		for _, calls := range []int{1, 1} {
			w.wantAsked(calls, func() {
				if _, err := action.Do(w.ctx, w.guard, 2); err != nil {
					t.Error(err)
				}
			})
		}
		if w.guard.KeptReplays() != 0 {
			t.Error("a sensitive action's result is kept")
		}
		// A caller that does not say so keeps it, until one does.
		w.mustDo(request("1"), w.never())
		if w.guard.KeptReplays() != 1 {
			t.Error("nothing is kept")
		}
		w.wantAsked(1, func() { w.mustDo(secret, w.never()) })
		if w.guard.KeptReplays() != 0 {
			t.Error("a sensitive result stayed")
		}
	})
}

func TestSealedResultsAreKeptSealed(t *testing.T) {
	kek := bytes.Repeat([]byte{7}, 32)
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		bodies := w.guard.KeptBodies()
		if len(bodies) != 1 || len(bodies[0]) == 0 || bytes.Contains(bodies[0], []byte("re_1")) {
			t.Fatalf("kept: %q", bodies)
		}
		w.wantAsked(0, func() { w.mustDo(request("1"), w.never()) })
	}, func(o *onceguard.Options) { o.KeyEncryptionKey = kek })
}

// What a caller gets must not depend on what happens to be in memory.
func TestEndedCallerIsNotAnsweredFromMemory(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := onceguard.Do(ctx, w.guard, request("1"), w.never())
		w.want(err, onceguard.ErrNotRun)
	})
}

func TestFrozenStoreReplaysFromMemory(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		w.store.SetEpoch("another")
		w.wantAsked(0, func() { w.mustDo(request("1"), w.never()) })
		_, err := w.do(request("2"), w.never())
		w.want(err, onceguard.ErrFrozen)
	})
}

func TestImportedRecordsAreNotKept(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		if _, err := w.store.Import(w.ctx, []onceguard.Record{{
			ID: w.id(r), Scope: "default", Action: r.Action, Key: r.Key.Encoded(), State: onceguard.Succeeded, SettledBy: "import:ann",
			Result: onceguard.NewResult("json", []byte(`{"id":"re_0"}`)), ResultRetention: onceguard.Forever, IdentityRetention: onceguard.Forever,
		}}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			w.wantAsked(1, func() { w.mustDo(r, w.never()) })
		}
	})
}

func TestTransactionalReceiptsAreKept(t *testing.T) {
	virtual(t, func(w *world) {
		for i := range 3 {
			rec, err := onceguard.DoTx(w.ctx, w.guard, request("1"), w.book(nil))
			if err != nil || rec.Replayed != (i > 0) || rec.Value.ID != "re_1" {
				t.Errorf("%+v, %v", rec, err)
			}
			if i == 0 {
				if err := w.store.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.wantRuns(1)
	})
}

// The caller's own bytes are the result here, and it goes on using them.
func TestKeptBodiesBelongToTheCache(t *testing.T) {
	virtual(t, func(w *world) {
		r := request("1")
		r.Codec = onceguard.Raw
		mine := []byte("paid")
		do := func() []byte {
			rec, err := onceguard.Do(w.ctx, w.guard, r, func(context.Context, *onceguard.Attempt) ([]byte, error) { return mine, nil })
			if err != nil {
				t.Fatal(err)
			}
			return rec.Value
		}
		got := do()
		clear(mine)
		clear(got)
		clear(do())
		if again := do(); string(again) != "paid" {
			t.Errorf("the kept body was written to: %q", again)
		}
		answer := w.record(r) // a store may give part of a larger buffer
		w.guard.FillReplays(answer, time.Now())
		clear(answer.Result.Body)
		if kept := w.guard.KeptBodies(); len(kept) != 1 || string(kept[0]) != "paid" {
			t.Errorf("kept: %q", kept)
		}
		r.Codec = onceguard.JSON // which cannot read it, and says what it read
		_, err := onceguard.Do(w.ctx, w.guard, r, func(context.Context, *onceguard.Attempt) (int, error) { return 0, nil })
		clear(w.want(err, onceguard.ErrUndecodable).Value.([]byte))
		r.Codec = onceguard.Raw
		w.wantAsked(0, func() {
			if again := do(); string(again) != "paid" {
				t.Errorf("an error gave the kept body away: %q", again)
			}
		})
	})
}

// scribbler breaks the contract of Codec.
type scribbler struct{ onceguard.Codec }

func (s scribbler) Decode(data []byte, v any) error {
	err := s.Codec.Decode(data, v)
	clear(data)
	return err
}

func TestAScribbledReceiptIsAskedForAgain(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("1"), w.ok())
		bad := request("1")
		bad.Codec = scribbler{onceguard.JSON}
		w.mustDo(bad, w.never())
		_, err := w.do(request("1"), w.never())
		w.want(err, onceguard.ErrCorrupt)
		w.wantAsked(1, func() { w.mustDo(request("1"), w.never()) })
	})
}
