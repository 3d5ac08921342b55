package onceguard_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

// RefundInput and Refund are the README's types.
type RefundInput struct {
	OrderID string
	Cents   int
}

type Refund struct{ ID string }

// provider stands for a payment provider that counts.
type countingProvider struct{ calls int }

func (p *countingProvider) Refund(_ context.Context, order string, _ int, _ string) (Refund, error) {
	p.calls++
	return Refund{ID: fmt.Sprintf("rf_%s_%d", order, p.calls)}, nil
}

func readmeStory(ctx context.Context, dir string, provider *countingProvider) error {
	_ = os.Chdir(dir)
	// doc: readme
	store, err := sqlitestore.Open(ctx, "receipts.db", nil)
	if err != nil {
		return err
	}
	guard, err := onceguard.New(ctx, store, onceguard.Options{})
	if err != nil {
		return err
	}
	refund := onceguard.Action[RefundInput, Refund]{
		Name: "refund.create",
		Key:  func(in RefundInput) onceguard.Key { return onceguard.KeyOf("order", in.OrderID) },
		Run: func(ctx context.Context, a *onceguard.Attempt, in RefundInput) (Refund, error) {
			return provider.Refund(ctx, in.OrderID, in.Cents, a.DownstreamKey())
		},
	}
	receipt, err := refund.Do(ctx, guard, RefundInput{OrderID: "A-1", Cents: 1200})
	if err != nil {
		return err // says whether the refund may have happened
	}
	fmt.Println(receipt.Value.ID, receipt.Replayed)
	// end doc
	return store.Close()
}

// The README's story, run twice: the second time nothing is refunded again.
func Example_readme() {
	dir, err := os.MkdirTemp("", "onceguard-example-")
	if err != nil {
		panic(err)
	}
	old, _ := os.Getwd()
	defer func() {
		_ = os.Chdir(old)
		_ = os.RemoveAll(filepath.Clean(dir))
	}()
	provider := &countingProvider{}
	for range 2 {
		if err := readmeStory(context.Background(), dir, provider); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("refunds made:", provider.calls)
	// Output:
	// rf_A-1_1 false
	// rf_A-1_1 true
	// refunds made: 1
}
