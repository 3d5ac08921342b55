package httpguard_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
)

const refundBody = `{"amount": 5}`

// post sends one request over a client that repeats nothing by itself.
func post(t *testing.T, c *http.Client, url string, headers ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(refundBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "refund-7")
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	return drain(t, resp, err)
}

func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
}

func TestConcurrentDuplicates(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	url := "http://" + w.serve(w.options(), w.refund()) + "/orders/7/refunds"
	const n = 12
	bodies := make([]string, n)
	replayed := make([]bool, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			status, h, body := post(t, newClient(), url)
			if status != http.StatusCreated {
				t.Errorf("status %d: %s", status, body)
			}
			bodies[i], replayed[i] = body, h.Get("Idempotent-Replayed") == "true"
		})
	}
	w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
	w.must(w.ledger.Release(t.Context(), "order-7"))
	wg.Wait()
	firsts := 0
	for i := range n {
		if bodies[i] != bodies[0] {
			t.Errorf("answers differ: %q and %q", bodies[0], bodies[i])
		}
		if !replayed[i] {
			firsts++
		}
	}
	if firsts != 1 {
		t.Errorf("%d answers are not marked as replays, want 1", firsts)
	}
	w.effects("7", 1)
}

func TestWaitersAreBounded(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	o := w.options()
	o.MaxWaiters, o.Limits.Wait = 1, 20*time.Second
	url := "http://" + w.serve(o, w.refund()) + "/orders/7/refunds"
	var wg sync.WaitGroup
	wg.Go(func() { post(t, newClient(), url) })
	w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
	// Of two duplicates one may wait; the other is told at once, whichever it is.
	told := make(chan int, 2)
	for range 2 {
		wg.Go(func() {
			status, _, _ := post(t, newClient(), url)
			told <- status
		})
	}
	if status := <-told; status != http.StatusConflict {
		t.Errorf("status %d for the duplicate beyond the bound, want 409", status)
	}
	w.must(w.ledger.Release(t.Context(), "order-7"))
	if status := <-told; status != http.StatusCreated {
		t.Errorf("status %d for the one that waited, want 201", status)
	}
	wg.Wait()
	w.effects("7", 1)
}

// TestDisconnect: the client goes away while the handler works. The effect is
// not cut short, and a retry collects its answer.
func TestDisconnect(t *testing.T) {
	for name, early := range map[string]bool{"same goroutine": false, "early return": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
			o := w.options()
			o.EarlyReturn = early
			gone, refund := make(chan struct{}), w.refund()
			m := httpguard.Must(httpguard.New(w.guard, o))
			mux := http.NewServeMux()
			mux.Handle("POST /orders/{id}/refunds", m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				refund.ServeHTTP(rw, r)
				if err := r.Context().Err(); err != nil {
					t.Errorf("the handler's context ended with its client: %v", err)
				}
			})))
			srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Header.Get("First") != "" {
					context.AfterFunc(r.Context(), func() { close(gone) })
				}
				mux.ServeHTTP(rw, r)
			}))
			defer srv.Close()
			c := &conversation{t: t, addr: strings.TrimPrefix(srv.URL, "http://")}
			first := c.send("", "POST /orders/7/refunds", refundBody, "Idempotency-Key: refund-7", "First: yes")
			w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
			first.hangUp()
			<-gone // the server has noticed
			w.must(w.ledger.Release(t.Context(), "order-7"))
			status, h, body := post(t, newClient(), srv.URL+"/orders/7/refunds")
			if status != http.StatusCreated || h.Get("Idempotent-Replayed") != "true" || !strings.Contains(body, "eff_1") {
				t.Errorf("the retry got %d %s", status, body)
			}
			w.effects("7", 1)
			w.must(m.Drain(t.Context()))
		})
	}
}

