package onceguard_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// tool stands for a provider in the guide's stories: it dedups by key, keeps
// what it did, and fails on request.
type tool struct {
	done map[string]string // by idempotency key
	lose bool              // act, then lose the answer
	deny error
}

var errNoFunds = errors.New("the card was declined")

func (p *tool) Pay(_ context.Context, key string, cents int) (string, error) {
	if p.deny != nil {
		return "", p.deny
	}
	if p.done == nil {
		p.done = map[string]string{}
	}
	if _, ok := p.done[key]; !ok {
		p.done[key] = fmt.Sprintf("pay_%d", cents)
	}
	if p.lose {
		p.lose = false
		return "", errors.New("connection reset")
	}
	return p.done[key], nil
}

// PayInput is what the guide pays for.
type PayInput struct {
	Order string
	Cents int
}

func orderKey(in PayInput) onceguard.Key { return onceguard.KeyOf("order", in.Order) }

func memoryGuard(ctx context.Context) *onceguard.Guard {
	g, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{Observer: silent{}})
	if err != nil {
		panic(err)
	}
	return g
}

type silent struct{}

func (silent) Observe(context.Context, onceguard.Event) {}

// What an effect may say of itself, and what its callers get.
func Example_outcomes() {
	ctx := context.Background()
	guard, provider := memoryGuard(ctx), &tool{deny: errNoFunds}
	// doc: outcomes
	pay := onceguard.Action[PayInput, string]{
		Name: "payment.create",
		Key:  orderKey,
		Run: func(ctx context.Context, a *onceguard.Attempt, in PayInput) (string, error) {
			if in.Cents <= 0 {
				return "", onceguard.NotExecuted(errors.New("nothing to pay")) // nothing left the process
			}
			id, err := provider.Pay(ctx, a.DownstreamKey(), in.Cents)
			if errors.Is(err, errNoFunds) {
				return "", onceguard.Refused(err) // the provider said no, for good
			}
			return id, err // any other error is unknown: it may have happened
		},
	}
	_, err := pay.Do(ctx, guard, PayInput{Order: "A-1", Cents: 1200})
	switch {
	case errors.Is(err, onceguard.ErrRefused):
		fmt.Println("declined; a new try of the business needs a new key")
	case errors.Is(err, onceguard.ErrUncertain):
		fmt.Println("may have happened; retry with the same key, never a new one")
	case errors.Is(err, onceguard.ErrInProgress), errors.Is(err, onceguard.ErrNotRun):
		fmt.Println("later, with the same key")
	case err != nil:
		fmt.Println(err, onceguard.MayHaveRun(err))
	}
	// end doc
	// Output:
	// declined; a new try of the business needs a new key
}

// The provider dedups by our key, so a lost answer may be asked for again.
func Example_safeRetry() {
	ctx := context.Background()
	guard, provider := memoryGuard(ctx), &tool{lose: true}
	// doc: safe-retry
	pay := onceguard.Action[PayInput, string]{
		Name: "payment.create",
		Key:  orderKey,
		// From the provider's documentation: keys live 24 hours, and a refused
		// key may succeed when it is sent again.
		Policy: onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsForgotten),
		Run: func(ctx context.Context, a *onceguard.Attempt, in PayInput) (string, error) {
			return provider.Pay(ctx, a.DownstreamKey(), in.Cents) // the same key on every attempt
		},
	}
	_, err := pay.Do(ctx, guard, PayInput{Order: "A-1", Cents: 1200}) // the answer is lost
	receipt, err2 := pay.Do(ctx, guard, PayInput{Order: "A-1", Cents: 1200})
	fmt.Println(errors.Is(err, onceguard.ErrUncertain), receipt.Value, receipt.Attempt, err2)
	// end doc
	fmt.Println("payments:", len(provider.done))
	// Output:
	// true pay_1200 2 <nil>
	// payments: 1
}

// At-most-once with a lookup: an uncertain request is settled by asking.
func Example_reconcile() {
	ctx := context.Background()
	guard, provider := memoryGuard(ctx), &tool{lose: true}
	// doc: reconcile
	pay := onceguard.Action[PayInput, string]{
		Name: "payment.create",
		Key:  orderKey,
		Run: func(ctx context.Context, a *onceguard.Attempt, in PayInput) (string, error) {
			return provider.Pay(ctx, a.DownstreamKey(), in.Cents)
		},
		Reconcile: func(ctx context.Context, q onceguard.Query) (onceguard.Verdict[string], error) {
			if id, ok := provider.done[q.DownstreamKey]; ok {
				return onceguard.Verdict[string]{Finding: onceguard.Happened, Value: id}, nil
			}
			return onceguard.Verdict[string]{Finding: onceguard.NotSeen}, nil // may still arrive: settles nothing
		},
	}
	_, err := pay.Do(ctx, guard, PayInput{Order: "A-1", Cents: 1200})
	fmt.Println("uncertain:", errors.Is(err, onceguard.ErrUncertain))

	reconciler, err := guard.Reconciler(onceguard.ReconcilerOptions{}, pay)
	if err != nil {
		panic(err)
	}
	stats, _ := reconciler.Once(ctx) // in a service: go reconciler.Run(ctx)
	receipt, err := pay.Do(ctx, guard, PayInput{Order: "A-1", Cents: 1200})
	fmt.Println("settled:", stats.Settled, receipt.Value, receipt.SettledBy, err)
	// end doc
	// Output:
	// uncertain: true
	// settled: 1 pay_1200 reconciler <nil>
}

// The effect is rows in the store's own database: one commit for all.
func Example_transaction() {
	ctx := context.Background()
	guard := memoryGuard(ctx)
	type Tx = *memstore.Tx
	// doc: transaction
	credit := onceguard.Request{
		Action: "account.credit",
		Key:    onceguard.KeyOf("invoice", "2026-117"),
		Input:  1200,
	}
	// Tx is pgx.Tx for pgstore and *sql.Tx for sqlitestore.
	receipt, err := onceguard.DoTx(ctx, guard, credit, func(ctx context.Context, tx Tx) (int, error) {
		tx.Put("balance", []byte("1200"))
		return 1200, nil
	})
	fmt.Println(receipt.Value, receipt.Replayed, err)
	// end doc
	// Output:
	// 1200 false <nil>
}
