package httpguard_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

// wireServer counts the requests that arrive whole, and answers each connection's
// first ones; what it does with the nth of all is the test's.
type wireServer struct {
	addr    string
	arrived atomic.Int64
}

func newWireServer(t *testing.T, act func(n int64, c net.Conn)) *wireServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wireServer{addr: l.Addr().String()}
	var wg sync.WaitGroup
	conns := make(chan net.Conn, 64)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				in := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, r.Body); err != nil {
						return
					}
					act(s.arrived.Add(1), c)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		for {
			select {
			case c := <-conns:
				_ = c.Close()
			default:
				wg.Wait()
				return
			}
		}
	})
	return s
}

func answerOK(c net.Conn) {
	_, _ = io.WriteString(c, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok")
}

// reset ends a connection with RST, so that the client reads an error, not EOF.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func newTransport(t *testing.T, change func(*httpguard.Transport)) *httpguard.Transport {
	t.Helper()
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	tr := &httpguard.Transport{Guard: guardtest.New(t), Base: base, Rules: []httpguard.Rule{{
		Action: "payment.create", Pattern: "/", KeyHeader: "Payment-Key",
	}}}
	tr.Rules[0].Pattern = "POST /"
	if change != nil {
		change(tr)
	}
	t.Cleanup(func() { drained(t, tr) })
	return tr
}

func postTo(t *testing.T, tr http.RoundTripper, address, key, body string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Payment-Key", key)
	return (&http.Client{Transport: tr}).Do(r)
}

// TestTransportNoResend: net/http sends a POST with an Idempotency-Key again by
// itself when a kept-alive connection breaks. A guarded one it must not, with a
// body and without; under safe-retry it may.
func TestTransportNoResend(t *testing.T) {
	breaks := map[string]func(net.Conn){"reset": reset, "closed": func(c net.Conn) { _ = c.Close() }}
	for name, end := range breaks {
		for _, body := range []string{`{"amount":1}`, ""} {
			serve := func(t *testing.T) *wireServer {
				return newWireServer(t, func(n int64, c net.Conn) {
					if n == 2 {
						end(c)
						return
					}
					answerOK(c)
				})
			}
			t.Run("plain net/http, "+name+", body "+body, func(t *testing.T) {
				s := serve(t)
				base := &http.Transport{}
				defer base.CloseIdleConnections()
				for range 2 {
					r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.addr+"/", strings.NewReader(body))
					r.Header.Set("Idempotency-Key", "k")
					resp, err := base.RoundTrip(r)
					drain(t, resp, err)
				}
				if n := s.arrived.Load(); n != 3 {
					t.Errorf("%d requests arrived, want 3: net/http does not send again any more, and the guard's care is not needed", n)
				}
			})
			t.Run("guarded, "+name+", body "+body, func(t *testing.T) {
				s := serve(t)
				tr := newTransport(t, func(tr *httpguard.Transport) { tr.ReuseConnections = true })
				resp, err := postTo(t, tr, "http://"+s.addr+"/", "k1", body)
				drain(t, resp, err)
				if _, err := postTo(t, tr, "http://"+s.addr+"/", "k2", body); !errors.Is(err, onceguard.ErrUncertain) {
					t.Errorf("got %v", err)
				}
				if n := s.arrived.Load(); n != 2 {
					t.Errorf("%d requests arrived, want 2", n)
				}
			})
			t.Run("safe-retry, "+name+", body "+body, func(t *testing.T) {
				s := serve(t)
				tr := newTransport(t, func(tr *httpguard.Transport) {
					tr.Rules[0].Policy, tr.ReuseConnections = onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten), true
				})
				for _, key := range []string{"k1", "k2"} {
					resp, err := postTo(t, tr, "http://"+s.addr+"/", key, body)
					drain(t, resp, err)
				}
				if n := s.arrived.Load(); n != 3 {
					t.Errorf("%d requests arrived, want 3", n)
				}
			})
		}
	}
}

