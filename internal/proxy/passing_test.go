package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

const passRoutes = refunds + `
      - {methods: [POST], path: "/v1/search/{rest...}", pass: true}
`

func TestReadsStream(t *testing.T) {
	next := make(chan string)
	w := newWorld(t, nil, "", refunds, func(rw http.ResponseWriter, _ *http.Request) {
		// Of a known length and a common type: nothing says that it is a stream.
		rw.Header().Set("Content-Type", "text/plain")
		rw.Header().Set("Content-Length", "24")
		for s := range next {
			_, _ = io.WriteString(rw, s)
			_ = http.NewResponseController(rw).Flush()
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", w.url+"/pay/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() { next <- "data: 0\n" }() // the header comes with the first event
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		if i > 0 {
			next <- fmt.Sprintf("data: %d\n", i)
		}
		got, err := lines.ReadString('\n') // while the upstream holds the rest back
		if err != nil || got != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q %v", i, got, err)
		}
	}
	close(next)
	_ = resp.Body.Close()
}

// TestGuardedEvents: the caller of a guarded stream gets each event as it comes,
// and a retry is told that the answer is not kept.
func TestGuardedEvents(t *testing.T) {
	next := make(chan struct{})
	w := newWorld(t, nil, "", refunds, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 2 {
			_, _ = fmt.Fprintf(rw, "data: %d\n", i)
			_ = http.NewResponseController(rw).Flush()
			<-next
		}
	})
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/pay/v1/refunds", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "order-7")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(resp.Body)
	for i := range 2 {
		if got, err := lines.ReadString('\n'); err != nil || got != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: %q %v", i, got, err)
		}
		next <- struct{}{}
	}
	if _, err := lines.ReadString('\n'); err != io.EOF {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	w.post("{}", "Idempotency-Key: order-7").is(t, 409, "already-completed")
	w.want(1)
}

func TestUnmatchedWrites(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t, nil, "", passRoutes, created)
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "PURGE"} {
			ask(t, method, w.url+"/pay/v1/customers", "{}", key7).is(t, 403, "proxy-unmatched-write")
		}
		ask(t, "PUT", w.url+"/pay/v1/refunds", "{}", key7).is(t, 403, "proxy-unmatched-write")
		w.want(0)
		ask(t, "POST", w.url+"/pay/v1/search/a/b", "{}").is(t, 201, "re_1")
		w.want(1)
	})
	t.Run("passed, and said so", func(t *testing.T) {
		w := newWorld(t, nil, "unmatched_writes: pass", passRoutes, created)
		ask(t, "POST", w.url+"/pay/v1/customers", "{}", key7).is(t, 201, "re_1")
		w.want(1)
		w.logs("a write was passed unguarded")
	})
	t.Run("no way around the guard", func(t *testing.T) {
		w := newWorld(t, nil, "unmatched_writes: pass", passRoutes, created)
		for _, path := range []string{
			"/pay/v1//refunds", "/pay/./v1/refunds", "/pay/v1/x/../refunds", "/pay/v1/x/%2e%2e/refunds", "/pay//v1/refunds", "/pay/v1%2frefunds",
			"/pay/v1/refunds;v=1", "/pay/v1%5crefunds", "/pay/v1/refunds//", "/pay/v1/x/%2e%2e%2frefunds", "/pay/v1%2500/refunds", "/pay/../pay/v1/refunds",
		} {
			ask(t, "POST", w.url+path, "{}").is(t, 400, "proxy-path-ambiguous")
		}
		ask(t, "POST", w.url+"/pay/v1/refunds/", "{}").is(t, 400, "key-missing") // it is guarded
		ask(t, "POST", w.url+"/pay/v1/%72efunds", "{}").is(t, 400, "key-missing")
		for _, h := range []string{"X-HTTP-Method-Override: POST", "X-Method-Override: POST", "X-HTTP-Method: POST"} {
			ask(t, "GET", w.url+"/pay/v1/refunds", "{}", h).is(t, 400, "proxy-method-override")
		}
		w.want(0)
	})
}

func TestDestinations(t *testing.T) {
	w := newWorld(t, nil, "", refunds, created)
	elsewhere := 0
	other, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ })}
	go func() { _ = srv.Serve(other) }()
	t.Cleanup(func() { _ = srv.Close() })
	at := other.Addr().String()
	for _, tt := range []struct {
		name, line, host string
		status           int
		text             string
	}{
		{"CONNECT", "CONNECT " + at + " HTTP/1.1", at, 400, "proxy-form-refused"},
		{"absolute form", "GET http://" + at + "/pay/v1 HTTP/1.1", at, 400, "proxy-form-refused"},
		{"absolute form of a write", "POST http://" + at + "/pay/v1/refunds HTTP/1.1", at, 400, "proxy-form-refused"},
		{"two slashes", "GET //" + at + "/pay/v1 HTTP/1.1", "localhost", 404, "proxy-no-upstream"},
		{"TRACE", "TRACE /pay/v1 HTTP/1.1", "localhost", 400, "proxy-form-refused"},
		{"asterisk", "OPTIONS * HTTP/1.1", "localhost", 400, "proxy-form-refused"},
		{"another name", "GET /pay/v1 HTTP/1.1", "evil.example", 421, "proxy-host-refused"},
		{"at sign", "GET /pay@" + at + "/v1 HTTP/1.1", "localhost", 404, "proxy-no-upstream"},
		{"prefix of a prefix", "GET /payments HTTP/1.1", "localhost", 404, "proxy-no-upstream"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw(t, w.url, tt.line+"\r\nHost: "+tt.host+"\r\nContent-Length: 0\r\n\r\n").is(t, tt.status, tt.text)
		})
	}
	w.want(0)
	if elsewhere != 0 {
		t.Errorf("%d requests went elsewhere", elsewhere)
	}
	ask(t, "GET", w.url+"/pay/v1/x?a=b", "", "Host: localhost:7070").is(t, 201, "re_1")
	if r, _ := w.last(); r.Host != strings.TrimPrefix(w.up.URL, "http://") || r.URL.RequestURI() != "/api/v1/x?a=b" {
		t.Errorf("the upstream got host %s, %s", r.Host, r.URL.RequestURI())
	}
}

