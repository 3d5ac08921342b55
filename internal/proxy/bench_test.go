package proxy_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/proxy"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/storetest"
)

// BenchmarkProxy sets a guarded write beside the same write through a plain
// reverse proxy, without one, and the floor: the two store calls alone. Compare the sides within one run: all go over
// loopback connections, the callers' kept alive.
func BenchmarkProxy(b *testing.B) {
	body := strings.Repeat("x", 200)
	up := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "text/plain")
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, body)
	}))
	defer up.Close()
	base, err := url.Parse(up.URL)
	if err != nil {
		b.Fatal(err)
	}
	run := rand.Text()
	first := func(b *testing.B, at string) {
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			sendBench(b, at, fmt.Sprintf("%s-%s-%d", run, strings.ReplaceAll(b.Name(), " ", "_"), n), body)
		}
	}
	b.Run("direct", func(b *testing.B) { first(b, up.URL+"/pay/v1/refunds") })
	b.Run("reverse proxy", func(b *testing.B) {
		plain := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(base) }})
		defer plain.Close()
		first(b, plain.URL+"/pay/v1/refunds")
	})
	b.Run("reverse proxy without keep-alive", func(b *testing.B) {
		plain := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(base) }, Transport: &http.Transport{DisableKeepAlives: true},
		})
		defer plain.Close()
		first(b, plain.URL+"/pay/v1/refunds")
	})
	for name, open := range map[string]func(*testing.B) onceguard.Store{
		"memory": func(*testing.B) onceguard.Store { return memstore.New(memstore.Options{}) },
		"sqlite": func(b *testing.B) onceguard.Store {
			s, err := sqlitestore.Open(b.Context(), filepath.Join(b.TempDir(), "receipts.db"), nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = s.Close() })
			return s
		},
	} {
		b.Run("guarded "+name, func(b *testing.B) {
			store := open(b)
			at := benchProxy(b, store, up.URL)
			b.Run("floor", func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					storetest.Floor(b, store, fmt.Sprintf("%s-floor-%s-%d", run, name, n), []byte(body))
				}
			})
			b.Run("first", func(b *testing.B) { first(b, at+"/pay/v1/refunds") })
			b.Run("replay", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					sendBench(b, at+"/pay/v1/refunds", run, body)
				}
			})
			b.Run("read", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					resp, err := http.Get(at + "/pay/v1/refunds")
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
}

func sendBench(b *testing.B, at, key, body string) {
	req, err := http.NewRequestWithContext(b.Context(), "POST", at, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b.Fatalf("answer %d", resp.StatusCode)
	}
}

func benchProxy(b *testing.B, store onceguard.Store, upstream string) string {
	c, err := proxy.Parse([]byte(configText(upstream, "", refunds)))
	if err != nil {
		b.Fatal(err)
	}
	g, err := onceguard.New(b.Context(), store, onceguard.Options{ReplayCache: -1})
	if err != nil {
		b.Fatal(err)
	}
	p, err := proxy.New(g, c, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, ln, 0) }()
	b.Cleanup(func() {
		stop()
		<-served
	})
	return "http://" + ln.Addr().String()
}
