package httpguard_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

func TestTransportResponseHeaders(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/payments/1")
		w.Header().Set("Set-Cookie", "session=canary")
		w.Header().Set("Request-Id", "req_1")
		w.Header().Set("X-Trace", "of this exchange")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "paid")
	}))
	defer srv.Close()
	tr := newTransport(t, func(tr *httpguard.Transport) { tr.StoreHeaders = []string{"Request-Id"} })
	resp, err := postTo(t, tr, srv.URL, "k", "{}")
	_, first, body := drain(t, resp, err)
	if first.Get("Set-Cookie") == "" || first.Get("X-Trace") == "" || body != "paid" {
		t.Errorf("the first caller lost something: %v %q", first, body)
	}
	resp, err = postTo(t, tr, srv.URL, "k", "{}")
	status, again, body := drain(t, resp, err)
	if status != http.StatusCreated || body != "paid" || again.Get("Location") != "/payments/1" || again.Get("Request-Id") != "req_1" {
		t.Errorf("replay: %d %v %q", status, again, body)
	}
	if again.Get("Set-Cookie") != "" || again.Get("X-Trace") != "" {
		t.Errorf("replay has headers that are never stored: %v", again)
	}
	page, err := tr.Guard.Store().List(t.Context(), onceguard.Filter{Limit: 10})
	if err != nil || len(page.Records) != 1 {
		t.Fatal(page, err)
	}
	stored, err := tr.Guard.Store().Get(t.Context(), []onceguard.RequestID{page.Records[0].ID})
	if err != nil {
		t.Fatal(err)
	}
	if bytes := string(stored[0].Record.Result.Body); !strings.Contains(bytes, "req_1") || strings.Contains(bytes, "canary") {
		t.Errorf("stored: %q", bytes)
	}
	if resp.Request == nil || resp.ContentLength != 4 {
		t.Errorf("replay: request %v, length %d", resp.Request, resp.ContentLength)
	}
}

// TestTransportOversize: a body over the limit reaches the first caller whole,
// and retries are told that the outcome is known.
func TestTransportOversize(t *testing.T) {
	var effects atomic.Int64
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		effects.Add(1)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(big)
	}))
	defer srv.Close()
	tr := newTransport(t, func(tr *httpguard.Transport) { tr.MaxResponse = 1000 })
	resp, err := postTo(t, tr, srv.URL, "k", "{}")
	if _, _, body := drain(t, resp, err); body != string(big) {
		t.Errorf("%d bytes of %d", len(body), len(big))
	}
	var ge *onceguard.Error
	if _, err = postTo(t, tr, srv.URL, "k", "{}"); !errors.As(err, &ge) || ge.Code != onceguard.ErrNoResult || ge.State != onceguard.Succeeded {
		t.Errorf("got %v", err)
	}
	if n := effects.Load(); n != 1 {
		t.Errorf("%d effects", n)
	}
}

// TestTransportCutBody: the provider's 2xx is its word, also where its body
// breaks off. The outcome is known, the body is not.
func TestTransportCutBody(t *testing.T) {
	s := newWireServer(t, func(_ int64, c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf")
		_ = c.Close()
	})
	tr := newTransport(t, nil)
	resp, err := postTo(t, tr, "http://"+s.addr, "k", "{}")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if string(body) != "half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("body %q, error %v", body, err)
	}
	var ge *onceguard.Error
	if _, err = postTo(t, tr, "http://"+s.addr, "k", "{}"); !errors.As(err, &ge) || ge.Code != onceguard.ErrNoResult || ge.State != onceguard.Succeeded || !strings.Contains(err.Error(), "incomplete") {
		t.Errorf("got %v", err)
	}
	if n := s.arrived.Load(); n != 1 {
		t.Errorf("%d requests arrived", n)
	}
}

