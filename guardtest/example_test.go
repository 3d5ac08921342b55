package guardtest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
)

// payOrFallBack is code under test: it pays by card, and by transfer only when
// the card payment surely did not happen.
func payOrFallBack(ctx context.Context, g *onceguard.Guard, order int, card, transfer func() error) error {
	r := onceguard.Request{Action: "pay", Key: onceguard.KeyOf("order", order)}
	_, err := onceguard.Do(ctx, g, r, func(context.Context, *onceguard.Attempt) (string, error) { return "paid", card() })
	if errors.Is(err, onceguard.ErrRefused) {
		return transfer()
	}
	return err
}

// A unit test brings a request into the state that matters and counts effects.
func Example() {
	test := func(t testing.TB) {
		g := guardtest.New(t)
		guardtest.MakeUncertain(t, g, onceguard.Request{Action: "pay", Key: onceguard.KeyOf("order", 7)})

		var effects guardtest.Ledger
		count := func(name string) func() error {
			return func() error { effects.Add(name); return nil }
		}
		err := payOrFallBack(context.Background(), g, 7, count("card"), count("transfer"))
		fmt.Println("uncertain:", errors.Is(err, onceguard.ErrUncertain), "effects:", effects.Total())
	}
	testing.Benchmark(func(b *testing.B) { // stands for a test's *testing.T
		if b.N == 1 {
			test(b)
		}
	})
	// Output: uncertain: true effects: 0
}