func TestDrainSaysWhatRuns(t *testing.T) {
	w := newWorld(t)
	w.must(w.ledger.Modes(t.Context(), "order-7", ledger.Mode{HoldAnswer: true}))
	o := w.options()
	o.EarlyReturn = true
	m := httpguard.Must(httpguard.New(w.guard, o))
	mux := http.NewServeMux()
	mux.Handle("/orders/{id}/refunds", m.Wrap(w.refund()))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	if status, _, body := post(t, newClient(), srv.URL+"/orders/7/refunds", "Prefer", "wait=0"); status != http.StatusConflict {
		t.Fatalf("%d %s", status, body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Drain(ctx); err == nil || !strings.Contains(err.Error(), "refund.create") {
		t.Errorf("Drain with a handler running: %v", err)
	}
	w.must(w.ledger.WaitDecided(t.Context(), "order-7", 1))
	w.must(w.ledger.Release(t.Context(), "order-7"))
	w.must(m.Drain(t.Context()))
}

// TestOverdue: a handler that does not heed the end of its context keeps nobody
// waiting, and its late answer counts.
func TestOverdue(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.EarlyReturn, o.Limits.MaxRun = true, 20*time.Millisecond
	m := httpguard.Must(httpguard.New(w.guard, o))
	finish := make(chan struct{})
	h := m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		<-finish
		_, _ = rw.Write([]byte("late"))
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, keyed("POST", "/", refundBody))
	if rec.Code != http.StatusGatewayTimeout || !strings.Contains(rec.Body.String(), "outcome-unknown") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	close(finish)
	w.must(m.Drain(t.Context()))
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, keyed("POST", "/", refundBody))
	if rec.Code != http.StatusOK || rec.Body.String() != "late" {
		t.Errorf("the retry got %d %s", rec.Code, rec.Body)
	}
}

// TestPanic: a panic is an unknown outcome, and goes on as it came.
func TestPanic(t *testing.T) {
	boom := errors.New("boom")
	for name, early := range map[string]bool{"same goroutine": false, "early return": true} {
		for what, value := range map[string]error{"value": boom, "abort": http.ErrAbortHandler} {
			t.Run(name+"/"+what, func(t *testing.T) {
				w := newWorld(t)
				o := w.options()
				o.EarlyReturn = early
				m := httpguard.Must(httpguard.New(w.guard, o))
				h := m.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					httpguard.Release(r.Context(), "a panic outweighs it")
					_, _ = rw.Write([]byte("half"))
					panic(value)
				}))
				got := func() (p any) {
					defer func() { p = recover() }()
					rec := httptest.NewRecorder()
					h.ServeHTTP(rec, keyed("POST", "/", refundBody))
					return rec.Body.String()
				}()
				if got != any(value) {
					t.Errorf("ServeHTTP panicked with %v, want the handler's own %v", got, value)
				}
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, keyed("POST", "/", refundBody))
				if rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "outcome-unknown") {
					t.Errorf("the retry got %d %s", rec.Code, rec.Body)
				}
			})
		}
	}
}

func keyed(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Idempotency-Key", "refund-7")
	return r
}

// TestPanicAfterReturn: nobody is left to panic at; the log has it.
func TestPanicAfterReturn(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.EarlyReturn = true
	var log syncBuffer
	o.Logger = log.logger()
	m := httpguard.Must(httpguard.New(w.guard, o))
	answered := make(chan struct{})
	h := m.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		<-answered
		panic("too late")
	}))
	r := keyed("POST", "/", refundBody)
	r.Header.Set("Prefer", "wait=0")
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	if rec.Code != http.StatusConflict {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	close(answered)
	w.must(m.Drain(t.Context()))
	if s := log.String(); !strings.Contains(s, "too late") || !strings.Contains(s, "TestPanicAfterReturn") {
		t.Errorf("the log has neither the panic nor where it came from: %s", s)
	}
	w.await(t, "acme", "refund-7", onceguard.Uncertain)
}

