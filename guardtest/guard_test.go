package guardtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
)

var (
	ctx = context.Background()
	pay = onceguard.Request{Action: "pay", Key: onceguard.KeyOf("order", 1), Input: 500}
)

// effect counts itself in l and succeeds.
func effect(l *guardtest.Ledger) func(context.Context, *onceguard.Attempt) (string, error) {
	return func(_ context.Context, a *onceguard.Attempt) (string, error) {
		l.Add(a.RequestID().String())
		return "paid", nil
	}
}

func expect(t *testing.T, g *onceguard.Guard, r onceguard.Request, l *guardtest.Ledger, code onceguard.Code) {
	t.Helper()
	_, err := onceguard.Do(ctx, g, r, effect(l))
	if code == "" && err != nil || code != "" && !errors.Is(err, code) {
		t.Errorf("got %v, want %q", err, code)
	}
}

func TestArranging(t *testing.T) {
	for name, adapt := range map[string]func(*onceguard.Guard) *onceguard.Guard{
		"default scope": func(g *onceguard.Guard) *onceguard.Guard { return g },
		"a tenant":      func(g *onceguard.Guard) *onceguard.Guard { return g.Scoped("tenant-7") },
	} {
		t.Run(name, func(t *testing.T) {
			var l guardtest.Ledger
			g := adapt(guardtest.New(t, onceguard.Options{KeyEncryptionKey: make([]byte, 32), Limits: onceguard.Limits{Wait: -1}}))
			at := func(n int) onceguard.Request {
				r := pay
				r.Key = onceguard.KeyOf("order", n)
				return r
			}
			guardtest.Succeed(t, g, at(1), "paid before")
			got, err := onceguard.Do(ctx, g, at(1), effect(&l))
			if err != nil || !got.Replayed || got.Value != "paid before" {
				t.Errorf("%+v, %v", got, err)
			}
			guardtest.Refuse(t, g, at(2), "declined")
			expect(t, g, at(2), &l, onceguard.ErrRefused)
			for n, p := range []onceguard.Policy{onceguard.AtMostOnce, onceguard.Rerun, onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)} {
				r := at(10 + n)
				r.Policy = p
				if rec := guardtest.MakeUncertain(t, g, r); rec.State != onceguard.Uncertain {
					t.Errorf("%s: %s", p.Kind, rec.State)
				}
				expect(t, g, r, &l, onceguard.ErrUncertain)
			}
			end := guardtest.Hold(t, g, at(3))
			expect(t, g, at(3), &l, onceguard.ErrInProgress)
			other := at(3)
			other.Input = 900
			expect(t, g, other, &l, onceguard.ErrMismatch)
			end(onceguard.NotExecuted(errors.New("dial")))
			end(nil) // once is enough
			if l.Total() != 0 {
				t.Fatalf("%d effects so far", l.Total())
			}
			expect(t, g, at(3), &l, "")
			if l.Total() != 1 {
				t.Errorf("%d effects", l.Total())
			}

			guardtest.Hold(t, g, at(4))
			guardtest.StoreOf(t, g).ExpireLeases()
			expect(t, g, at(4), &l, onceguard.ErrUncertain)
			rerun := at(5)
			rerun.Policy = onceguard.Rerun
			guardtest.Hold(t, g, rerun) // ended by the test's end
			guardtest.StoreOf(t, g).ExpireLeases()
			expect(t, g, rerun, &l, "")
		})
	}
}

func TestSwitches(t *testing.T) {
	for _, written := range []bool{false, true} {
		for _, c := range []guardtest.Call{guardtest.Claim, guardtest.Settle} {
			var l guardtest.Ledger
			g := guardtest.New(t)
			s := guardtest.StoreOf(t, g)
			s.LoseNext(c, written)
			expect(t, g, pay, &l, "")
			if s.Calls(c) != 2 || l.Total() != 1 {
				t.Errorf("%s lost, written %v: %d calls, %d effects", c, written, s.Calls(c), l.Total())
			}
		}
	}
	var l guardtest.Ledger
	g := guardtest.New(t)
	s := guardtest.StoreOf(t, g)
	s.Down()
	expect(t, g, pay, &l, onceguard.ErrNotRun)
	if _, err := onceguard.DoTx(ctx, g, pay, func(context.Context, any) (int, error) { return 0, nil }); err == nil {
		t.Error("a transaction while the store is down")
	}
	s.Up()
	_, err := onceguard.Do(ctx, g, pay, func(ctx context.Context, a *onceguard.Attempt) (string, error) {
		s.Down()
		return effect(&l)(ctx, a)
	})
	if !errors.Is(err, onceguard.ErrUnsettled) {
		t.Errorf("%v", err)
	}
	s.Up()
	expect(t, guardtest.Restart(t, g), pay, &l, "")
	if l.Total() != 1 {
		t.Errorf("%d effects", l.Total())
	}
	id, err := onceguard.NewRequestID(g.Scope(), pay.Action, pay.Key)
	if err != nil || guardtest.Record(t, g, id).State != onceguard.Succeeded || l.Count(id.String()) != 1 {
		t.Errorf("%v", guardtest.Record(t, g, id).State)
	}
	if guardtest.Record(t, g, onceguard.RequestID{9}).State != onceguard.Absent {
		t.Error("a record out of nothing")
	}
}