// raw sends bytes as they are and returns the first answer.
func raw(t *testing.T, url, text string) reply {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, max(0, resp.ContentLength)))
	return reply{resp.StatusCode, resp.Header, string(body)}
}

// TestSmuggling: what two servers could cut into requests differently becomes
// one request of our own framing, or none.
func TestSmuggling(t *testing.T) {
	const smuggled = "POST /pay/v1/refunds HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: smuggled\r\nContent-Length: 0\r\n\r\n"
	const start = "POST /pay/v1/refunds HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: order-7\r\n"
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled)
	for _, tt := range []struct {
		name, text string
		status     int
		reached    int
	}{
		{"two lengths", start + "Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello", 400, 0},
		{"signed length", start + "Content-Length: +5\r\n\r\nhello", 400, 0},
		{"unknown coding", start + "Transfer-Encoding: xchunked\r\n\r\n" + chunked, 501, 0},
		{"coding after chunked", start + "Transfer-Encoding: chunked, identity\r\n\r\n" + chunked, 501, 0},
		{"space before the colon", start + "Transfer-Encoding : chunked\r\n\r\n" + chunked, 400, 0},
		{"a line without CR in a value", start + "X-A: b\rc\r\n\r\n", 400, 0},
		{"chunked", start + "Transfer-Encoding: chunked\r\n\r\n" + chunked, 201, 1},
		{"length and chunked", start + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunked, 201, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil, "", refunds, created)
			raw(t, w.url, tt.text).is(t, tt.status, "")
			w.want(tt.reached)
			if tt.reached == 0 {
				return
			}
			r, body := w.last()
			if r.Header.Get("Idempotency-Key") != "order-7" || body != smuggled || len(r.TransferEncoding) != 0 || r.ContentLength != int64(len(smuggled)) {
				t.Errorf("the upstream got %v, coding %v, length %d, body %q", r.Header, r.TransferEncoding, r.ContentLength, body)
			}
		})
	}
}

func TestHopByHop(t *testing.T) {
	for name, path := range map[string]string{"guarded": "/v1/refunds", "passed": "/v1/search/x"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, "", passRoutes, func(rw http.ResponseWriter, _ *http.Request) {
				// net/http's server would put its own Connection header.
				conn, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: X-Hop-Answer\r\nX-Hop-Answer: 1\r\nProxy-Authenticate: Basic\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok")
				_ = conn.Close()
			})
			got := ask(t, "POST", w.url+"/pay"+path, "{}", key7, "Connection: X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "X-Kept: 1")
			got.is(t, 200, "ok")
			r, _ := w.last()
			for _, h := range []string{"X-Hop", "Keep-Alive", "Proxy-Connection", "X-Forwarded-For", "Forwarded"} {
				if r.Header.Get(h) != "" {
					t.Errorf("%s went to the upstream", h)
				}
			}
			for _, h := range []string{"X-Hop-Answer", "Proxy-Authenticate"} {
				if got.header.Get(h) != "" {
					t.Errorf("%s went to the caller", h)
				}
			}
			if r.Header.Get("X-Kept") != "1" || got.header.Get("X-Kept") != "1" {
				t.Error("a header of the message itself was dropped")
			}
		})
	}
}

func TestUpgrades(t *testing.T) {
	echo := func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(rw, "plain")
			return
		}
		conn, rw2, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.CopyN(conn, rw2, 4)
	}
	const ask101 = "GET /pay/v1/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t, nil, "", refunds, echo)
		raw(t, w.url, ask101).is(t, 501, "proxy-upgrade-refused")
		w.want(0)
	})
	t.Run("an offer of HTTP/2 is dropped", func(t *testing.T) {
		w := newWorld(t, nil, "", refunds, echo)
		raw(t, w.url, strings.Replace(strings.Replace(ask101, "websocket", "h2c", 1), "Connection: Upgrade", "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA", 1)).is(t, 200, "plain")
		if r, _ := w.last(); r.Header.Get("Http2-Settings") != "" {
			t.Error("HTTP2-Settings went to the upstream")
		}
	})
	t.Run("passed", func(t *testing.T) {
		w := newWorld(t, nil, "upgrades: pass", refunds, echo)
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, ask101)
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 101 {
			t.Fatal(resp, err)
		}
		_, _ = io.WriteString(conn, "ping")
		got := make([]byte, 4)
		if _, err := io.ReadFull(br, got); err != nil || string(got) != "ping" {
			t.Errorf("%q %v", got, err)
		}
	})
}

// TestPassedWriteIsSentOnce: also outside of the guard, net/http must not send a
// write again by itself.
func TestPassedWriteIsSentOnce(t *testing.T) {
	drop := false
	w := newWorld(t, nil, "unmatched_writes: pass", refunds, func(rw http.ResponseWriter, r *http.Request) {
		if !drop {
			created(rw, r)
			return
		}
		conn, _, err := http.NewResponseController(rw).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	})
	ask(t, "POST", w.url+"/pay/v1/customers", "", key7).is(t, 201, "")
	drop = true
	ask(t, "POST", w.url+"/pay/v1/customers", "", key7).is(t, 502, "proxy-upstream-failed")
	w.want(2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := try(ctx, "POST", w.url+"/pay/v1/customers", ""); err == nil {
		t.Error("a cancelled request was answered")
	}
}