func TestHijack(t *testing.T) {
	w := newWorld(t)
	refund := w.refund()
	addr := w.serve(w.options(), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		refund.ServeHTTP(httptest.NewRecorder(), r)
		conn, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := rw.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("a write after the hijack: %v", err)
		}
		_, _ = buf.WriteString("HTTP/1.1 299 By Hand\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		_ = buf.Flush()
		_ = conn.Close()
	}))
	c := &conversation{t: t, addr: addr}
	if got := c.ask("", "POST /orders/7/refunds", refundBody, "Idempotency-Key: refund-7"); got.status != 299 || got.body != "hi" {
		t.Errorf("%+v", got)
	}
	got := c.ask("", "POST /orders/7/refunds", refundBody, "Idempotency-Key: refund-7")
	if got.status != http.StatusConflict || !strings.Contains(got.body, `"body": "hijacked"`) {
		t.Errorf("%+v", got)
	}
	w.effects("7", 1)
}

// TestStreamPending: a stream's receipt that cannot be stored is told in a
// trailer, the only place that is left.
func TestStreamPending(t *testing.T) {
	w := newWorld(t)
	addr := w.serve(w.options(), w.stream(1))
	w.store.fail(func(op string) error {
		if op == "settle" {
			return errDown
		}
		return nil
	})
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/orders/7/refunds", strings.NewReader(refundBody))
	w.must(err)
	req.Header.Set("Idempotency-Key", "refund-7")
	resp, err := newClient().Do(req)
	w.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	w.must(err)
	if string(body) != "line\n" || resp.Trailer.Get("Idempotency-Status") != "receipt-pending" {
		t.Errorf("body %q, trailer %v", body, resp.Trailer)
	}
}

func TestHTTP2(t *testing.T) {
	w := newWorld(t)
	m := httpguard.Must(httpguard.New(w.guard, w.options()))
	mux := http.NewServeMux()
	mux.Handle("/orders/{id}/refunds", m.Wrap(w.refund()))
	mux.Handle("/orders/{id}/streams", m.Wrap(w.stream(3)))
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	url := srv.URL + "/orders/7/refunds"
	status, h, first := post(t, srv.Client(), url)
	if status != http.StatusCreated || h.Get("Set-Cookie") == "" {
		t.Errorf("first: %d %v", status, h)
	}
	status, h, again := post(t, srv.Client(), url)
	if status != http.StatusCreated || h.Get("Idempotent-Replayed") != "true" || again != first || h.Get("Set-Cookie") != "" {
		t.Errorf("replay: %d %v %q, first %q", status, h, again, first)
	}
	if status, _, body := post(t, srv.Client(), srv.URL+"/orders/9/streams", "Idempotency-Key", "s"); status != http.StatusOK || body != "line\nline\nline\n" {
		t.Errorf("stream: %d %q", status, body)
	}
	if status, _, body := post(t, srv.Client(), srv.URL+"/orders/9/streams", "Idempotency-Key", "s"); status != http.StatusConflict {
		t.Errorf("stream again: %d %q", status, body)
	}
	resp, err := srv.Client().Get(url)
	w.must(err)
	if _, _ = io.Copy(io.Discard, resp.Body); resp.ProtoMajor != 2 {
		t.Errorf("the test spoke %s", resp.Proto)
	}
	_ = resp.Body.Close()
	w.effects("7", 1)
	w.effects("9", 1)
}

// TestBytesAreKept: no re-encoding, whatever the body is.
func TestBytesAreKept(t *testing.T) {
	w := newWorld(t)
	binary := make([]byte, 70_000)
	for i := range binary {
		binary[i] = byte(i * i >> 3)
	}
	h := httpguard.Must(httpguard.New(w.guard, w.options())).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, binary) || r.ContentLength != int64(len(binary)) {
			t.Errorf("the handler read %d bytes of the body: %v", len(got), err)
		}
		_, _ = rw.Write(binary)
	}))
	var bodies [][]byte
	for range 2 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, keyed("PUT", "/", string(binary)))
		bodies = append(bodies, rec.Body.Bytes())
		if ct := rec.Header().Get("Content-Type"); ct != "application/octet-stream" {
			t.Errorf("content type %q", ct)
		}
	}
	if !bytes.Equal(bodies[0], binary) || !bytes.Equal(bodies[1], binary) {
		t.Error("bodies changed on the way")
	}
}