// TestTransportRedirects: a redirect does not say whether the provider acted, and
// nothing goes to where it points.
func TestTransportRedirects(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			var first, second atomic.Int64
			mux := http.NewServeMux()
			mux.HandleFunc("/old", func(w http.ResponseWriter, r *http.Request) { first.Add(1); http.Redirect(w, r, "/new", code) })
			mux.HandleFunc("/new", func(http.ResponseWriter, *http.Request) { second.Add(1) })
			srv := httptest.NewServer(mux)
			defer srv.Close()
			tr := newTransport(t, nil)
			for range 2 {
				if _, err := postTo(t, tr, srv.URL+"/old", "k", "{}"); !errors.Is(err, onceguard.ErrUncertain) {
					t.Errorf("got %v", err)
				}
			}
			if first.Load() != 1 || second.Load() != 0 {
				t.Errorf("%d requests to the old place, %d to the new one", first.Load(), second.Load())
			}
		})
	}
	t.Run("whatever the rule says of it", func(t *testing.T) {
		srv := httptest.NewServer(http.RedirectHandler("/new", http.StatusSeeOther))
		defer srv.Close()
		tr := newTransport(t, func(tr *httpguard.Transport) {
			tr.Rules[0].Classify = func(*http.Response) onceguard.StatusClass { return onceguard.StatusSucceeded }
		})
		if _, err := postTo(t, tr, srv.URL+"/old", "k", "{}"); !errors.Is(err, onceguard.ErrUncertain) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an unguarded hop before it", func(t *testing.T) {
		var effects atomic.Int64
		mux := http.NewServeMux()
		mux.HandleFunc("/guarded", func(http.ResponseWriter, *http.Request) { effects.Add(1) })
		srv := httptest.NewServer(mux)
		defer srv.Close()
		front := httptest.NewServer(http.RedirectHandler(srv.URL+"/guarded", http.StatusTemporaryRedirect))
		defer front.Close()
		tr := newTransport(t, func(tr *httpguard.Transport) {
			tr.Rules[0].Pattern, tr.AllowUnguarded = "POST 127.0.0.1/guarded", true
		})
		for range 2 {
			resp, err := postTo(t, tr, front.URL, "k", "{}")
			drain(t, resp, err)
		}
		if n := effects.Load(); n != 1 {
			t.Errorf("%d effects", n)
		}
	})
	t.Run("a base that sends the same request through the guard again", func(t *testing.T) {
		tr := newTransport(t, nil)
		tr.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
			return (&httpguard.Transport{Guard: tr.Guard, Rules: tr.Rules, Base: roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("it was sent")
				return nil, errors.New("sent")
			})}).RoundTrip(r)
		})
		if _, err := postTo(t, tr, "http://127.0.0.1/", "k", "{}"); !errors.Is(err, onceguard.ErrUncertain) || !strings.Contains(err.Error(), "wait for itself") {
			t.Errorf("got %v", err) // and not a wait without end
		}
	})
}

// TestTransportBeforeWork: a wrong API key does not burn the payment.
func TestTransportBeforeWork(t *testing.T) {
	var effects atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Authorization") {
		case "":
			http.Error(w, "who?", http.StatusUnauthorized)
		case "slow":
			http.Error(w, "later", http.StatusTooManyRequests)
		default:
			effects.Add(1)
		}
	}))
	defer srv.Close()
	tr := newTransport(t, func(tr *httpguard.Transport) {
		tr.Rules[0].Preset, tr.Rules[0].BeforeWork = httpguard.Stripe, []int{http.StatusTooManyRequests}
	})
	for _, step := range []struct {
		auth     string
		status   int
		replayed string
	}{{"", 401, ""}, {"", 401, ""}, {"slow", 429, ""}, {"right", 200, ""}, {"", 200, "true"}} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader("{}"))
		r.Header.Set("Payment-Key", "k")
		if step.auth != "" {
			r.Header.Set("Authorization", step.auth)
		}
		resp, err := tr.RoundTrip(r)
		if status, h, _ := drain(t, resp, err); status != step.status || h.Get(httpguard.HeaderFromReceipt) != step.replayed {
			t.Errorf("%+v: got %d %q", step, status, h.Get(httpguard.HeaderFromReceipt))
		}
	}
	if n := effects.Load(); n != 1 {
		t.Errorf("%d effects", n)
	}
}

// TestTransportPanic: a panic of Base is the caller's, and the outcome unknown.
func TestTransportPanic(t *testing.T) {
	tr := newTransport(t, func(tr *httpguard.Transport) {
		tr.Base = roundTrip(func(*http.Request) (*http.Response, error) { panic("boom") })
	})
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("recovered %v", p)
			}
		}()
		_, _ = postTo(t, tr, "http://127.0.0.1/", "k", "{}")
	}()
	if _, err := postTo(t, tr, "http://127.0.0.1/", "k", "{}"); !errors.Is(err, onceguard.ErrUncertain) {
		t.Errorf("got %v", err)
	}
}

