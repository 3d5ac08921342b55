//go:build unix

package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

// What is no guarded call passes: method, path, query, headers and body, and
// the answer likewise.
func TestHTTPPasses(t *testing.T) {
	type request struct {
		Method, URI, Body string
		Header            http.Header
	}
	got := make(chan request, 1)
	s := newSite(t, newFakeGate(), func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		for _, n := range []string{"User-Agent", "Content-Length", "Accept-Encoding"} {
			h.Del(n)
		}
		got <- request{r.Method, r.RequestURI, readAll(t, r), h}
		w.Header().Set("Mcp-Session-Id", "S1")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "raw {")
	})
	for name, c := range map[string]struct{ method, uri, wantURI, body string }{
		"request":      {"POST", "/mcp?a=%2F", "/mcp?a=%2F", `{"id":9007199254740993,"method":"x", "y":1.0}`},
		"root":         {"POST", "/", "/mcp", `{"method":"initialize","id":1}`},
		"other path":   {"GET", "/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource/mcp", ""},
		"passing call": {"POST", "/mcp", "/mcp", `{"id":1,"method":"tools/call","params":{"name":"pass","a":1,"a":1}}`},
		"batch":        {"POST", "/mcp", "/mcp", `[{"id":1,"method":"x"},{"id":2,"method":"tools/call","params":{"name":"pass"}}]`},
		"no JSON":      {"POST", "/mcp", "/mcp", `{"id":`},
		"end":          {"DELETE", "/mcp", "/mcp", ""},
		"cancellation": {"POST", "/mcp", "/mcp", `{"method":"notifications/cancelled","params":{"requestId":7}}`},
		"large":        {"POST", "/mcp", "/mcp", `{"id":1,"method":"x","params":"` + strings.Repeat("x", 2<<20) + `"}`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, s.url+c.uri, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			want := http.Header{"Authorization": {"Bearer x"}, "Mcp-Session-Id": {"S1"}, "Last-Event-Id": {"7"}, "Mcp-Method": {"x"}, "Mcp-Name": {"n"}, "Mcp-Param-A": {"1", "2"}, "Origin": {"https://app.example.com"}}
			r.Header = want.Clone()
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if diff := cmp.Diff(request{c.method, c.wantURI, c.body, want}, <-got); diff != "" {
				t.Errorf("(-want +got)\n%.900s", diff)
			}
			if b, _ := io.ReadAll(resp.Body); string(b) != "raw {" || resp.StatusCode != http.StatusAccepted || resp.Header.Get("Mcp-Session-Id") != "S1" {
				t.Errorf("got %d %q", resp.StatusCode, b)
			}
		})
	}
}

func TestHTTPRefuses(t *testing.T) {
	s := newSite(t, newFakeGate(), func(w http.ResponseWriter, r *http.Request) { t.Errorf("the server got %s", readAll(t, r)) })
	for name, c := range map[string]struct {
		body   string
		pairs  []string
		status int
		want   string
	}{
		"foreign host":   {payCall, []string{"Host", "evil.example.com"}, 403, textHost},
		"foreign origin": {payCall, []string{"Origin", "https://evil.example.com"}, 403, textOrigin},
		"null origin":    {payCall, []string{"Origin", "null"}, 403, textOrigin},
		"no caller":      {payCall, []string{"Authorization", ""}, 401, "no credential"},
		"encoded":        {payCall, []string{"Content-Encoding", "gzip"}, 415, textEncoding},
		"guarded batch":  {`[{"id":1,"method":"tools/call","params":{"name":"pay"}},{"id":2,"method":"x"}]`, nil, 400, `"id":2,"error"`},
		"two in a body":  {payCall + payCall, nil, 400, textUnreadable},
		"two names":      {`{"id":1,"method":"tools/call","params":{"name":"pass","Name":"pay"}}`, nil, 400, textNoName},
		"large call":     {`{"method":"tools/call","params":{"name":"pay","arguments":"` + strings.Repeat("x", 2<<20) + `"},"id":1}`, nil, 413, textTooLarge2},
		"own tool":       {`{"id":1,"method":"tools/call","params":{"name":"own"}}`, nil, 200, `"result":{"name":"own"}`},
		"no id":          {`{"method":"tools/call","params":{"name":"pay"}}`, nil, 202, ``},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, text := s.answer(c.body, c.pairs...)
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("got %d %s", status, text)
			}
		})
	}
	for _, host := range []string{"localhost:1", "127.0.0.1", "[::1]:80", "MCP.internal"} {
		if !s.proxy.knownHost(host) {
			t.Errorf("%s is not known", host)
		}
	}
	for _, origin := range []string{"http://localhost:3000", "http://127.0.0.1", "http://[::1]:5", "https://app.example.com"} {
		if !s.proxy.knownOrigin([]string{origin}) {
			t.Errorf("%s is not known", origin)
		}
	}
}

