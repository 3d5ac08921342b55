package onceguard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

type MailInput struct{ Invoice, To string }

type Mail struct{ MessageID string }

// An action is declared once and used everywhere. Its key says which effect is
// meant: the same on every retry.
func ExampleAction() {
	ctx := context.Background()
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	sent := 0
	mail := onceguard.Action[MailInput, Mail]{
		Name: "invoice.mail",
		Key:  func(in MailInput) onceguard.Key { return onceguard.KeyOf("invoice", in.Invoice) },
		Run: func(context.Context, *onceguard.Attempt, MailInput) (Mail, error) {
			sent++
			return Mail{MessageID: fmt.Sprintf("msg-%d", sent)}, nil
		},
	}
	for range 2 { // an impatient user, a retrying client, a redelivering queue
		receipt, err := mail.Do(ctx, guard, MailInput{Invoice: "2026-114", To: "ann@example.com"})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(receipt.Value.MessageID, "replayed:", receipt.Replayed)
	}
	_, err = mail.Do(ctx, guard, MailInput{Invoice: "2026-114", To: "bob@example.com"})
	fmt.Println("another input:", errors.Is(err, onceguard.ErrMismatch))
	fmt.Println("mails sent:", sent)
	// Output:
	// msg-1 replayed: false
	// msg-1 replayed: true
	// another input: true
	// mails sent: 1
}

// Do without an action, for an effect that occurs in one place only.
func ExampleDo() {
	ctx := context.Background()
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	request := onceguard.Request{Action: "dns.delete", Key: onceguard.KeyOf("ticket", "OPS-7"), Input: "old.example.com"}
	receipt, err := onceguard.Do(ctx, guard, request, func(context.Context, *onceguard.Attempt) (string, error) {
		return "deleted", nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(receipt.Value, receipt.State, "by", receipt.SettledBy)
	// Output: deleted succeeded by owner
}

// The effect's error says what is known. What surely did not happen may run
// again; what was refused for good is replayed; anything else is unknown and is
// not run again by itself.
func ExampleDo_errors() {
	ctx := context.Background()
	quiet := onceguard.Options{Observer: nobody{}}
	guard, err := onceguard.New(ctx, memstore.New(memstore.Options{}), quiet)
	if err != nil {
		fmt.Println(err)
		return
	}
	charge := func(order string, ends error) {
		request := onceguard.Request{Action: "card.charge", Key: onceguard.KeyOf("order", order)}
		_, err := onceguard.Do(ctx, guard, request, func(context.Context, *onceguard.Attempt) (string, error) {
			return "charged", ends
		})
		var e *onceguard.Error
		if errors.As(err, &e) {
			fmt.Printf("%s: %s, may have happened: %v\n", order, string(e.Code), e.MayHaveRun)
			return
		}
		fmt.Printf("%s: charged\n", order)
	}
	charge("A", onceguard.NotExecuted(errors.New("connection refused")))
	charge("A", nil)
	charge("B", onceguard.Refused(errors.New("card declined")))
	charge("B", nil)
	charge("C", errors.New("connection reset by peer"))
	charge("C", nil)
	// Output:
	// A: not-executed, may have happened: false
	// A: charged
	// B: refused, may have happened: false
	// B: refused, may have happened: false
	// C: uncertain, may have happened: true
	// C: uncertain, may have happened: true
}

// nobody observes nothing, so that the example prints only what it prints.
type nobody struct{}

func (nobody) Observe(context.Context, onceguard.Event) {}
