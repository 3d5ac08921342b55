package onceguard_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// The effect's rows and the receipt commit in one transaction of the store's
// own database, or not at all. With pgstore the transaction is a pgx.Tx, with
// sqlitestore a *sql.Tx; memstore has one for tests.
func ExampleDoTx() {
	ctx := context.Background()
	store := memstore.New(memstore.Options{})
	guard, err := onceguard.New(ctx, store, onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	request := onceguard.Request{Action: "inbox.apply", Key: onceguard.KeyOf("event", "evt_1")}
	apply := func(fail error) {
		receipt, err := onceguard.DoTx(ctx, guard, request, func(_ context.Context, tx *memstore.Tx) (string, error) {
			tx.Put("balance", []byte("500"))
			return "applied", fail
		})
		balance, _ := store.Row("balance")
		fmt.Printf("%q, balance %q, replayed %v, surely nothing happened %v\n", receipt.Value, balance, receipt.Replayed, !onceguard.MayHaveRun(err))
	}
	apply(errors.New("constraint violated"))
	apply(nil)
	apply(nil)
	// Output:
	// "", balance "", replayed false, surely nothing happened true
	// "applied", balance "500", replayed false, surely nothing happened false
	// "applied", balance "500", replayed true, surely nothing happened false
}