// TestReplayNeedsOneStoreCall counts calls, not time.
func TestReplayNeedsOneStoreCall(t *testing.T) {
	w := newWorld(t)
	h := httpguard.Must(httpguard.New(w.guard, w.options())).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(201) }))
	calls := func() [4]int64 {
		s := w.store
		return [4]int64{s.claims.Swap(0), s.settles.Swap(0), s.gets.Swap(0), s.others.Swap(0)}
	}
	calls()
	h.ServeHTTP(httptest.NewRecorder(), keyed("POST", "/", refundBody))
	if got, want := calls(), [4]int64{1, 1, 0, 0}; got != want {
		t.Errorf("first run: claims, settles, reads, others %v, want %v", got, want)
	}
	h.ServeHTTP(httptest.NewRecorder(), keyed("POST", "/", refundBody))
	if got, want := calls(), [4]int64{1, 0, 0, 0}; got != want {
		t.Errorf("replay: claims, settles, reads, others %v, want %v", got, want)
	}
}

// TestAnswerFollowsTheReceipt: not a byte reaches the client before the receipt
// is durable.
func TestAnswerFollowsTheReceipt(t *testing.T) {
	w := newWorld(t)
	rec := httptest.NewRecorder()
	settles := 0
	w.store.fail(func(op string) error {
		if op == "settle" {
			if settles++; rec.Body.Len() > 0 || len(rec.Header()) > 0 {
				t.Error("the client has an answer whose receipt is not stored")
			}
		}
		return nil
	})
	h := httpguard.Must(httpguard.New(w.guard, w.options())).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Early", "1")
		rw.WriteHeader(http.StatusCreated)
		_, _ = rw.Write([]byte("done"))
	}))
	h.ServeHTTP(rec, keyed("POST", "/", refundBody))
	if rec.Code != http.StatusCreated || rec.Body.String() != "done" || settles != 1 {
		t.Errorf("%d %q after %d settles", rec.Code, rec.Body, settles)
	}
}

// TestTakenOver: an owner that comes back after another attempt has finished does
// not tell its client what it did, but what is stored.
func TestTakenOver(t *testing.T) {
	w := newWorld(t)
	o := w.options()
	o.Policy = onceguard.Rerun
	running, finish := make(chan struct{}), make(chan struct{})
	h := httpguard.Must(httpguard.New(w.guard, o)).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if a, _ := httpguard.Attempt(r.Context()); a.Number() == 1 {
			close(running)
			<-finish
			_, _ = rw.Write([]byte("first"))
			return
		}
		_, _ = rw.Write([]byte("second"))
	}))
	first, ended := httptest.NewRecorder(), make(chan struct{})
	go func() {
		defer close(ended)
		h.ServeHTTP(first, keyed("POST", "/", refundBody))
	}()
	<-running
	w.later.Store(int64(2 * time.Minute)) // the lease is over
	// Another process, since within one the second would join the first.
	other, err := onceguard.New(t.Context(), w.store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	w.must(err)
	second := httptest.NewRecorder()
	httpguard.Must(httpguard.New(other, o)).Wrap(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte("second"))
	})).ServeHTTP(second, keyed("POST", "/", refundBody))
	close(finish)
	<-ended
	if second.Body.String() != "second" || first.Body.String() != "second" || first.Header().Get("Idempotent-Replayed") != "true" {
		t.Errorf("the second got %q, the first %q %v", second.Body, first.Body, first.Header())
	}
}
