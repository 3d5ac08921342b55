//go:build unix

package mcpproxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

// The client's end is not the call's.
func TestHTTPClientLeaves(t *testing.T) {
	gate := newFakeGate()
	arrived, release := make(chan struct{}), make(chan struct{})
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		_ = readAll(t, r)
		close(arrived)
		select {
		case <-release:
		case <-r.Context().Done():
			t.Error("the server was left")
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":1.5,"result":{}}`)
	})
	left := make(chan struct{})
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		go func() {
			<-ctx.Done()
			if context.Cause(ctx) != errCancelled {
				t.Errorf("the gate was told %v", context.Cause(ctx))
			}
			close(left)
		}()
		return gate.forward(context.WithoutCancel(ctx), c, up)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.post(ctx, payCall)
		ended <- err
	}()
	<-arrived
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	<-left
	close(release)
	gate.await(t, "settled")
	<-s.proxy.running.Idle()
	gate.quiet(t)
}

// A cancellation of a guarded call stays here, though the client waits on.
func TestHTTPCancellation(t *testing.T) {
	gate := newFakeGate()
	arrived := make(chan struct{})
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(readAll(t, r), "cancelled") {
			t.Error("the server got the cancellation")
		}
		close(arrived)
		<-r.Context().Done()
	})
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		_, _ = up(ctx, c.Params, c.Header) // may be cancelled
		return mcpcall.Reply{Result: json.RawMessage(`"` + context.Cause(ctx).Error() + `"`), Verdict: mcpcall.Uncertain}
	}
	text := make(chan string, 1)
	go func() {
		_, _, got := s.answer(payCall, "Mcp-Session-Id", "A")
		text <- got
	}()
	<-arrived
	if status, _, _ := s.answer(`{"method":"notifications/cancelled","params":{"requestId":15e-1}}`, "Mcp-Session-Id", "A"); status != http.StatusAccepted {
		t.Errorf("got %d", status)
	}
	if got := <-text; !strings.Contains(got, errCancelled.Error()) {
		t.Errorf("got %s", got)
	}
}

// A stream that ends before the answer is gone on with where the server has made
// that possible; its client sees one stream.
func TestHTTPResumes(t *testing.T) {
	gate := newFakeGate()
	n := 0
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		switch n++; n {
		case 1:
			_, _ = io.WriteString(w, "id: a\nretry: 1\ndata: \n\nda")
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			if r.Method != http.MethodGet || r.Header.Get("Last-Event-Id") != "a" || r.Header.Get("Authorization") != "Bearer one" || r.Header.Get("Mcp-Session-Id") != "S" {
				t.Errorf("the server got %s %v", r.Method, r.Header)
			}
			_, _ = io.WriteString(w, "id: b\ndata: {\"id\":1.5,\"result\":{}}\n\n")
		}
	})
	if _, _, text := s.answer(payCall, "Mcp-Session-Id", "S"); text != "id: a\nretry: 1\ndata: \n\nid: b\ndata: {\"id\":1.5,\"result\":{}}\n\n" {
		t.Errorf("got %q", text)
	}
	gate.await(t, "settled")
}

func TestHTTPStreamBreaks(t *testing.T) {
	gate := newFakeGate()
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"method\":\"m\"}\n\ndata: {\"id\":1.5,\"result\":{}}\n")
	})
	if _, _, text := s.answer(payCall); text != "data: {\"method\":\"m\"}\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1.5,\"result\":{\"isError\":true,\"verdict\":\"may have happened\"}}\n\n" {
		t.Errorf("got %q", text)
	}
	gate.await(t, "the stream ended")
}

// Events reach the client while the call runs, and the answer only when the gate
// has it.
func TestHTTPStreamsEvents(t *testing.T) {
	gate := newFakeGate()
	go1, settled := make(chan struct{}), make(chan struct{})
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"id\":1.5,\"method\":\"roots/list\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-go1
		_, _ = io.WriteString(w, "data: [{\"method\":\"m\"}, {\"id\":1.5,\"result\":{}}]\n\n")
	})
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		r := gate.forward(ctx, c, up)
		<-settled
		return r
	}
	resp, err := s.post(t.Context(), payCall)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := bufio.NewReader(resp.Body)
	if line, err := r.ReadString('\n'); line != "data: {\"id\":1.5,\"method\":\"roots/list\"}\n" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	close(go1)
	gate.await(t, "settled")
	close(settled)
	rest, _ := io.ReadAll(r)
	if string(rest) != "\nevent: message\ndata: {\"method\":\"m\"}\n\ndata: {\"id\":1.5,\"result\":{}}\n\n" {
		t.Errorf("got %q", rest)
	}
}

// A server that ends its stream well and without a word has said that the call
// must be asked again: the client gets just that, and the outcome is unknown.
func TestHTTPStreamEndsSilently(t *testing.T) {
	gate := newFakeGate()
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
	})
	if status, h, text := s.answer(payCall); status != 200 || text != "" || h.Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %d %v %q", status, h, text)
	}
	gate.await(t, "the stream ended")
	gate.quiet(t)
}

// A connection that breaks after the call was written is an unknown outcome, and
// the call is not sent again.
func TestHTTPConnectionBreaks(t *testing.T) {
	gate := newFakeGate()
	var got error
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		_, got = up(ctx, c.Params, c.Header)
		return mcpcall.Reply{Result: json.RawMessage(`"may have happened"`), Verdict: mcpcall.Uncertain}
	}
	var calls atomic.Int64
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_ = readAll(t, r)
		panic(http.ErrAbortHandler)
	})
	if status, _, text := s.answer(payCall, "Idempotency-Key", "K"); status != 200 || !strings.Contains(text, "may have happened") {
		t.Errorf("got %d %s", status, text)
	}
	if reflect.TypeOf(got) == reflect.TypeOf(onceguard.NotExecuted(got)) || calls.Load() != 1 {
		t.Errorf("after %d calls: %v", calls.Load(), got)
	}
}

// When a call was answered before its server did, what the server still says is
// for the receipt alone: the response is another's by then.
func TestHTTPAnsweredEarly(t *testing.T) {
	gate := newFakeGate()
	answered := make(chan struct{})
	s := newSite(t, gate, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-answered
		_, _ = io.WriteString(w, "data: {\"method\":\"late\"}\n\ndata: {\"id\":1.5,\"result\":{}}\n\n")
	})
	gate.do = func(ctx context.Context, c mcpcall.Call, up mcpcall.Upstream) mcpcall.Reply {
		started := make(chan struct{})
		go gate.forward(context.WithoutCancel(ctx), c, func(ctx context.Context, params json.RawMessage, h http.Header) (mcpcall.Reply, error) {
			close(started)
			return up(ctx, params, h)
		})
		<-started
		return mcpcall.Reply{Result: json.RawMessage(`"in flight"`), Verdict: mcpcall.InFlight}
	}
	r := httptest.NewRequest(http.MethodPost, "/mcp", strings.NewReader(payCall))
	r.Host = "localhost"
	r.Header.Set("Authorization", "x")
	w := httptest.NewRecorder()
	s.proxy.ServeHTTP(w, r)
	close(answered)
	gate.await(t, "settled")
	<-s.proxy.running.Idle()
	if got := w.Body.String(); got != `{"jsonrpc":"2.0","id":1.5,"result":"in flight"}` {
		t.Errorf("the client got %q", got)
	}
}
