package onceguard_test

import (
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

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
