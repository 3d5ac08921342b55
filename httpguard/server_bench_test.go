package httpguard_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/storetest"
)

// BenchmarkMiddleware sets the guarded handler beside the same handler alone and
// beside the floor: the claim and the settle that any durable guard needs, sent
// to the store by hand. Compare the sides within one run.
func BenchmarkMiddleware(b *testing.B) {
	stores := map[string]func(*testing.B) onceguard.Store{
		"memory": func(*testing.B) onceguard.Store { return memstore.New(memstore.Options{}) },
		"sqlite": func(b *testing.B) onceguard.Store {
			s, err := sqlitestore.Open(b.Context(), filepath.Join(b.TempDir(), "receipts.db"), nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			return s
		},
	}
	body := strings.Repeat("x", 200)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, body)
	})
	send := func(b *testing.B, h http.Handler, key string) {
		r := httptest.NewRequest(http.MethodPost, "/refunds", strings.NewReader(body))
		r.Header.Set("Idempotency-Key", key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusCreated {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	b.Run("handler alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			send(b, handler, "k")
		}
	})
	for name, open := range stores {
		b.Run(name, func(b *testing.B) {
			store := open(b)
			g, err := onceguard.New(b.Context(), store, onceguard.Options{ReplayCache: -1})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = g.Close(context.Background()) })
			guarded := httpguard.Must(httpguard.New(g, httpguard.Options{Action: "refund.create", Scope: httpguard.SingleTenant})).Wrap(handler)
			run := rand.Text()
			b.Run("floor", func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					storetest.Floor(b, store, fmt.Sprintf("%s-floor-%d", run, n), []byte(body))
				}
			})
			b.Run("first", func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					send(b, guarded, fmt.Sprintf("%s-%s-%d", run, hex.EncodeToString([]byte(b.Name())), n))
				}
			})
			b.Run("replay", func(b *testing.B) {
				send(b, guarded, "again")
				b.ReportAllocs()
				for b.Loop() {
					send(b, guarded, "again")
				}
			})
		})
	}
}
