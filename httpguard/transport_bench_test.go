package httpguard_test

import (
	"context"
	"crypto/rand"
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
)

// BenchmarkTransport sets a guarded round trip over loopback beside the same one
// alone, with the connection kept and with a fresh one each. Compare the sides
// within one run.
func BenchmarkTransport(b *testing.B) {
	answer := strings.Repeat("x", 200)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	}))
	b.Cleanup(srv.Close)
	run := rand.Text()
	send := func(b *testing.B, rt http.RoundTripper, key string, fresh bool) {
		r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, srv.URL+"/payments", strings.NewReader(answer))
		if err != nil {
			b.Fatal(err)
		}
		r.Close = fresh
		r.Header.Set("Payment-Key", run+key)
		resp, err := rt.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
			b.Fatal(resp.Status, err)
		}
		_ = resp.Body.Close()
	}
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
	for _, fresh := range []bool{false, true} {
		b.Run(fmt.Sprintf("alone/fresh=%v", fresh), func(b *testing.B) {
			base := &http.Transport{}
			defer base.CloseIdleConnections()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				send(b, base, fmt.Sprint("alone", n), fresh)
			}
		})
		for name, open := range stores {
			b.Run(fmt.Sprintf("%s/fresh=%v", name, fresh), func(b *testing.B) {
				g, err := onceguard.New(b.Context(), open(b), onceguard.Options{ReplayCache: -1})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = g.Close(context.Background()) })
				base := &http.Transport{}
				defer base.CloseIdleConnections()
				tr := &httpguard.Transport{Guard: g, Base: base, ReuseConnections: !fresh, Rules: []httpguard.Rule{{
					Action: "payment.create", Pattern: "POST 127.0.0.1/payments", KeyHeader: "Payment-Key",
				}}}
				b.Run("first", func(b *testing.B) {
					b.ReportAllocs()
					for n := 0; b.Loop(); n++ {
						send(b, tr, fmt.Sprint(b.Name(), n, b.N), false)
					}
				})
				b.Run("replay", func(b *testing.B) {
					send(b, tr, "again", false)
					b.ReportAllocs()
					for b.Loop() {
						send(b, tr, "again", false)
					}
				})
			})
		}
	}
}
