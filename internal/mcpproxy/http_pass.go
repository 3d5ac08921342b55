package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"

	"github.com/onceguard/onceguard/internal/mcpwire"
)

// newPass forwards what is not guarded, both ways as the bytes come.
func (p *HTTP) newPass(transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL, pr.Out.Host = p.address(pr.In.URL), ""
		},
		Transport:      transport,
		FlushInterval:  -1,
		ModifyResponse: p.answered,
		ErrorLog:       log.New(io.Discard, "", 0), // its lines hold addresses with queries
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			p.Log.WarnContext(r.Context(), "the server did not answer a request that passes", "method", r.Method, "error", brief(err))
			refuseHTTP(w, http.StatusBadGateway, nil, textNoServer)
		},
	}
}

// watchedKey carries a watchedRequest through the reverse proxy.
type watchedKey struct{}

// watchedRequest is a request whose answer the gate sees.
type watchedRequest struct {
	watched
	id, principal string
}

// answered looks at what the server answered to a request that passes.
func (p *HTTP) answered(resp *http.Response) error {
	p.keepNear(resp)
	events := isEvents(resp.Header)
	w, seen := resp.Request.Context().Value(watchedKey{}).(watchedRequest)
	switch {
	case resp.Request.Method == http.MethodGet && events:
		resp.Body = &firstEvent{ReadCloser: resp.Body}
	case !seen || resp.StatusCode != http.StatusOK:
	case events:
		p.tap(resp, w)
	default:
		return p.rewrite(resp, w)
	}
	return nil
}

// keepNear keeps a redirection within the server on the way through the proxy:
// a client that followed it to the server itself would not be guarded there.
func (p *HTTP) keepNear(resp *http.Response) {
	at, err := resp.Location()
	if err != nil || at.Host != p.Upstream.Host || !strings.Contains(resp.Header.Get("Location"), "//") {
		return
	}
	at.Scheme, at.Host, at.User = "", "", nil
	resp.Header.Set("Location", at.String())
}

// rewrite shows a JSON answer to the gate.
func (p *HTTP) rewrite(resp *http.Response, w watchedRequest) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, p.limit+1))
	if err != nil {
		return err
	}
	if int64(len(body)) > p.limit { // passes unseen
		resp.Body = joined{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
		return nil
	}
	_ = resp.Body.Close()
	body = p.shown(resp.Request.Context(), w, body)
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

type joined struct {
	io.Reader
	io.Closer
}

// shown returns the bytes of a message as the client shall have them.
func (p *HTTP) shown(ctx context.Context, w watchedRequest, b []byte) []byte {
	m := mcpwire.Parse(b)
	if m.Kind != mcpwire.Response || m.ID == nil || mcpwire.IDKey(m.ID) != w.id {
		return b
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return seen(ctx, p.Gate, p.listed, w.principal, w.watched, &m, func(err error) {
		p.Log.WarnContext(ctx, "what became of a task was not stored", "error", err)
	})
}

// listed takes note of the server's own list of tools.
func (p *HTTP) listed(result json.RawMessage) {
	p.mirrors.learn(result)
	if p.Tools != nil {
		p.Tools(result)
	}
}

// tap shows the events of a stream to the gate as they pass.
func (p *HTTP) tap(resp *http.Response, w watchedRequest) {
	body, ctx := resp.Body, resp.Request.Context()
	r, out := io.Pipe()
	go func() {
		defer func() { _ = body.Close() }()
		events := mcpwire.NewEvents(body, int(p.limit))
		for {
			ev, err := events.Next()
			raw := ev.Raw
			if err == nil && len(ev.Data) > 0 {
				if data := p.shown(ctx, w, ev.Data); !bytes.Equal(data, ev.Data) {
					raw = ev.WithData(mcpwire.OneLine(data))
				}
			}
			if _, werr := out.Write(raw); werr != nil {
				return
			}
			switch {
			case errors.Is(err, mcpwire.ErrTooLarge): // passes unseen
				_, err = io.Copy(out, events.Rest())
				_ = out.CloseWithError(err)
				return
			case err != nil:
				_ = out.CloseWithError(err)
				return
			}
		}
	}()
	resp.Body = r
	resp.ContentLength = -1
	resp.Header.Del("Content-Length")
}

// firstEvent ends a stream that begins as the old transport does (HTTP+SSE, of
// 2024-11-05): its answers do not come where a call goes, and it may send clients
// past the proxy.
type firstEvent struct {
	io.ReadCloser
	begin []byte
	seen  bool
}

// Read implements io.Reader.
func (f *firstEvent) Read(b []byte) (int, error) {
	n, err := f.ReadCloser.Read(b)
	if !f.seen {
		f.begin = append(f.begin, b[:n]...)
		if bytes.Contains(bytes.ReplaceAll(f.begin, []byte(" "), nil), []byte("event:endpoint")) {
			return 0, errors.New("the server speaks the HTTP+SSE transport of 2024-11-05, which cannot be guarded")
		}
		if f.seen = len(f.begin) > 4096 || bytes.Contains(f.begin, []byte("data:")); f.seen {
			f.begin = nil
		}
	}
	return n, err
}

func isEvents(h http.Header) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(h.Get("Content-Type"))), "text/event-stream")
}