func TestTransportLimits(t *testing.T) {
	tr := newTransport(t, func(tr *httpguard.Transport) {
		tr.MaxBody = 4
		tr.Base = roundTrip(func(*http.Request) (*http.Response, error) {
			t.Error("it was sent")
			return nil, errors.New("sent")
		})
	})
	bodies := map[string]io.Reader{"announced": strings.NewReader("12345"), "streamed": io.MultiReader(strings.NewReader("12345"))}
	for name, body := range bodies {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", body)
		r.Header.Set("Payment-Key", "k")
		if _, err := tr.RoundTrip(r); !errors.Is(err, onceguard.ErrInvalid) || onceguard.MayHaveRun(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestTransportValidate(t *testing.T) {
	g := guardtest.New(t)
	rule := func(change func(*httpguard.Rule)) *httpguard.Transport {
		r := httpguard.Rule{Action: "payment.create", Pattern: "POST api.example.com/payments"}
		change(&r)
		return &httpguard.Transport{Guard: g, Rules: []httpguard.Rule{r}}
	}
	bad := map[string]*httpguard.Transport{
		"no guard":    {},
		"no method":   rule(func(r *httpguard.Rule) { r.Pattern = "api.example.com/payments" }),
		"a read":      rule(func(r *httpguard.Rule) { r.Pattern = "GET api.example.com/payments" }),
		"a port":      rule(func(r *httpguard.Rule) { r.Pattern = "POST api.example.com:443/payments" }),
		"bad pattern": rule(func(r *httpguard.Rule) { r.Pattern = "POST api.example.com/{" }),
		"no action":   rule(func(r *httpguard.Rule) { r.Action = "" }),
		"transaction": rule(func(r *httpguard.Rule) { r.Policy = onceguard.Transactional }),
		"no horizon":  rule(func(r *httpguard.Rule) { r.Policy.Kind = onceguard.SafeRetryKind }),
		"max result":  rule(func(r *httpguard.Rule) { r.Limits.MaxResult = 1 }),
		"no key there": rule(func(r *httpguard.Rule) {
			r.Policy, r.Preset = onceguard.SafeRetry(1, onceguard.RefusalsForgotten), httpguard.Twilio
		}),
		"long horizon": rule(func(r *httpguard.Rule) {
			r.Policy, r.Preset = onceguard.SafeRetry(httpguard.Stripe.Horizon.Value+1, onceguard.RefusalsForgotten), httpguard.Stripe
		}),
		"stored cookie": {Guard: g, StoreHeaders: []string{"set-cookie"}},
	}
	for name, tr := range bad {
		t.Run(name, func(t *testing.T) {
			if err := tr.Validate(); !errors.Is(err, onceguard.ErrInvalid) {
				t.Errorf("got %v", err)
			}
			r, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://127.0.0.1:1/", nil)
			if _, err := tr.RoundTrip(r); !errors.Is(err, onceguard.ErrInvalid) {
				t.Errorf("round trip: %v", err)
			}
		})
	}
	if err := rule(func(*httpguard.Rule) {}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestTransportAdapter holds the transport to the suite for adapters. The effect
// is behind Base here.
func TestTransportAdapter(t *testing.T) {
	guardtest.Run(t, guardtest.Adapter{Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
		tr := &httpguard.Transport{Guard: g, Rules: []httpguard.Rule{{
			Action: "suite.act", Pattern: "POST provider.example/", KeyHeader: "Message-Id", BeforeWork: []int{http.StatusTooManyRequests},
		}}}
		tr.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			reply, err := h(r.Context(), guardtest.Message{ID: r.Header.Get("Message-Id"), Payload: string(body)})
			rec := httptest.NewRecorder()
			switch meant := meaningOf(t, err); {
			case err == nil:
				_, _ = io.WriteString(rec, reply)
			case errors.Is(meant, onceguard.ErrNotExecuted):
				rec.WriteHeader(http.StatusTooManyRequests)
			case errors.Is(meant, onceguard.ErrRefused):
				rec.WriteHeader(http.StatusPaymentRequired)
			default:
				return nil, err
			}
			return rec.Result(), nil
		})
		t.Cleanup(func() { _ = tr.Drain(context.Background()) })
		return func(ctx context.Context, m guardtest.Message) (a guardtest.Answer) {
			defer func() {
				if p := recover(); p != nil {
					a = guardtest.Answer{Verdict: guardtest.Uncertain, Detail: fmt.Sprint(p)}
				}
			}()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://provider.example/", strings.NewReader(m.Payload))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Message-Id", m.ID)
			resp, err := tr.RoundTrip(r)
			if err != nil {
				return failed(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Error(err)
			}
			a = guardtest.Answer{Detail: resp.Status}
			switch resp.StatusCode {
			case http.StatusOK:
				a.Verdict, a.Reply = guardtest.Done, string(body)
			case http.StatusPaymentRequired:
				a.Verdict = guardtest.Refused
			case http.StatusTooManyRequests:
				a.Verdict = guardtest.Again
			}
			return a
		}
	}})
}

// failed is what a caller knows from an error.
func failed(err error) guardtest.Answer {
	a := guardtest.Answer{Detail: err.Error()}
	for code, v := range map[onceguard.Code]guardtest.Verdict{
		onceguard.ErrInProgress: guardtest.InProgress, onceguard.ErrUncertain: guardtest.Uncertain, onceguard.ErrMismatch: guardtest.Mismatch,
		onceguard.ErrRefused: guardtest.Refused, onceguard.ErrNotRun: guardtest.Again, onceguard.ErrNotExecuted: guardtest.Again,
	} {
		if errors.Is(err, code) {
			a.Verdict = v
		}
	}
	return a
}
