package httpguard_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
)

func TestTransportReplays(t *testing.T) {
	p := newPayments(t, nil)
	first := p.pay("o1")
	p.status(first, http.StatusCreated, false)
	p.effectID(first.body)
	again := p.pay("o1")
	p.status(again, http.StatusCreated, true)
	later := p.restart().pay("o1")
	p.status(later, http.StatusCreated, true)
	if again.body != first.body || later.body != first.body {
		t.Errorf("bodies differ: %q, %q, %q", first.body, again.body, later.body)
	}
	p.effects("o1", 1)
	keys := p.keys("o1")
	if len(keys) != 1 || len(keys[0]) != 36 || strings.Contains(keys[0], "o1") {
		t.Errorf("downstream keys %q: want one, of 36 characters, not the caller's", keys)
	}
}

// TestTransportMisbehaviour: whatever the provider does, a retry with the same
// key never makes a second effect, in this process or in another.
func TestTransportMisbehaviour(t *testing.T) {
	tests := map[string]struct {
		mode    ledger.Mode
		effects int
	}{
		"drops the answer after the effect": {ledger.Mode{SwallowAnswer: true}, 1},
		"drops the request":                 {ledger.Mode{SwallowRequest: true}, 0},
		"fails before the effect":           {ledger.Mode{Error: ledger.Before}, 0},
		"fails after the effect":            {ledger.Mode{Error: ledger.After}, 1},
		"says that one is in progress":      {ledger.Mode{InProgress: true}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPayments(t, nil)
			p.modes("o1", test.mode, ledger.Mode{})
			e := p.code(p.pay("o1"), onceguard.ErrUncertain)
			if !e.MayHaveRun {
				t.Error("the error says that nothing can have run")
			}
			p.code(p.pay("o1"), onceguard.ErrUncertain)
			p.code(p.restart().pay("o1"), onceguard.ErrUncertain)
			p.effects("o1", test.effects)
			if n := len(p.keys("o1")); n != 1 {
				t.Errorf("the provider decided %d requests, want 1", n)
			}
		})
	}
	t.Run("answers twice", func(t *testing.T) {
		p := newPayments(t, nil)
		p.modes("o1", ledger.Mode{AnswerTwice: true})
		p.status(p.pay("o1"), http.StatusCreated, false)
		p.status(p.pay("o1"), http.StatusCreated, true)
		p.status(p.pay("o2"), http.StatusCreated, false) // not the stray answer of o1
		p.effects("o1", 1)
		p.effects("o2", 1)
	})
	t.Run("refuses, then would accept", func(t *testing.T) {
		p := newPayments(t, nil)
		p.modes("o1", ledger.Mode{Refuse: "card declined"}, ledger.Mode{})
		first := p.pay("o1")
		p.status(first, http.StatusPaymentRequired, false)
		again := p.pay("o1")
		p.status(again, http.StatusPaymentRequired, true)
		if first.body != again.body {
			t.Errorf("the refusal changed: %q, %q", first.body, again.body)
		}
		p.effects("o1", 0)
	})
}

func TestTransportUnknownShowsTheResponse(t *testing.T) {
	p := newPayments(t, nil)
	p.modes("o1", ledger.Mode{Error: ledger.After})
	var re *httpguard.ResponseError
	if s := p.pay("o1"); !errors.As(s.err, &re) || re.Status != http.StatusInternalServerError || len(re.Body) == 0 {
		t.Errorf("no response in %v", s.err)
	}
}

