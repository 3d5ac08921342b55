package webhookguard_test

import (
	"context"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/webhookguard"
)

// receiveInvoices is the beginning of docs/webhooks.md.
func receiveInvoices(ctx context.Context, store onceguard.Store, mux *http.ServeMux, enqueue func(ctx context.Context, id, kind string, body []byte) error) error {
	// doc: webhook-receiver
	guard, err := onceguard.New(ctx, store, onceguard.Options{}) // any store
	if err != nil {
		return err
	}
	hook, err := webhookguard.New(guard, webhookguard.Options{
		Endpoint: "billing", // never changes
		Source:   webhookguard.Stripe(os.Getenv("STRIPE_SIGNING_SECRET")),
		Handle: func(ctx context.Context, e webhookguard.Event) error {
			return enqueue(ctx, e.ID, e.Type, e.Body) // nil: handled, or durably stored
		},
	})
	if err != nil {
		return err
	}
	mux.Handle("POST /hooks/stripe", hook)
	// end doc
	return nil
}

// inbox is the receiver that writes into the user's own tables.
func inbox(guard *onceguard.Guard, options webhookguard.Options) (http.Handler, error) {
	invoiceOf := func(webhookguard.Event) string { return "in_1" }
	versionOf := func(webhookguard.Event) int64 { return 1 }
	// doc: webhook-inbox
	hook, err := webhookguard.NewTx(guard, options, func(ctx context.Context, tx *sql.Tx, e webhookguard.Event) error {
		newer, err := webhookguard.Advance(ctx, tx, invoiceOf(e), versionOf(e)) // optional: events come in no order
		if err != nil || !newer {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO inbox (event, body) VALUES (?, ?)`, e.ID, e.Body)
		return err
	})
	// end doc
	return hook, err
}

func TestDocs(t *testing.T) {
	const secret = "whsec_from_the_dashboard"
	t.Setenv("STRIPE_SIGNING_SECRET", secret)
	store, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "receipts.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	mux, handled := http.NewServeMux(), 0
	err = receiveInvoices(t.Context(), store, mux, func(context.Context, string, string, []byte) error { handled++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{webhookguard.VersionTable, `CREATE TABLE inbox (event TEXT, body BLOB)`} {
		if _, err := store.DB().ExecContext(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	guard, err := onceguard.New(t.Context(), store, onceguard.Options{})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := inbox(guard, webhookguard.Options{Endpoint: "inbox", Source: webhookguard.Stripe(secret)})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("POST /hooks/inbox", rows)
	for _, path := range []string{"/hooks/stripe", "/hooks/inbox"} {
		for range 2 {
			body := `{"id":"evt_1","type":"invoice.paid"}`
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
			r.Header = sign("stripe", secret, "", body, time.Now())
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
	var stored int
	if err := store.DB().QueryRowContext(t.Context(), `SELECT count(*) FROM inbox`).Scan(&stored); err != nil || stored != 1 || handled != 1 {
		t.Errorf("%d rows, %d handled, %v; want 1 of each", stored, handled, err)
	}
}
