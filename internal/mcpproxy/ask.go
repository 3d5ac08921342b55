package mcpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/onceguard/onceguard/internal/mcpwire"
)

// Revisions that a server is asked in: with a handshake, and without one.
const (
	revisionOld = "2025-11-25"
	revisionNew = "2026-07-28"
)

const (
	oldHello = `{"protocolVersion":"` + revisionOld + `","capabilities":{},"clientInfo":{"name":"onceguard","version":"1"}}`
	newMeta  = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + revisionNew + `","io.modelcontextprotocol/clientInfo":{"name":"onceguard","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
)

// maxPages bounds how many pages of tools are asked for.
const maxPages = 100

// asker sends requests to a server, one at a time. An error that is a refusal of
// the server's is a *serverError.
type asker interface {
	request(ctx context.Context, revision, method, params string) (result json.RawMessage, err error)
	notify(ctx context.Context, method string) error
}

type serverError struct{ text string }

func (e *serverError) Error() string { return "the server answered: " + e.text }

// ListStdio starts a server, asks it for its tools and ends it. It returns the
// results of tools/list, one for each page. The server's standard error goes to
// stderr.
func ListStdio(ctx context.Context, command, env []string, stderr io.Writer) ([]json.RawMessage, error) {
	c, err := start(command, env, stderr)
	if err != nil {
		return nil, &CannotStart{err}
	}
	defer c.end()
	defer context.AfterFunc(ctx, func() { _ = c.stdout.Close() })()
	list, err := tools(ctx, &pipeAsker{child: c, lines: mcpwire.NewLines(c.stdout, mcpwire.InspectLimit)})
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("the server did not answer in time: %w", context.Cause(ctx))
	}
	return list, err
}

// ListHTTP asks a server at a URL for its tools. header is sent with every
// request; it may hold Authorization.
func ListHTTP(ctx context.Context, at *url.URL, header http.Header) ([]json.RawMessage, error) {
	return tools(ctx, &httpAsker{at: at, header: header})
}

// tools asks for all pages: after a handshake, or in a revision that has none
// where the server refuses it.
func tools(ctx context.Context, to asker) (list []json.RawMessage, err error) {
	revision, meta := revisionOld, ""
	_, err = to.request(ctx, revision, "initialize", oldHello)
	var refused *serverError
	switch {
	case err == nil:
		err = to.notify(ctx, "notifications/initialized")
	case errors.As(err, &refused):
		revision, meta, err = revisionNew, newMeta, nil
	}
	cursor := ""
	for err == nil {
		params := meta
		if cursor != "" {
			if params != "" {
				params += ","
			}
			params += `"cursor":` + cursor
		}
		var result json.RawMessage
		if result, err = to.request(ctx, revision, methodList, "{"+params+"}"); err != nil {
			break
		}
		list = append(list, result)
		next, ok := mcpwire.Sole(result, "nextCursor")
		if !ok || string(next) == "null" || string(next) == `""` {
			return list, nil
		}
		if len(list) == maxPages {
			return nil, fmt.Errorf("the server has more than %d pages of tools", maxPages)
		}
		cursor = string(next)
	}
	return nil, err
}

// resultOf is the result in an answer.
func resultOf(m *mcpwire.Message) (json.RawMessage, error) {
	if m.Result != nil {
		return m.Result, nil
	}
	message, _ := mcpwire.Sole(m.Error, "message")
	text, _ := mcpwire.Text(message)
	return nil, &serverError{fmt.Sprintf("%.200q", text)}
}

type pipeAsker struct {
	child *child
	lines *mcpwire.Lines
	id    int
}

func (a *pipeAsker) request(_ context.Context, _, method, params string) (json.RawMessage, error) {
	a.id++
	id := fmt.Sprint(a.id)
	if _, err := fmt.Fprintf(a.child.stdin, `{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`+"\n", id, method, params); err != nil {
		return nil, fmt.Errorf("the server takes no requests: %w", err)
	}
	for {
		line, err := a.lines.Next()
		if err != nil {
			return nil, fmt.Errorf("the server ended or wrote too much before it answered %s: %w", method, err)
		}
		m := mcpwire.Parse(line)
		switch {
		case m.Kind == mcpwire.Response && mcpwire.IDKey(m.ID) == mcpwire.IDKey([]byte(id)):
			return resultOf(&m)
		case m.Kind == mcpwire.Request:
			answer := mcpwire.Failure(m.ID, mcpwire.ErrorObject(mcpwire.CodeMethodNotFound, "not supported"))
			if m.Method == "ping" {
				answer = mcpwire.Result(m.ID, []byte("{}"))
			}
			_, _ = a.child.stdin.Write(append(answer, '\n'))
		}
	}
}

func (a *pipeAsker) notify(_ context.Context, method string) error {
	_, err := fmt.Fprintf(a.child.stdin, `{"jsonrpc":"2.0","method":%q}`+"\n", method)
	return err
}

type httpAsker struct {
	at      *url.URL
	header  http.Header
	session string
	id      int
}

func (a *httpAsker) post(ctx context.Context, revision, method, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.at.String(), bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	for name, values := range a.header {
		r.Header[name] = values
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if method != "initialize" {
		r.Header.Set("Mcp-Protocol-Version", revision)
	}
	if revision == revisionNew {
		r.Header.Set("Mcp-Method", method)
	}
	if a.session != "" {
		r.Header.Set(headerSession, a.session)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the server cannot be reached: %s", brief(err))
	}
	return resp, nil
}

func (a *httpAsker) request(ctx context.Context, revision, method, params string) (json.RawMessage, error) {
	a.id++
	resp, err := a.post(ctx, revision, method, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`, a.id, method, params))
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if s := resp.Header.Get(headerSession); s != "" {
		a.session = s
	}
	var m mcpwire.Message
	if isEvents(resp.Header) {
		m, err = a.answer(resp.Body)
	} else {
		var body []byte
		body, err = io.ReadAll(io.LimitReader(resp.Body, mcpwire.InspectLimit))
		m = mcpwire.Parse(body)
	}
	switch {
	case m.Kind == mcpwire.Response:
		return resultOf(&m)
	case resp.StatusCode == http.StatusUnauthorized:
		return nil, errors.New("the server wants a credential (HTTP 401): give --authorization-file")
	case resp.StatusCode >= 400 && resp.StatusCode < 500:
		return nil, &serverError{fmt.Sprintf("HTTP %d", resp.StatusCode)}
	case err == nil:
		err = fmt.Errorf("HTTP %d without an answer to %s", resp.StatusCode, method)
	}
	return nil, err
}

func (a *httpAsker) answer(body io.Reader) (mcpwire.Message, error) {
	events := mcpwire.NewEvents(body, mcpwire.InspectLimit)
	for {
		ev, err := events.Next()
		if err != nil {
			return mcpwire.Message{}, fmt.Errorf("the stream ended before the answer: %s", brief(err))
		}
		if m := mcpwire.Parse(ev.Data); m.Kind == mcpwire.Response && mcpwire.IDKey(m.ID) == mcpwire.IDKey(fmt.Append(nil, a.id)) {
			return m, nil
		}
	}
}

func (a *httpAsker) notify(ctx context.Context, method string) error {
	resp, err := a.post(ctx, revisionOld, method, fmt.Sprintf(`{"jsonrpc":"2.0","method":%q}`, method))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
