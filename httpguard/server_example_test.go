package httpguard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/memstore"
)

// A client that hears no answer sends its request again. The handler ran once.
func ExampleMiddleware() {
	guard, err := onceguard.New(context.Background(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	refunds := httpguard.Must(httpguard.New(guard, httpguard.Options{
		Action: "refund.create",
		Scope:  func(r *http.Request) (string, error) { return "tenant-of-" + r.Header.Get("User"), nil }, // from your authentication
	}))
	made := 0
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{id}/refunds", refunds.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made++
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "refund %d of order %s", made, r.PathValue("id"))
	})))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/orders/7/refunds", strings.NewReader(`{"amount":5}`))
		r.Header.Set("User", "ann")
		r.Header.Set("Idempotency-Key", `"order-7-refund"`)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Printf("%d %s, replayed %q\n", w.Code, w.Body, w.Header().Get("Idempotent-Replayed"))
	}
	// Output:
	// 201 refund 1 of order 7, replayed ""
	// 201 refund 1 of order 7, replayed "true"
}

// Validation comes before the work: the key of a rejected request stays free.
func ExampleRelease() {
	guard, err := onceguard.New(context.Background(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := httpguard.Must(httpguard.New(guard, httpguard.Options{Action: "refund.create", Scope: httpguard.SingleTenant}))
	h := m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			httpguard.Release(r.Context(), "no amount")
			http.Error(w, "how much?", http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, "done")
	}))
	for _, body := range []string{"", "5 EUR"} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set("Idempotency-Key", "order-7-refund")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	}
	// Output:
	// 400 how much?
	// 200 done
}