func TestTransportSafeRetry(t *testing.T) {
	safe := func(tr *httpguard.Transport) {
		policy, err := httpguard.Stripe.SafeRetry()
		if err != nil {
			t.Fatal(err)
		}
		tr.Rules[0].Policy, tr.Rules[0].Preset = policy, httpguard.Stripe
	}
	t.Run("the same key again, one effect", func(t *testing.T) {
		p := newPayments(t, safe)
		p.modes("o1", ledger.Mode{Dedup: true, SwallowAnswer: true}, ledger.Mode{InProgress: true}, ledger.Mode{Dedup: true})
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		p.status(p.restart().pay("o1"), http.StatusCreated, false)
		p.effects("o1", 1)
		if keys := p.keys("o1"); len(keys) != 3 || keys[0] != keys[1] || keys[1] != keys[2] || len(keys[0]) != 52 {
			t.Errorf("keys %q: want three times the same", keys)
		}
	})
	t.Run("a refusal after an unknown attempt is uncertain", func(t *testing.T) {
		p := newPayments(t, safe)
		p.modes("o1", ledger.Mode{SwallowAnswer: true}, ledger.Mode{Refuse: "no"})
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		if n := len(p.keys("o1")); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
	t.Run("not past the horizon, when the provider forgets", func(t *testing.T) {
		p := newPayments(t, safe)
		p.modes("o1", ledger.Mode{Dedup: true, Forget: time.Nanosecond, SwallowAnswer: true}, ledger.Mode{Dedup: true, Forget: time.Nanosecond})
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		guardtest.StoreOf(t, p.guard).Advance(25 * time.Hour)
		p.code(p.pay("o1"), onceguard.ErrUncertain)
		p.effects("o1", 1)
	})
}

func TestTransportMismatch(t *testing.T) {
	p := newPayments(t, nil)
	p.status(p.pay("o1"), http.StatusCreated, false)
	changes := map[string]func(r *http.Request){
		"body":         func(r *http.Request) { *r = *p.request(r.Context(), "o1", `{"amount":101}`) },
		"query":        func(r *http.Request) { r.URL.RawQuery = "live=1" },
		"content type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			r := p.request(t.Context(), "o1", `{"amount":100}`)
			change(r)
			p.code(p.send(r), onceguard.ErrMismatch)
		})
	}
	p.effects("o1", 1)
}

func TestTransportUnguardedWrites(t *testing.T) {
	post := func(p *payments, path, key string) said {
		r := p.request(p.t.Context(), "o1", "{}")
		r.URL.Path = path
		r.Header.Del("Payment-Key")
		if key != "" {
			r = r.WithContext(httpguard.WithKey(r.Context(), "payment.create", onceguard.KeyOf("order", key)))
		}
		return p.send(r)
	}
	t.Run("a rule without a key", func(t *testing.T) {
		p := newPayments(t, nil)
		e := p.code(post(p, "/effects", ""), onceguard.ErrInvalid)
		if e.MayHaveRun || !strings.Contains(e.Error(), "WithKey") {
			t.Errorf("%v", e)
		}
		p.effects("o1", 0)
	})
	t.Run("no rule", func(t *testing.T) {
		p := newPayments(t, func(tr *httpguard.Transport) { tr.Rules[0].Pattern = "POST 127.0.0.1/other" })
		p.code(post(p, "/effects", ""), onceguard.ErrInvalid)
		p.effects("o1", 0)
	})
	t.Run("an unclean path is no way around a rule", func(t *testing.T) {
		p := newPayments(t, func(tr *httpguard.Transport) { tr.AllowUnguarded = true })
		p.code(post(p, "/x/..//effects", ""), onceguard.ErrInvalid)
	})
	t.Run("the context's key, with and without a rule", func(t *testing.T) {
		for _, pattern := range []string{"POST 127.0.0.1/effects", "POST 127.0.0.1/other"} {
			p := newPayments(t, func(tr *httpguard.Transport) { tr.Rules[0].Pattern = pattern })
			p.status(post(p, "/effects", "7"), http.StatusCreated, false)
			p.status(post(p, "/effects", "7"), http.StatusCreated, true)
			p.effects("o1", 1)
		}
	})
	t.Run("allowed on purpose", func(t *testing.T) {
		p := newPayments(t, func(tr *httpguard.Transport) { tr.Rules[0].AllowMissing = true })
		p.status(post(p, "/effects", ""), http.StatusCreated, false)
		p = newPayments(t, func(tr *httpguard.Transport) {
			tr.Rules[0].Pattern, tr.AllowUnguarded = "POST 127.0.0.1/other", true
		})
		p.status(post(p, "/effects", ""), http.StatusCreated, false)
		p.status(post(p, "/effects", ""), http.StatusCreated, false)
		p.effects("o1", 2)
	})
	t.Run("reads pass", func(t *testing.T) {
		p := newPayments(t, nil)
		resp, err := p.client.Get(p.url + "/summary")
		if status, _, _ := drain(t, resp, err); status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	})
}

