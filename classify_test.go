package onceguard_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceguard/onceguard"
)

// verdict names what an effect's error would do to its request.
func verdict(t *testing.T, err error) onceguard.State {
	t.Helper()
	w := newWorld(t)
	defer w.close(w.guard)
	_, _ = w.do(request("1"), w.act(refund{}, err))
	return w.record(request("1")).State
}

// refusedAddr is a loopback address where nobody listens.
func refusedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return addr
}

// client is an HTTP client whose connections end with the test.
func client(t *testing.T, c *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: c}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// listening serves each connection with fn.
func listening(t *testing.T, fn func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fn(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func TestClassifyDial(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are the point
	secure.StartTLS()
	t.Cleanup(secure.Close)
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	plain := listening(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
	})
	// A peer that shakes hands and then breaks the record layer.
	garbled := listening(t, func(c net.Conn) {
		s := tls.Server(c, &tls.Config{Certificates: secure.TLS.Certificates})
		if s.Handshake() != nil {
			return
		}
		_, _ = s.Read(make([]byte, 1024)) // it has our request now
		_, _ = c.Write([]byte{23, 9, 9, 0, 1, 0})
	})
	get := func(c *http.Client, url string) error {
		resp, err := c.Get(url)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	rawTLS := func(addr string) error {
		c, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "example.com"})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		if _, err := c.Write([]byte("POST / HTTP/1.1\r\n\r\n")); err != nil {
			return err
		}
		_, err = c.Read(make([]byte, 1))
		return err
	}
	for name, tc := range map[string]struct {
		err  error
		want onceguard.State
	}{
		"refused port":         {get(client(t, nil), "http://"+refusedAddr(t)), onceguard.Released},
		"no such host":         {fmt.Errorf("get: %w", &net.DNSError{Err: "no such host", Name: "x.invalid", IsNotFound: true}), onceguard.Released},
		"unknown authority":    {get(client(t, nil), secure.URL), onceguard.Released},
		"wrong name":           {get(client(t, &tls.Config{RootCAs: pool, ServerName: "other.test"}), secure.URL), onceguard.Released},
		"not TLS":              {rawTLS(plain), onceguard.Released},
		"record broken later":  {rawTLS(garbled), onceguard.Uncertain},
		"read error":           {&net.OpError{Op: "read", Err: errors.New("reset")}, onceguard.Uncertain},
		"write error":          {&net.OpError{Op: "write", Err: errors.New("reset")}, onceguard.Uncertain},
		"EOF":                  {io.EOF, onceguard.Uncertain},
		"timeout":              {context.DeadlineExceeded, onceguard.Uncertain},
		"alert from the peer":  {tls.AlertError(42), onceguard.Uncertain},
		"record header, later": {tls.RecordHeaderError{Msg: "oversized record"}, onceguard.Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.err == nil {
				t.Fatal("the call worked; the test saw nothing")
			}
			if got := verdict(t, onceguard.ClassifyDial(tc.err)); got != tc.want {
				t.Errorf("%T %v left the request %s, want %s", tc.err, tc.err, got, tc.want)
			}
		})
	}
	if onceguard.ClassifyDial(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestClassifyStatus(t *testing.T) {
	const (
		unknown  = onceguard.StatusUnknown
		ok       = onceguard.StatusSucceeded
		not      = onceguard.StatusNotExecuted
		refusing = onceguard.StatusRefused
	)
	preset := []int{401, 403, 404, 405, 407, 429, 503, 200}
	for code, want := range map[int][2]onceguard.StatusClass{
		0: {unknown, unknown}, 100: {unknown, unknown}, 200: {ok, ok}, 201: {ok, ok}, 204: {ok, ok}, 299: {ok, ok},
		301: {unknown, unknown}, 304: {unknown, unknown}, 307: {unknown, unknown},
		400: {refusing, refusing}, 401: {refusing, not}, 402: {refusing, refusing}, 403: {refusing, not}, 404: {refusing, not},
		405: {refusing, not}, 407: {refusing, not}, 408: {unknown, unknown}, 409: {unknown, unknown}, 422: {refusing, refusing},
		425: {unknown, unknown}, 429: {refusing, not}, 499: {refusing, refusing},
		500: {unknown, unknown}, 502: {unknown, unknown}, 503: {unknown, unknown}, 504: {unknown, unknown}, 599: {unknown, unknown}, 600: {unknown, unknown},
	} {
		got := [2]onceguard.StatusClass{onceguard.ClassifyStatus(code), onceguard.ClassifyStatus(code, preset...)}
		if got != want {
			t.Errorf("%d: %v without and with a preset, want %v", code, got, want)
		}
		states := map[onceguard.StatusClass]onceguard.State{unknown: onceguard.Uncertain, ok: onceguard.Succeeded, not: onceguard.Released, refusing: onceguard.Failed}
		if s := verdict(t, onceguard.StatusError(code, preset...)); s != states[want[1]] {
			t.Errorf("StatusError(%d) left the request %s", code, s)
		}
	}
}

func TestWriteTrace(t *testing.T) {
	post := func(c *http.Client, url string, body string) (*onceguard.WriteTrace, error) {
		ctx, trace := onceguard.TraceWrites(context.Background())
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		return trace, trace.Classify(err)
	}
	t.Run("refused port", func(t *testing.T) {
		trace, err := post(client(t, nil), "http://"+refusedAddr(t), "x")
		if trace.Wrote() || verdict(t, err) != onceguard.Released {
			t.Errorf("wrote %v, %v", trace.Wrote(), err)
		}
	})
	t.Run("closed after the request was written", func(t *testing.T) {
		addr := listening(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) })
		trace, err := post(client(t, nil), "http://"+addr, "x")
		if err == nil || !trace.Wrote() || verdict(t, err) != onceguard.Uncertain {
			t.Errorf("wrote %v, %v", trace.Wrote(), err)
		}
	})
	t.Run("cancelled before it was sent", func(t *testing.T) {
		ctx, trace := onceguard.TraceWrites(context.Background())
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+refusedAddr(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client(t, nil).Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		if verdict(t, trace.Classify(err)) != onceguard.Released {
			t.Errorf("%v", err)
		}
	})
	t.Run("keep-alive connection that dies", func(t *testing.T) {
		var served atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if served.Add(1) == 2 { // the second request on the same connection
				c, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					_ = c.Close()
				}
			}
		}))
		t.Cleanup(srv.Close)
		c := client(t, nil)
		if trace, err := post(c, srv.URL, "x"); err != nil || !trace.Wrote() {
			t.Fatalf("first: %v", err)
		}
		trace, err := post(c, srv.URL, "x")
		if err == nil || !trace.Wrote() || verdict(t, err) != onceguard.Uncertain {
			t.Errorf("second: wrote %v, %v", trace.Wrote(), err)
		}
		if served.Load() != 2 {
			t.Errorf("%d requests reached the server", served.Load())
		}
	})
	t.Run("answered", func(t *testing.T) {
		srv := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(srv.Close)
		if trace, err := post(client(t, nil), srv.URL, "x"); err != nil || !trace.Wrote() {
			t.Errorf("%v", err)
		}
	})
}