// TestTransportConnections: an HTTP/1 connection that had a guarded request is
// not used again, so that a stray second answer reaches nobody.
func TestTransportConnections(t *testing.T) {
	for reuse, want := range map[bool]int64{false: 3, true: 1} {
		var conns atomic.Int64
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))
		srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		}
		srv.Start()
		tr := newTransport(t, func(tr *httpguard.Transport) { tr.ReuseConnections = reuse })
		for _, key := range []string{"a", "b", "c"} {
			resp, err := postTo(t, tr, srv.URL, key, "{}")
			drain(t, resp, err)
		}
		srv.Close()
		if n := conns.Load(); n != want {
			t.Errorf("reuse %v: %d connections, want %d", reuse, n, want)
		}
	}
	t.Run("HTTP/2", func(t *testing.T) {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }))
		var conns atomic.Int64
		srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns.Add(1)
			}
		}
		srv.EnableHTTP2 = true
		srv.StartTLS()
		defer srv.Close()
		tr := newTransport(t, func(tr *httpguard.Transport) { tr.Base = srv.Client().Transport })
		for _, key := range []string{"a", "b", "c", "d"} {
			resp, err := postTo(t, tr, srv.URL, key, "{}")
			drain(t, resp, err)
		}
		if n := conns.Load(); n > 2 {
			t.Errorf("%d connections for four requests, want at most the first's and one more", n)
		}
	})
}

// TestTransportKeyOnTheWire: whatever the spelling, the provider gets the header
// once.
func TestTransportKeyOnTheWire(t *testing.T) {
	for _, body := range []string{"x", ""} {
		var got []string
		srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Values("Idempotency-Key") }))
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, strings.NewReader(body))
		r.Header.Set("Payment-Key", "k")
		r.Header.Set("Idempotency-Key", "of the SDK")
		r.Header["idempotency-KEY"] = []string{"of another layer"}
		resp, err := newTransport(t, nil).RoundTrip(r)
		drain(t, resp, err)
		srv.Close()
		if len(got) != 1 || len(got[0]) != 36 {
			t.Errorf("body %q: keys %q", body, got)
		}
		if r.Header.Get("Idempotency-Key") != "of the SDK" {
			t.Error("the caller's request was changed")
		}
	}
}

// TestTransportNothingSent: failures before the first byte leave the request free.
func TestTransportNothingSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	tls.StartTLS()
	defer tls.Close()
	for name, address := range map[string]string{"refused": "http://" + dead, "certificate": tls.URL, "no such host": "http://no-such-host.invalid"} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, nil)
			for range 2 { // the second claims anew
				_, err := postTo(t, tr, address, "k", "{}")
				if !errors.Is(err, onceguard.ErrNotExecuted) || onceguard.MayHaveRun(err) {
					t.Fatalf("got %v", err)
				}
			}
		})
	}
}

// roundTrip is a Base that reports to nobody.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestTransportUntraced: a Base that does not report what it writes is never
// believed to have written nothing.
func TestTransportUntraced(t *testing.T) {
	calls := 0
	tr := newTransport(t, func(tr *httpguard.Transport) {
		tr.Base = roundTrip(func(*http.Request) (*http.Response, error) { calls++; return nil, errors.New("lost") })
	})
	for range 2 {
		if _, err := postTo(t, tr, "http://127.0.0.1/", "k", "{}"); !errors.Is(err, onceguard.ErrUncertain) {
			t.Errorf("got %v", err)
		}
	}
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

// deadConn takes no byte once it is dead.
type deadConn struct {
	net.Conn
	dead *atomic.Bool
}

func (c *deadConn) Write(p []byte) (int, error) {
	if c.dead.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(p)
}

// TestTransportDeadIdleConnection: a kept-alive connection that takes no byte is
// no news about the provider; the attempt goes on with a fresh one.
func TestTransportDeadIdleConnection(t *testing.T) {
	for _, body := range []string{"{}", ""} {
		s := newWireServer(t, func(_ int64, c net.Conn) { answerOK(c) })
		var latest *atomic.Bool
		dials := 0
		base := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			dials++
			latest = &atomic.Bool{}
			return &deadConn{c, latest}, err
		}}
		defer base.CloseIdleConnections()
		tr := newTransport(t, func(tr *httpguard.Transport) { tr.Base, tr.ReuseConnections = base, true })
		resp, err := postTo(t, tr, "http://"+s.addr, "k1", body)
		drain(t, resp, err)
		latest.Store(true)
		resp, err = postTo(t, tr, "http://"+s.addr, "k2", body)
		if status, h, _ := drain(t, resp, err); status != http.StatusCreated || h.Get(httpguard.HeaderFromReceipt) != "" {
			t.Errorf("body %q: status %d", body, status)
		}
		if n := s.arrived.Load(); n != 2 || dials != 2 {
			t.Errorf("body %q: %d requests arrived, %d dials; want 2 and 2", body, n, dials)
		}
	}
}