func TestTransportConcurrent(t *testing.T) {
	p := newPayments(t, nil)
	p.modes("o1", ledger.Mode{Hold: true})
	other := p.restart()
	var wg sync.WaitGroup
	got := make(chan said, 8)
	for i := range 8 {
		from := p
		if i%2 == 1 {
			from = other
		}
		wg.Go(func() { got <- from.send(from.request(context.Background(), "o1", `{"amount":100}`)) })
	}
	if err := p.ledger.WaitArrived(t.Context(), "o1", 1); err != nil {
		t.Fatal(err)
	}
	if err := p.ledger.Release(t.Context(), "o1"); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	close(got)
	live := 0
	for s := range got {
		if s.err != nil || s.status != http.StatusCreated {
			t.Errorf("%+v", s)
		}
		if !s.replayed {
			live++
		}
	}
	if live != 1 {
		t.Errorf("%d callers got a live response, want 1", live)
	}
	p.effects("o1", 1)
}

// TestTransportCallerLeaves: the caller's end is not the effect's.
func TestTransportCallerLeaves(t *testing.T) {
	p := newPayments(t, nil)
	p.modes("o1", ledger.Mode{Hold: true})
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan said, 1)
	go func() { got <- p.send(p.request(ctx, "o1", `{"amount":100}`)) }()
	if err := p.ledger.WaitArrived(t.Context(), "o1", 1); err != nil {
		t.Fatal(err)
	}
	cancel()
	s := <-got
	e := p.code(s, onceguard.ErrInProgress)
	if !e.MayHaveRun || !errors.Is(s.err, context.Canceled) || e.RequestID.IsZero() {
		t.Errorf("%+v", e)
	}
	p.effects("o1", 0)
	if err := p.ledger.Release(t.Context(), "o1"); err != nil {
		t.Fatal(err)
	}
	drained(t, p.transport)
	p.status(p.pay("o1"), http.StatusCreated, true)
	p.effects("o1", 1)
}

// TestTransportEndedContext: a context that is over starts nothing.
func TestTransportEndedContext(t *testing.T) {
	p := newPayments(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := p.request(ctx, "o1", `{"amount":100}`)
	if resp, err := p.transport.RoundTrip(r); err == nil {
		t.Errorf("status %d", resp.StatusCode)
	}
	drained(t, p.transport)
	p.effects("o1", 0)
	p.status(p.pay("o1"), http.StatusCreated, false)
}

func TestTransportStoreDown(t *testing.T) {
	t.Run("before: nothing is sent", func(t *testing.T) {
		p := newPayments(t, nil)
		p.guard = guardtest.New(t, onceguard.Options{StoreTimeout: 50 * time.Millisecond})
		p.transport.Guard = p.guard
		guardtest.StoreOf(t, p.guard).Down()
		p.code(p.pay("o1"), onceguard.ErrNotRun)
		p.effects("o1", 0)
	})
	t.Run("after: the response, marked", func(t *testing.T) {
		p := newPayments(t, nil)
		p.modes("o1", ledger.Mode{HoldAnswer: true})
		got := make(chan *http.Response, 1)
		go func() {
			resp, err := p.client.Do(p.request(context.Background(), "o1", `{"amount":100}`))
			if err != nil {
				t.Error(err)
			}
			got <- resp
		}()
		if err := p.ledger.WaitDecided(t.Context(), "o1", 1); err != nil {
			t.Fatal(err)
		}
		store := guardtest.StoreOf(t, p.guard)
		store.Down()
		if err := p.ledger.Release(t.Context(), "o1"); err != nil {
			t.Fatal(err)
		}
		resp := <-got
		status, h, _ := drain(t, resp, nil)
		if status != http.StatusCreated || h.Get(httpguard.HeaderReceipt) != "pending" {
			t.Errorf("status %d, header %q", status, h.Get(httpguard.HeaderReceipt))
		}
		store.Up()
		p.effects("o1", 1)
	})
}
