package onceguard_test

import (
	"context"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// charge is an input and a result of common size: the stored result has about
// 200 bytes.
type charge struct {
	Order    string `json:"order"`
	Cents    int64  `json:"cents"`
	Currency string `json:"currency"`
	Note     string `json:"note"`
}

var aCharge = charge{"A-1001", 129_900, "EUR", strings.Repeat("n", 140)}

var chargeAction = onceguard.Action[charge, charge]{
	Name: "charge.create",
	Key:  func(in charge) onceguard.Key { return onceguard.KeyOf("order", in.Order) },
	Run:  func(_ context.Context, _ *onceguard.Attempt, in charge) (charge, error) { return in, nil },
}

// charged is a guard that has aCharge's receipt in memory, and its request.
func charged(tb testing.TB) (*onceguard.Guard, onceguard.Request, onceguard.RequestID) {
	tb.Helper()
	ctx := context.Background()
	g, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := g.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	rec, err := chargeAction.Do(ctx, g, aCharge)
	if err != nil {
		tb.Fatal(err)
	}
	r, err := chargeAction.Request(aCharge)
	if err != nil {
		tb.Fatal(err)
	}
	return g, r, rec.RequestID
}

// TestReplayAllocations is a gate: memory is what noise cannot blur.
func TestReplayAllocations(t *testing.T) {
	g, r, id := charged(t)
	ctx := context.Background()
	replay := g.Prepared(ctx, r)
	for _, tc := range []struct {
		name string
		most float64
		act  func() bool
	}{
		{"look-up", 0, func() bool { return g.LookUp(id) }},
		{"below the typed layer", 1, replay},
		{"whole Do", 18, func() bool {
			rec, err := chargeAction.Do(ctx, g, aCharge)
			return err == nil && rec.Replayed
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if !tc.act() {
				t.Fatal("no replay")
			}
			if raced {
				t.Skip("the race detector allocates")
			}
			if got := testing.AllocsPerRun(1000, func() { tc.act() }); got > tc.most {
				t.Errorf("%v allocations, at most %v are allowed", got, tc.most)
			}
		})
	}
}

func BenchmarkReplayFromMemory(b *testing.B) {
	g, r, id := charged(b)
	ctx := context.Background()
	replay := g.Prepared(ctx, r)
	b.Run("look-up", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g.LookUp(id)
		}
	})
	b.Run("guard", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			replay()
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := chargeAction.Do(ctx, g, aCharge); err != nil {
				b.Fatal(err)
			}
		}
	})
}
