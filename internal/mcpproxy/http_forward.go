package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// forward sends a call to the server and reads its answer. What comes before the
// answer goes to the client as it comes.
func (p *HTTP) forward(ctx context.Context, call *httpCall, params json.RawMessage, header http.Header) (mcpcall.Reply, error) {
	body := call.message.Raw
	if !bytes.Equal(params, call.message.Params) {
		body = call.message.WithParams(params)
	}
	resp, err := p.send(ctx, call, header, body)
	if err != nil {
		return mcpcall.Reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode == http.StatusOK && isEvents(resp.Header):
		return p.events(ctx, call, header, resp)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return p.document(call, resp)
	case beforeWork(resp.StatusCode):
		text, _ := io.ReadAll(io.LimitReader(resp.Body, p.limit))
		call.mu.Lock()
		defer call.mu.Unlock()
		if resp.StatusCode >= 400 {
			call.refused = &arrived{status: resp.StatusCode, header: resp.Header, body: text}
		} else {
			// Whoever follows it leaves the proxy.
			call.refused = &arrived{
				status: http.StatusBadGateway, header: http.Header{"Content-Type": {"application/json"}},
				body: mcpwire.Failure(call.message.ID, mcpwire.ErrorObject(codeOurs, textRedirect)),
			}
		}
		return mcpcall.Reply{}, onceguard.NotExecuted(fmt.Errorf("the server refused the call with HTTP %d", resp.StatusCode))
	}
	return mcpcall.Reply{}, fmt.Errorf("the server answered HTTP %d", resp.StatusCode)
}

// beforeWork reports statuses of a server that has not looked at the message:
// the transport's own refusals (MCP, transports), and redirections that keep the
// method.
func beforeWork(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusNotAcceptable, http.StatusProxyAuthRequired, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusMisdirectedRequest, http.StatusUpgradeRequired, http.StatusTooManyRequests,
		http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// send sends the call, and once more where no connection came about.
func (p *HTTP) send(ctx context.Context, call *httpCall, header http.Header, body []byte) (*http.Response, error) {
	for again := false; ; again = true {
		traced, trace := onceguard.TraceWrites(ctx)
		resp, err := p.transmit.RoundTrip(p.request(traced, call, http.MethodPost, header, body))
		switch {
		case err == nil:
			return resp, nil
		case trace.Wrote():
			return nil, fmt.Errorf("the server did not answer: %s", brief(err))
		case again || ctx.Err() != nil:
			return nil, onceguard.NotExecuted(fmt.Errorf("the server cannot be reached, nothing was sent: %s", brief(err)))
		}
	}
}

// request is what the server gets: the client's own headers, but for those of
// its connection to this proxy.
func (p *HTTP) request(ctx context.Context, call *httpCall, method string, header http.Header, body []byte) *http.Request {
	if header == nil {
		header = call.request.Header
	}
	h := make(http.Header)
	copyHeader(h, header)
	h.Del("Accept-Encoding") // the answer must be readable here
	h.Del("Expect")
	h.Del("Content-Length")
	if _, named := h["User-Agent"]; !named {
		h.Set("User-Agent", "") // or net/http sends its own
	}
	out := &http.Request{Method: method, URL: p.address(call.request.URL), Header: h, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody}
	if body != nil {
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	return out.WithContext(ctx)
}

// document reads an answer that is one JSON document.
func (p *HTTP) document(call *httpCall, resp *http.Response) (mcpcall.Reply, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, p.limit+1))
	if err != nil {
		return mcpcall.Reply{}, fmt.Errorf("the server's answer broke off: %s", brief(err))
	}
	if int64(len(body)) > p.limit {
		return mcpcall.Reply{}, errors.New("the server's answer is larger than 16 MiB")
	}
	m := mcpwire.Parse(body)
	own := m.ID != nil && mcpwire.IDKey(m.ID) == mcpwire.IDKey(call.message.ID)
	nameless := m.Error != nil && (m.ID == nil || string(m.ID) == "null")
	if m.Kind != mcpwire.Response || !own && !nameless {
		return mcpcall.Reply{}, fmt.Errorf("the server answered HTTP %d without an answer to the call", resp.StatusCode)
	}
	return call.arrive(&arrived{status: resp.StatusCode, header: resp.Header, body: body, message: m}), nil
}

func (c *httpCall) arrive(a *arrived) mcpcall.Reply {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came = a
	return mcpcall.Reply{Result: a.message.Result, Error: a.message.Error}
}

// hopHeaders belong to one connection (RFC 9110, section 7.6.1).
var hopHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// copyHeader copies what travels through proxies.
func copyHeader(to, from http.Header) {
	drop := slices.Clone(hopHeaders)
	for _, line := range from["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			drop = append(drop, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range from {
		if !slices.Contains(drop, name) {
			to[name] = slices.Clone(values)
		}
	}
}