// A guarded call goes out as it came and its answer comes back as it was.
func TestHTTPGuarded(t *testing.T) {
	for name, c := range map[string]struct{ kind, body string }{
		"document": {"application/json; charset=utf-8", ` {"result":{"content":[1.0]} ,"x":1,"id":1.5}` + "\n"},
		"events":   {"text/event-stream", "id: 0\r\nretry: 10\r\ndata: \r\n\r\n: ping\n\nevent: message\ndata: {\"method\":\"notifications/progress\"}\n\nid: 2\ndata: {\"id\":1.5,\ndata: \"result\":{}}\n\n"},
		"error":    {"application/json", `{"id":null,"error":{"code":-32602,"message":"x"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			gate := newFakeGate()
			s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
				if b := readAll(t, r); b != payCall || r.Header.Get("Mcp-Name") != "pay" || r.Header.Get("Authorization") != "Bearer one" || r.Header.Get("Accept-Encoding") != "" {
					t.Errorf("the server got %q %v", b, r.Header)
				}
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Mcp-Session-Id", "S")
				_, _ = io.WriteString(w, c.body)
			})
			status, header, text := s.answer(payCall, "Mcp-Name", "pay")
			if status != 200 || text != c.body || header.Get("Content-Type") != c.kind || header.Get("Mcp-Session-Id") != "S" {
				t.Errorf("got %d %v %q", status, header, text)
			}
			gate.await(t, "settled")
		})
	}
}

func TestHTTPVerdict(t *testing.T) {
	gate := newFakeGate()
	gate.do = func(_ context.Context, c mcpcall.Call, _ mcpcall.Upstream) mcpcall.Reply {
		if c.Principal != "Bearer one" || c.Header.Get("Idempotency-Key") != "K" {
			t.Errorf("the gate got %+v", c)
		}
		return mcpcall.Reply{Result: json.RawMessage(`{"again":1.0}`), Verdict: mcpcall.Replayed}
	}
	s := newSite(t, gate, func(http.ResponseWriter, *http.Request) { t.Error("the server was called") })
	if status, h, text := s.answer(payCall, "Idempotency-Key", "K"); status != 200 || text != `{"jsonrpc":"2.0","id":1.5,"result":{"again":1.0}}` || h.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s", status, text)
	}
}

// What the gate changes in params and headers is what the server gets.
func TestHTTPRewrites(t *testing.T) {
	gate := newFakeGate()
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		h := c.Header.Clone()
		h.Set("Idempotency-Key", "derived")
		r, err := up(ctx, json.RawMessage(`{"name":"pay","key":1}`), h)
		if err != nil {
			t.Error(err)
		}
		return r
	}
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		if b := readAll(t, r); !strings.Contains(b, `"params":{"name":"pay","key":1}}`) || r.Header.Get("Idempotency-Key") != "derived" {
			t.Errorf("the server got %s %v", b, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":1.5,"result":{}}`)
	})
	if _, _, text := s.answer(payCall); text != `{"id":1.5,"result":{}}` {
		t.Errorf("got %s", text)
	}
}

// The list is changed in either form, and the rest of the answer is not.
func TestHTTPList(t *testing.T) {
	for kind, c := range map[string][2]string{
		"application/json":  {`{"x":1.0,"result":{"tools":[]},"id":1}`, "{\"x\":1.0,\"result\":{\"tools\":[\"added\"]},\"id\":1}"},
		"text/event-stream": {": c\n\nid: 1\ndata: {\"result\":{\"tools\":[]},\"id\":1}\n\ndata: {\"id\":2}\n\n", ": c\n\nid: 1\ndata: {\"result\":{\"tools\":[\"added\"]},\"id\":1}\n\ndata: {\"id\":2}\n\n"},
	} {
		s := newSite(t, newFakeGate(), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, c[0])
		})
		if _, _, text := s.answer(`{"id":1,"method":"tools/list"}`); text != c[1] {
			t.Errorf("got %q", text)
		}
	}
}

