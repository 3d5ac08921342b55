package onceguard_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// dedupProvider acts once per idempotency key, and its first answer is lost.
type dedupProvider struct {
	payments map[string]string
	calls    int
}

func (p *dedupProvider) Pay(key string, cents int) (string, error) {
	p.calls++
	if _, done := p.payments[key]; !done {
		p.payments[key] = fmt.Sprintf("pay_%d", cents)
	}
	if p.calls == 1 {
		return "", errors.New("timeout: the answer was lost")
	}
	return p.payments[key], nil
}

// With a provider that dedups by our key, an unknown outcome may be sent again:
// the key is the same on every attempt. Its horizon, and whether the provider
// remembers refusals, come from the provider's documentation.
func ExampleSafeRetry() {
	ctx := context.Background()
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{Observer: nobody{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	provider := &dedupProvider{payments: map[string]string{}}
	pay := onceguard.Action[int, string]{
		Name:   "payment.create",
		Key:    func(order int) onceguard.Key { return onceguard.KeyOf("order", order) },
		Policy: onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsRemembered),
		Run: func(_ context.Context, a *onceguard.Attempt, _ int) (string, error) {
			return provider.Pay(a.DownstreamKey(), 500)
		},
	}
	_, err = pay.Do(ctx, guard, 7)
	fmt.Println("uncertain:", errors.Is(err, onceguard.ErrUncertain))
	receipt, err := pay.Do(ctx, guard, 7)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(receipt.Value, "at attempt", receipt.Attempt)
	fmt.Println("calls:", provider.calls, "payments:", len(provider.payments))
	// Output:
	// uncertain: true
	// pay_500 at attempt 2
	// calls: 2 payments: 1
}
