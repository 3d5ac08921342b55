//go:build unix

package mcpproxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// site is a proxy, and a server behind it that a test writes.
type site struct {
	t        *testing.T
	gate     *fakeGate
	proxy    *HTTP
	url      string
	upstream *httptest.Server
}

func newSite(t *testing.T, gate *fakeGate, server http.HandlerFunc) *site {
	t.Helper()
	up := httptest.NewServer(server)
	t.Cleanup(up.Close)
	at, err := url.Parse(up.URL + "/mcp")
	if err != nil {
		t.Fatal(err)
	}
	p := NewHTTP(HTTPOptions{
		Gate: gate, Upstream: at, Log: slog.New(slog.DiscardHandler), Origins: []string{"https://app.example.com"}, Hosts: []string{"mcp.internal"},
		Principal: func(r *http.Request) (string, error) {
			if a := r.Header.Get("Authorization"); a != "" {
				return a, nil
			}
			return "", errors.New("no credential")
		},
	})
	p.limit = 1 << 20
	down := httptest.NewServer(p)
	t.Cleanup(down.Close)
	return &site{t, gate, p, down.URL, up}
}

const payCall = `{"jsonrpc":"2.0", "id":1.5,"method":"tools/call","params":{"name":"pay","arguments":{"a":1.0}}}`

// post sends a message; pairs are headers.
func (s *site) post(ctx context.Context, body string, pairs ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/mcp", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer one")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			r.Header.Del(pairs[i])
		}
		if pairs[i] == "Host" {
			r.Host = pairs[i+1]
		}
	}
	return http.DefaultClient.Do(r)
}

func (s *site) answer(body string, pairs ...string) (status int, header http.Header, text string) {
	s.t.Helper()
	resp, err := s.post(s.t.Context(), body, pairs...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func readAll(t *testing.T, r *http.Request) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}
