package httpguard_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

const hangMaxRun = 90 * time.Second

// hanging is a provider that reads every request whole, and then writes what the
// test says and no more. It and its clients live on virtual time.
type hanging struct {
	keys []string   // downstream keys of the requests that arrived
	ends chan error // how each connection ended, as the provider sees it
}

// newHanging returns the provider and a transport to it. Its nth connection is
// answered with the nth of says; after that the provider waits for the client.
func newHanging(t *testing.T, change func(*httpguard.Rule), says ...string) (*hanging, *httpguard.Transport) {
	t.Helper()
	h := &hanging{ends: make(chan error, 8)}
	tr := newTransport(t, func(tr *httpguard.Transport) {
		tr.Rules[0].Limits.MaxRun = hangMaxRun
		if change != nil {
			change(&tr.Rules[0])
		}
		tr.Base.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			say := ""
			if n := len(h.keys); n < len(says) {
				say = says[n]
			}
			go func() { h.ends <- h.serve(far, say) }()
			return near, nil
		}
	})
	return h, tr
}

func (h *hanging) serve(c net.Conn, say string) error {
	defer func() { _ = c.Close() }()
	in := bufio.NewReader(c)
	r, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	h.keys = append(h.keys, r.Header.Get("Idempotency-Key"))
	if _, err := io.WriteString(c, say); err != nil {
		return err
	}
	_, err = in.ReadByte() // until the client hangs up
	return err
}

func hangPay(t *testing.T, tr http.RoundTripper) said {
	t.Helper()
	resp, err := postTo(t, tr, "http://provider.example/payments", "order-7", `{"amount":100}`)
	if err != nil {
		return said{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return said{resp.StatusCode, resp.Header.Get(httpguard.HeaderFromReceipt) == "true", string(body), err}
}

// elsewhere is the same transport in another process on the same store.
func elsewhere(t *testing.T, tr *httpguard.Transport) *httpguard.Transport {
	t.Helper()
	other := &httpguard.Transport{Guard: guardtest.Restart(t, tr.Guard), Base: tr.Base, Rules: tr.Rules}
	t.Cleanup(func() { drained(t, other) })
	return other
}

func wantCode(t *testing.T, s said, code onceguard.Code) *onceguard.Error {
	t.Helper()
	var ge *onceguard.Error
	if !errors.As(s.err, &ge) || ge.Code != code {
		t.Fatalf("got %+v, want the error %s", s, code)
	}
	return ge
}

// TestTransportHang: MaxRun ends the wait for a provider that never answers. The
// payment is then uncertain, here and in other processes, and not sent again.
func TestTransportHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, tr := newHanging(t, nil)
		start := time.Now()
		e := wantCode(t, hangPay(t, tr), onceguard.ErrUncertain)
		if waited := time.Since(start); waited != hangMaxRun || !e.MayHaveRun {
			t.Errorf("after %s, may have run: %v", waited, e.MayHaveRun)
		}
		if err := <-h.ends; err != io.EOF {
			t.Errorf("the provider's connection ended with %v: nobody waits for it any more, and it must hear so", err)
		}
		wantCode(t, hangPay(t, tr), onceguard.ErrUncertain)
		wantCode(t, hangPay(t, elsewhere(t, tr)), onceguard.ErrUncertain)
		if len(h.keys) != 1 {
			t.Errorf("%d requests arrived, want 1", len(h.keys))
		}
	})
}

// TestTransportHangSafeRetry: where the provider dedups, the retry sends the same
// key again and collects the answer.
func TestTransportHangSafeRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, tr := newHanging(t, func(r *httpguard.Rule) {
			policy, err := httpguard.Stripe.SafeRetry()
			if err != nil {
				t.Fatal(err)
			}
			r.Policy, r.Preset = policy, httpguard.Stripe
		}, "", "HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\npaid")
		wantCode(t, hangPay(t, tr), onceguard.ErrUncertain)
		if s := hangPay(t, elsewhere(t, tr)); s.err != nil || s.body != "paid" || s.replayed {
			t.Errorf("the retry got %+v", s)
		}
		if s := hangPay(t, tr); s.err != nil || s.body != "paid" || !s.replayed {
			t.Errorf("the next one got %+v", s)
		}
		if len(h.keys) != 2 || h.keys[0] != h.keys[1] || h.keys[0] == "" {
			t.Errorf("keys %q: want twice the same", h.keys)
		}
	})
}

// TestTransportHangInBody: a provider that says 2xx and then hangs has acted. The
// status came in time, MaxRun parks the payment meanwhile, and the end of the
// exchange settles it.
func TestTransportHangInBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, tr := newHanging(t, nil, "HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf")
		start := time.Now()
		s := hangPay(t, tr)
		if s.status != http.StatusCreated || s.body != "half" || s.err == nil || time.Since(start) != hangMaxRun {
			t.Errorf("after %s: %+v", time.Since(start), s)
		}
		for _, tr := range []*httpguard.Transport{tr, elsewhere(t, tr)} {
			if e := wantCode(t, hangPay(t, tr), onceguard.ErrNoResult); e.State != onceguard.Succeeded {
				t.Errorf("state %s", e.State)
			}
		}
		if len(h.keys) != 1 {
			t.Errorf("%d requests arrived, want 1", len(h.keys))
		}
	})
}

// TestTransportLateAnswer: at MaxRun others hear that nobody knows; an answer that
// comes after all, through a Base that does not heed its context, still counts.
func TestTransportLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		tr := newTransport(t, func(tr *httpguard.Transport) { tr.Rules[0].Limits.MaxRun = hangMaxRun })
		tr.Base = roundTrip(func(r *http.Request) (*http.Response, error) {
			sent++
			<-r.Context().Done()
			if cause := context.Cause(r.Context()); cause != onceguard.ErrMaxRun {
				t.Errorf("ended by %v", cause)
			}
			synctest.Wait()
			wantCode(t, hangPay(t, elsewhere(t, tr)), onceguard.ErrUncertain)
			return &http.Response{
				StatusCode: http.StatusCreated, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("late")), ContentLength: 4, Request: r,
			}, nil
		})
		if s := hangPay(t, tr); s.err != nil || s.status != http.StatusCreated || s.body != "late" || s.replayed {
			t.Errorf("the caller got %+v", s)
		}
		for _, tr := range []*httpguard.Transport{tr, elsewhere(t, tr)} {
			if s := hangPay(t, tr); s.err != nil || s.body != "late" || !s.replayed {
				t.Errorf("a retry got %+v", s)
			}
		}
		if sent != 1 {
			t.Errorf("sent %d times, want once", sent)
		}
	})
}
