package onceguard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
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

func TestExpiryOfKeptReceipts(t *testing.T) {
	const result, identity = time.Hour, 10 * time.Hour
	limited := func(order string) onceguard.Request {
		r := request(order)
		r.Limits.ResultRetention, r.Limits.IdentityRetention = result, identity
		return r
	}
	pass := func(w *world, d time.Duration) { time.Sleep(d) }
	suspend := func(w *world, d time.Duration) {
		w.clock.offset.Add(int64(d - time.Second))
		time.Sleep(time.Second) // of running time: then the clock is read again
	}
	for name, move := range map[string]func(*world, time.Duration){"time passes": pass, "suspended": suspend} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(w *world) {
				w.mustDo(limited("1"), w.ok())
				move(w, result-time.Minute)
				w.wantAsked(0, func() { w.mustDo(limited("1"), w.never()) })
				move(w, time.Minute)
				w.wantAsked(1, func() { w.mustDo(limited("1"), w.never()) }) // the store has not pruned it
			})
		})
	}
	t.Run("forever", func(t *testing.T) {
		virtual(t, func(w *world) {
			r := request("1")
			r.Limits.ResultRetention, r.Limits.IdentityRetention = onceguard.Forever, onceguard.Forever
			w.mustDo(r, w.ok())
			time.Sleep(100 * 365 * 24 * time.Hour)
			w.wantAsked(0, func() { w.mustDo(r, w.never()) })
		})
	})
	t.Run("age counts from the settle, not from the reading", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(limited("1"), w.ok())
			time.Sleep(result - time.Minute)
			late := w.another()
			defer w.close(late)
			for _, calls := range []int{1, 0} {
				w.wantAsked(calls, func() { _, _ = onceguard.Do(w.ctx, late, limited("1"), w.never()) })
			}
			time.Sleep(time.Minute)
			w.wantAsked(1, func() { _, _ = onceguard.Do(w.ctx, late, limited("1"), w.never()) })
		})
	})
	t.Run("a later answer shows that the store's clock jumped", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(limited("1"), w.ok())
			w.jumped.Store(int64(result))
			w.mustDo(limited("2"), w.ok())
			w.wantAsked(1, func() { w.mustDo(limited("1"), w.never()) })
			w.wantAsked(0, func() { w.mustDo(limited("2"), w.never()) })
		})
	})
	t.Run("over when it comes", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(limited("1"), w.ok())
			time.Sleep(result)
			late := w.another()
			defer w.close(late)
			if _, err := onceguard.Do(w.ctx, late, limited("1"), w.never()); err != nil || late.KeptReplays() != 0 {
				t.Errorf("%d kept, %v", late.KeptReplays(), err)
			}
		})
	})
	t.Run("the clock fails", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(limited("1"), w.ok())
			time.Sleep(time.Minute)
			w.clock.fails.Store(true)
			_, err := w.do(limited("1"), w.never())
			w.want(err, onceguard.ErrNotRun) // it was not answered from memory
		})
	})
	t.Run("the tombstone lives as long as the identity", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(limited("1"), w.ok())
			time.Sleep(2 * result)
			if _, err := w.guard.Sweeper(onceguard.SweeperOptions{}).Prune(w.ctx, false); err != nil {
				t.Fatal(err)
			}
			for _, calls := range []int{1, 0} {
				w.wantAsked(calls, func() {
					_, err := w.do(limited("1"), w.never())
					w.want(err, onceguard.ErrNoResult)
				})
			}
			time.Sleep(identity - 2*result)
			w.wantAsked(1, func() { _, _ = w.do(limited("1"), w.never()) })
		})
	})
	t.Run("a prune by this guard is heeded at once", func(t *testing.T) {
		virtual(t, func(w *world) {
			w.mustDo(limited("1"), w.ok())
			w.jumped.Store(int64(2 * result))
			sweeper := w.guard.Sweeper(onceguard.SweeperOptions{})
			if _, err := sweeper.Prune(w.ctx, true); err != nil {
				t.Fatal(err)
			}
			w.wantAsked(0, func() { w.mustDo(limited("1"), w.never()) }) // a dry run dropped nothing
			if _, err := sweeper.Prune(w.ctx, false); err != nil {
				t.Fatal(err)
			}
			_, err := w.do(limited("1"), w.never())
			w.want(err, onceguard.ErrNoResult)
		})
	})
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

