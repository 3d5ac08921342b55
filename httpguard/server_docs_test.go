package httpguard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/memstore"
)

// serveRefunds is the beginning of docs/http.md.
func serveRefunds(ctx context.Context, store onceguard.Store, mux *http.ServeMux, createRefund http.Handler) error {
	type principal struct{}
	tenantOf := func(ctx context.Context) (string, error) { return ctx.Value(principal{}).(string), nil }
	requireLogin := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), principal{}, "tenant-7")))
		})
	}
	// doc: http-server
	guard, err := onceguard.New(ctx, store, onceguard.Options{}) // any store
	if err != nil {
		return err
	}
	refunds, err := httpguard.New(guard, httpguard.Options{
		Action: "refund.create", // never changes
		Scope:  func(r *http.Request) (string, error) { return tenantOf(r.Context()) },
	})
	if err != nil {
		return err
	}
	mux.Handle("POST /orders/{id}/refunds", requireLogin(refunds.Wrap(createRefund)))
	mux.Handle("GET /refunds/status", requireLogin(refunds.Status()))
	// end doc
	return nil
}

func TestDocsServer(t *testing.T) {
	mux, made := http.NewServeMux(), 0
	err := serveRefunds(t.Context(), memstore.New(memstore.Options{}), mux, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		made++
		fmt.Fprintf(w, "refund %d", made)
	}))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/orders/7/refunds", nil)
		r.Header.Set("Idempotency-Key", `"order-7"`)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.Body.String() != "refund 1" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if made != 1 {
		t.Errorf("%d refunds", made)
	}
}