// TestTransportFreshConnectionTakesNothing: net/http found that no byte left, so
// nothing happened, although the request was on its way to the connection.
func TestTransportFreshConnectionTakesNothing(t *testing.T) {
	s := newWireServer(t, func(_ int64, c net.Conn) { answerOK(c) })
	dead := &atomic.Bool{}
	dead.Store(true)
	base := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &deadConn{c, dead}, err
	}}
	defer base.CloseIdleConnections()
	tr := newTransport(t, func(tr *httpguard.Transport) { tr.Base = base })
	if _, err := postTo(t, tr, "http://"+s.addr, "k", "{}"); !errors.Is(err, onceguard.ErrNotExecuted) {
		t.Errorf("got %v", err)
	}
	dead.Store(false)
	resp, err := postTo(t, tr, "http://"+s.addr, "k", "{}")
	drain(t, resp, err)
	if n := s.arrived.Load(); n != 1 {
		t.Errorf("%d requests arrived", n)
	}
}

// TestTransportReadyBeforeFirstByte: a process that was paused while it waited
// for its connection sends nothing, and the request is free again.
func TestTransportReadyBeforeFirstByte(t *testing.T) {
	for name, tls := range map[string]bool{"http/1": false, "http/2": true} {
		for _, body := range []string{"{}", ""} {
			t.Run(name+", body "+body, func(t *testing.T) {
				var arrived atomic.Int64
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					arrived.Add(1)
					w.WriteHeader(http.StatusCreated)
				}))
				srv.EnableHTTP2 = tls
				if tls {
					srv.StartTLS()
				} else {
					srv.Start()
				}
				defer srv.Close()
				base := srv.Client().Transport.(*http.Transport)
				ready := newReadiness()
				tr := newTransport(t, func(tr *httpguard.Transport) { tr.Base, tr.ReuseConnections = base, true })
				httpguard.SetReady(t, tr, ready.check)
				resp, err := postTo(t, tr, srv.URL, "k0", body) // a connection to reuse, too
				drain(t, resp, err)
				for range 2 {
					ready.fail(2) // the check before the send passes, the one before the byte not
					// net/http would write from another goroutine, and lose the race
					// against a canceled context most times; so look at the connection.
					open := 0
					ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
						if i.Conn.SetDeadline(time.Time{}) == nil {
							open++
						}
					}})
					r, _ := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, strings.NewReader(body))
					r.Header.Set("Payment-Key", "k")
					_, err = tr.RoundTrip(r)
					if open > 0 && !tls {
						t.Error("the connection could still be written to")
					}
					if !errors.Is(err, onceguard.ErrNotExecuted) || !errors.Is(err, onceguard.ErrLeaseLost) {
						t.Fatalf("got %v", err)
					}
				}
				if n := arrived.Load(); n != 1 {
					t.Errorf("%d requests arrived, want the first alone", n)
				}
				ready.fail(0)
				resp, err = postTo(t, tr, srv.URL, "k", body)
				if status, _, _ := drain(t, resp, err); status != http.StatusCreated {
					t.Errorf("status %d", status)
				}
			})
		}
	}
}

// readiness stands for Attempt.Ready of a process whose clock jumps.
type readiness struct {
	mu    sync.Mutex
	calls int
	at    int
}

func newReadiness() *readiness { return &readiness{} }

// fail makes the nth check from now on fail, and all after it; 0: none.
func (r *readiness) fail(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls, r.at = 0, n
}

func (r *readiness) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls++; r.at > 0 && r.calls >= r.at {
		return onceguard.NotExecuted(onceguard.ErrLeaseLost)
	}
	return nil
}
