package onceguard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// A lookup asks the outside world what became of an uncertain request. It is
// told what the store knows, since the process that ran it may be gone.
func ExampleReconciler() {
	ctx := context.Background()
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{Observer: nobody{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	bank := map[string]string{} // transfers by the reference that we send along
	transfer := onceguard.Action[string, string]{
		Name: "transfer.create",
		Key:  func(invoice string) onceguard.Key { return onceguard.KeyOf("invoice", invoice) },
		Run: func(_ context.Context, a *onceguard.Attempt, _ string) (string, error) {
			bank[a.DownstreamKey()] = "tr_1"
			return "", errors.New("connection reset by peer")
		},
		Reconcile: func(_ context.Context, q onceguard.Query) (onceguard.Verdict[string], error) {
			if id, found := bank[q.DownstreamKey]; found {
				return onceguard.Verdict[string]{Finding: onceguard.Happened, Value: id, Reason: "found by reference"}, nil
			}
			return onceguard.Verdict[string]{Finding: onceguard.NotSeen}, nil // it may still arrive
		},
	}
	_, err = transfer.Do(ctx, guard, "2026-114")
	fmt.Println("uncertain:", errors.Is(err, onceguard.ErrUncertain))

	reconciler, err := guard.Reconciler(onceguard.ReconcilerOptions{}, transfer)
	if err != nil {
		fmt.Println(err)
		return
	}
	stats, err := reconciler.Once(ctx) // a service calls Run(ctx) in the background
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("settled:", stats.Settled)

	receipt, err := transfer.Do(ctx, guard, "2026-114")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(receipt.Value, "by", receipt.SettledBy, "replayed:", receipt.Replayed)
	// Output:
	// uncertain: true
	// settled: 1
	// tr_1 by reconciler replayed: true
}

// Where no lookup can tell, a person decides, by name and with a reason. Both
// are shown on every replay.
func ExampleGuard_Resolve() {
	ctx := context.Background()
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{Observer: nobody{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	request := onceguard.Request{Action: "fax.send", Key: onceguard.KeyOf("letter", 7)}
	send := func(context.Context, *onceguard.Attempt) (string, error) { return "", errors.New("line lost") }
	_, err = onceguard.Do(ctx, guard, request, send)
	var e *onceguard.Error
	if !errors.As(err, &e) || e.Code != onceguard.ErrUncertain {
		fmt.Println(err)
		return
	}
	_, err = guard.Resolve(ctx, onceguard.Resolution{
		ID: e.RequestID, Attempt: e.Attempt, // what the person looked at
		Verdict: onceguard.ResolveHappened, Result: onceguard.NewResult("json string", []byte(`"received"`)),
		By: "ann", Reason: "called them: it arrived",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := onceguard.Do(ctx, guard, request, send)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s, %s: %s\n", receipt.Value, receipt.SettledBy, receipt.Reason)
	// Output: received, operator:ann: called them: it arrived
}
