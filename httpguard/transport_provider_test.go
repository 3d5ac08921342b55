package httpguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
)

// payments is a misbehaving provider behind a guarding transport: the effect
// ledger, which shares no code with the guard and counts what really happened.
type payments struct {
	t         *testing.T
	guard     *onceguard.Guard
	ledger    *ledger.Client
	url       string
	transport *httpguard.Transport
	client    *http.Client
}

// newPayments starts a provider and a client whose rule the test may change
// before its first request.
func newPayments(t *testing.T, change func(*httpguard.Transport)) *payments {
	t.Helper()
	p := &payments{t: t, guard: guardtest.New(t)}
	ready := make(chan string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- ledger.Run(ctx, ledger.Config{File: filepath.Join(t.TempDir(), "ledger.jsonl"), Ready: func(a string) { ready <- a }})
	}()
	addr := <-ready
	p.ledger, p.url = ledger.NewClient(addr), "http://"+addr
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	p.transport = &httpguard.Transport{Guard: p.guard, Base: base, Rules: []httpguard.Rule{{
		Action: "payment.create", Pattern: "POST 127.0.0.1/effects", KeyHeader: "Payment-Key",
	}}}
	if change != nil {
		change(p.transport)
	}
	p.client = &http.Client{Transport: p.transport}
	t.Cleanup(func() { drained(t, p.transport) })
	return p
}

func drained(t *testing.T, tr *httpguard.Transport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := tr.Drain(ctx); err != nil {
		t.Error(err)
	}
}

// restart is the client of another process on the same store.
func (p *payments) restart() *payments {
	p.t.Helper()
	q := *p
	q.guard = guardtest.Restart(p.t, p.guard)
	q.transport = &httpguard.Transport{Guard: q.guard, Base: p.transport.Base, Rules: p.transport.Rules}
	q.client = &http.Client{Transport: q.transport}
	p.t.Cleanup(func() { drained(p.t, q.transport) })
	return &q
}

// modes sets how the provider treats the payments of an order.
func (p *payments) modes(order string, modes ...ledger.Mode) {
	p.t.Helper()
	if err := p.ledger.Modes(p.t.Context(), order, modes...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *payments) request(ctx context.Context, order, body string) *http.Request {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/effects", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Ledger-Op", order)
	r.Header.Set("Payment-Key", order)
	r.Header.Set("Content-Type", "application/json")
	return r
}

// said is what a caller learns.
type said struct {
	status   int
	replayed bool
	body     string
	err      error
}

func (p *payments) pay(order string) said {
	return p.send(p.request(p.t.Context(), order, `{"amount":100}`))
}

func (p *payments) send(r *http.Request) said {
	p.t.Helper()
	resp, err := p.client.Do(r)
	if err != nil {
		return said{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return said{resp.StatusCode, resp.Header.Get(httpguard.HeaderFromReceipt) == "true", string(body), err}
}

// code checks the guard's verdict.
func (p *payments) code(s said, want onceguard.Code) *onceguard.Error {
	p.t.Helper()
	var ge *onceguard.Error
	if !errors.As(s.err, &ge) || ge.Code != want {
		p.t.Fatalf("got %+v, want the error %s", s, want)
	}
	return ge
}

func (p *payments) status(s said, want int, replayed bool) {
	p.t.Helper()
	if s.err != nil || s.status != want || s.replayed != replayed {
		p.t.Fatalf("got %+v, want status %d, replayed %v", s, want, replayed)
	}
}

// effects checks what happened at the provider.
func (p *payments) effects(order string, want int) {
	p.t.Helper()
	n, err := p.ledger.Count(p.t.Context(), order)
	if err != nil {
		p.t.Fatal(err)
	}
	if n != want {
		p.t.Errorf("order %s: %d effects at the provider, want %d", order, n, want)
	}
}

// keys lists the downstream keys that arrived for an order, in order.
func (p *payments) keys(order string) (keys []string) {
	p.t.Helper()
	records, err := p.ledger.History(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	for _, r := range records {
		if r.Op == order {
			keys = append(keys, r.Key)
		}
	}
	return keys
}

func (p *payments) effectID(body string) string {
	p.t.Helper()
	var e struct{ Effect string }
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Effect == "" {
		p.t.Fatalf("no effect in %q: %v", body, err)
	}
	return e.Effect
}