func TestCacheIsBounded(t *testing.T) {
	const size = 4 << 20
	w := newWorld(t, func(o *onceguard.Options) { o.ReplayCache = size })
	defer w.close(w.guard)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	fill := w.guard.FillReplays
	before := heap()
	most := 0
	for i := range 40_000 {
		body := make([]byte, rng.IntN(1200))
		if i%500 == 0 {
			body = make([]byte, rng.IntN(300_000))
		}
		var id onceguard.RequestID
		for j := range id {
			id[j] = byte(rng.Uint32())
		}
		fill(onceguard.Record{
			ID: id, Fingerprint: onceguard.Fingerprint{Version: 1}, State: onceguard.Succeeded, Since: now, SettledBy: "owner",
			Reason: strings.Repeat("r", rng.IntN(40)), ResultRetention: time.Hour, IdentityRetention: time.Hour, Result: onceguard.NewResult("json refund", body),
		}, now)
		most = max(most, w.guard.KeptBytes())
	}
	if most > size || most < size/2 {
		t.Errorf("%d bytes were kept at most, the bound is %d", most, size)
	}
	// The count must be one of real memory: at most a tenth more may be used.
	if grown := heap() - before; grown > size+size/10 {
		t.Errorf("the heap grew by %d bytes with a bound of %d", grown, size)
	}
	runtime.KeepAlive(w)
}

// What is asked for again stays while many others, never asked for, pass.
func TestReplayedReceiptsOutliveTheOthers(t *testing.T) {
	virtual(t, func(w *world) {
		w.mustDo(request("hot"), w.ok())
		for i := range 2000 {
			w.mustDo(request(fmt.Sprint(i)), w.ok())
			if i%10 == 0 {
				w.wantAsked(0, func() { w.mustDo(request("hot"), w.never()) })
			}
		}
		if n := w.guard.KeptReplays(); n < 50 || n > 500 {
			t.Errorf("%d receipts are kept in 128 KiB", n)
		}
		w.wantAsked(1, func() { w.mustDo(request("0"), w.never()) })
	}, func(o *onceguard.Options) { o.ReplayCache = 128 << 10 })
}

func TestCacheUnderConcurrency(t *testing.T) {
	w := newWorld(t, func(o *onceguard.Options) { o.ReplayCache = 16 << 10 }) // room for a few of the keys
	defer w.close(w.guard)
	sweeper := w.guard.Sweeper(onceguard.SweeperOptions{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for range 500 {
				n := rng.IntN(64)
				r := request(fmt.Sprint(n))
				r.Sensitive = n%16 == 0
				switch want := (refund{fmt.Sprint(n), n}); rng.IntN(20) {
				case 0:
					if _, err := sweeper.Prune(w.ctx, false); err != nil {
						t.Error(err)
					}
				case 1:
					r.Input = "another"
					if _, err := w.do(r, w.act(want, nil)); err != nil && !errors.Is(err, onceguard.ErrMismatch) {
						t.Error(err)
					}
				default:
					rec, err := w.do(r, w.act(want, nil))
					if err != nil && !errors.Is(err, onceguard.ErrMismatch) || err == nil && rec.Value != want {
						t.Errorf("%+v, %v; want %+v", rec, err, want)
					}
				}
			}
		})
	}
	wg.Wait()
	w.wantRuns(64)
	if n := w.guard.KeptBytes(); n > 16<<10 {
		t.Errorf("%d bytes are kept", n)
	}
}