// The server's refusals before any work reach the client as they are; other
// failures are unknown outcomes. Redirections are not followed.
func TestHTTPStatuses(t *testing.T) {
	for status, sent := range map[int]bool{400: false, 401: false, 404: false, 429: false, 307: false, 302: true, 500: true, 503: true, 409: true, 202: true} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			gate := newFakeGate()
			errs := make(chan error, 1)
			gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
				_, err := up(ctx, c.Params, c.Header)
				errs <- err
				if sent {
					return mcpcall.Reply{Result: json.RawMessage(`"may have happened"`), Verdict: mcpcall.Uncertain}
				}
				return mcpcall.Reply{Result: json.RawMessage(`"not run"`), Verdict: mcpcall.NotRun}
			}
			calls := 0
			s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
				calls++
				w.Header().Set("WWW-Authenticate", "Bearer x")
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "text")
			})
			got, h, text := s.answer(payCall)
			if released := reflect.DeepEqual(<-errs, onceguard.NotExecuted(fmt.Errorf("the server refused the call with HTTP %d", status))); released == sent {
				t.Errorf("the gate was told that nothing happened: %v", released)
			}
			switch {
			case sent && (got != 200 || !strings.Contains(text, "may have happened")):
				t.Errorf("got %d %s", got, text)
			case !sent && status >= 400 && (got != status || text != "text" || h.Get("WWW-Authenticate") != "Bearer x"):
				t.Errorf("got %d %s", got, text)
			case status == 307 && (got != 502 || !strings.Contains(text, "correct --upstream")):
				t.Errorf("got %d %s", got, text)
			}
			if calls != 1 {
				t.Errorf("the server was called %d times", calls)
			}
		})
	}
}

func TestHTTPServerAway(t *testing.T) {
	gate := newFakeGate()
	s := newSite(t, gate, nil)
	s.upstream.Close()
	var got error
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		_, got = up(ctx, c.Params, c.Header)
		return mcpcall.Reply{Result: json.RawMessage(`{}`), Verdict: mcpcall.NotRun}
	}
	if status, _, _ := s.answer(payCall); status != 200 {
		t.Errorf("got %d", status)
	}
	if want := onceguard.NotExecuted(errors.New("")); reflect.TypeOf(got) != reflect.TypeOf(want) || !strings.Contains(got.Error(), "nothing was sent") {
		t.Errorf("got %v", got)
	}
	if status, _, text := s.answer(`{"id":1,"method":"x"}`); status != http.StatusBadGateway || !strings.Contains(text, textNoServer) {
		t.Errorf("got %d %s", status, text)
	}
}

// No connection came about the first time: it is tried once more.
func TestHTTPRetriesTheDial(t *testing.T) {
	gate := newFakeGate()
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":1.5,"result":{}}`)
	})
	dials := 0
	s.proxy.transmit.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials++; dials == 1 {
			return nil, errors.New("no route")
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	if _, _, text := s.answer(payCall); text != `{"id":1.5,"result":{}}` || dials != 2 {
		t.Errorf("got %s after %d dials", text, dials)
	}
}

// The transport of 2024-11-05 sends its clients to an address of its own.
func TestHTTPOldTransport(t *testing.T) {
	s := newSite(t, newFakeGate(), func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: endpoint\ndata: /messages?session=1\n\n")
	})
	resp, err := http.Get(s.url + "/sse")
	if err == nil {
		var b []byte
		b, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if bytes.Contains(b, []byte("/messages")) {
			t.Errorf("the client got %q", b)
		}
	}
	if err == nil {
		t.Error("the stream ended well")
	}
}

// A drain ends streams, refuses calls and waits for those that run.
func TestHTTPDrain(t *testing.T) {
	gate := newFakeGate()
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "data: {\"id\":1.5,\"result\":{}}\n\n")
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + ln.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.proxy.Serve(ctx, ln, patience) }()
	streams := make(chan struct{})
	go func() {
		defer close(streams)
		resp, err := http.Get(s.url + "/mcp")
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}()
	<-arrived
	text := make(chan string, 1)
	go func() {
		_, _, got := s.answer(payCall)
		text <- got
	}()
	<-arrived
	stop()
	<-streams
	w := httptest.NewRecorder()
	s.proxy.ServeHTTP(w, func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(payCall))
		r.Host = "localhost"
		r.Header.Set("Authorization", "x")
		return r
	}())
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), textDraining) {
		t.Errorf("a call during the drain got %d %s", w.Code, w.Body)
	}
	close(release)
	if got := <-text; got != "data: {\"id\":1.5,\"result\":{}}\n\n" {
		t.Errorf("got %q", got)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("the proxy did not end")
	}
}
