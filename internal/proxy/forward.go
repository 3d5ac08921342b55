package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// maxResponseHeader bounds an upstream's response header, in bytes.
const maxResponseHeader = 256 << 10

// forwarder is the guarded handler of one route: it sends the request to the
// upstream once, and says what the answer means.
type forwarder struct {
	upstream *Upstream
	route    *Route
	sessions tls.ClientSessionCache
	pass     http.Handler // for requests that run unguarded for want of a key
	draining *atomic.Bool
}

// ServeHTTP implements http.Handler.
func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	attempt, guarded := httpguard.Attempt(r.Context())
	if !guarded {
		f.pass.ServeHTTP(w, r)
		return
	}
	if f.draining.Load() {
		httpguard.Release(r.Context(), "the proxy is stopping; nothing was sent")
		answer(w, problemDraining)
		return
	}
	resp, err := f.send(r, attempt)
	if err != nil {
		var surely notSent
		if errors.As(err, &surely) {
			httpguard.Release(r.Context(), "nothing was sent: "+surely.Error())
			answer(w, problemUnreachable)
			return
		}
		httpguard.SetOutcome(r.Context(), onceguard.StatusUnknown, "the upstream did not answer: "+broken(err))
		w.WriteHeader(http.StatusBadGateway) // the guard answers instead
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 599 {
		httpguard.SetOutcome(r.Context(), onceguard.StatusUnknown, fmt.Sprintf("the upstream answered HTTP %d", resp.StatusCode))
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	httpguard.SetOutcome(r.Context(), f.route.class(resp.StatusCode), fmt.Sprintf("the upstream answered HTTP %d", resp.StatusCode))
	dropHopByHop(resp.Header)
	for _, name := range []string{httpguard.HeaderReplayed, httpguard.HeaderStatus} {
		resp.Header.Del(name) // ours to say
	}
	maps.Copy(w.Header(), resp.Header)
	w.WriteHeader(resp.StatusCode)
	if err := copyBody(w, resp); err != nil {
		httpguard.SetOutcome(r.Context(), onceguard.StatusUnknown, fmt.Sprintf("the upstream answered HTTP %d and broke off: %s", resp.StatusCode, broken(err)))
	}
}

// notSent is an error of a request that no byte left the process of.
type notSent struct{ error }

func (n notSent) Unwrap() error { return n.error }

// send forwards the request on a connection of its own: net/http sends a
// request again when a kept connection turns out to be dead, and on a new one
// never. Redirects are the caller's to follow.
func (f *forwarder) send(r *http.Request, attempt *onceguard.Attempt) (*http.Response, error) {
	out, err := f.request(r, attempt)
	if err != nil {
		return nil, notSent{err}
	}
	return f.transmit(out.WithContext(r.Context()), attempt.Ready)
}

// transmit sends out, unless ready says no right before the first byte.
func (f *forwarder) transmit(out *http.Request, ready func() error) (*http.Response, error) {
	ctx, trace := onceguard.TraceWrites(out.Context())
	fence := &fence{ready: ready}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := f.upstream.base.connect(ctx, f.sessions)
		if err != nil {
			return nil, err
		}
		return fencedConn{conn, fence}, nil
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, DisableCompression: true, Protocols: protocols,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	resp, err := transport.RoundTrip(out.WithContext(ctx))
	switch {
	case err == nil:
		return resp, nil
	case fence.refused.Load():
		return nil, notSent{onceguard.ErrLeaseLost}
	case !trace.Wrote():
		return nil, notSent{err}
	}
	return nil, err
}

// request is what the upstream gets. The body is in memory, and its length is
// ours: whatever framing the caller used ends here.
func (f *forwarder) request(r *http.Request, attempt *onceguard.Attempt) (*http.Request, error) {
	h := r.Header.Clone()
	dropHopByHop(h)
	for _, name := range forwardedHeaders {
		h.Del(name)
	}
	h.Del("Expect")
	h.Del("Accept-Encoding") // the stored answer must be readable to every retry
	if _, named := h["User-Agent"]; !named {
		h.Set("User-Agent", "") // or net/http sends its own
	}
	if name := f.route.DownstreamKeyHeader; name != "" {
		key := attempt.DownstreamKey()
		if n := f.route.DownstreamKeyLength; n != 0 {
			var err error
			if key, err = attempt.DownstreamKeyLen(n); err != nil {
				return nil, err
			}
		}
		h.Set(name, key)
	}
	body := r.Body
	if r.ContentLength == 0 {
		body = http.NoBody
	}
	return &http.Request{
		Method: r.Method, URL: f.upstream.base.address(r.URL), Header: h, Body: body, ContentLength: r.ContentLength,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// fence asks once more, before the first byte, whether the lease still holds.
type fence struct {
	ready   func() error
	asked   atomic.Bool
	refused atomic.Bool
}

type fencedConn struct {
	net.Conn
	fence *fence
}

// Write implements net.Conn. One goroutine writes a request.
func (c fencedConn) Write(p []byte) (int, error) {
	if !c.fence.asked.Swap(true) {
		if err := c.fence.ready(); err != nil {
			c.fence.refused.Store(true)
			return 0, err
		}
	}
	if c.fence.refused.Load() {
		return 0, onceguard.ErrLeaseLost
	}
	return c.Conn.Write(p)
}

// copyBody copies as the bytes come, and lets events through at once: their
// caller waits for each, and the receipt is kept without them.
func copyBody(w http.ResponseWriter, resp *http.Response) error {
	events := strings.HasPrefix(strings.ToLower(resp.Header.Get("Content-Type")), "text/event-stream")
	if events {
		_ = http.NewResponseController(w).Flush()
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil && !errors.Is(werr, http.ErrBodyNotAllowed) {
				return werr
			}
			if events {
				_ = http.NewResponseController(w).Flush()
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// broken says how an exchange failed. It is stored, and net/http's own errors
// can quote what the upstream sent.
func broken(err error) string {
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "it took too long"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &op):
		return op.Op + " failed"
	}
	return "its answer could not be read"
}
