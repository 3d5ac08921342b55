package mcpproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// How a stream that ended before its answer is taken up again (MCP 2025-11-25 and
// older, resumability): after what the server asks for, at most maxRetry, and so
// often when it does not answer.
const (
	usualRetry = time.Second
	maxRetry   = 30 * time.Second
	maxResumes = 5
)

// events reads the stream that answers a call. Where the server has given an
// event id, a stream that ends without the answer is gone on with, as a client
// would: servers may close it while the call runs.
func (p *HTTP) events(ctx context.Context, call *httpCall, header http.Header, first *http.Response) (mcpcall.Reply, error) {
	s := &stream{call: call, header: first.Header, wait: usualRetry}
	reply, err := s.read(first.Body, int(p.limit))
	if errors.Is(err, io.EOF) && s.silent() {
		call.mu.Lock()
		call.closed = &arrived{header: first.Header}
		call.mu.Unlock()
	}
	for failures := 0; err != nil && !errors.Is(err, mcpwire.ErrTooLarge); {
		if s.last == "" || ctx.Err() != nil || failures == maxResumes {
			return mcpcall.Reply{}, fmt.Errorf("the stream ended before the answer came: %s", brief(err))
		}
		timer := time.NewTimer(s.wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			continue
		}
		var resp *http.Response
		var failed error
		if resp, failed = p.resume(ctx, s, header); failed != nil {
			failures++
			err = failed
			continue
		}
		if resp.StatusCode != http.StatusOK || !isEvents(resp.Header) {
			_ = resp.Body.Close()
			if resp.StatusCode >= 500 {
				failures++
				continue
			}
			return mcpcall.Reply{}, fmt.Errorf("the stream ended before the answer came, and cannot be gone on with: HTTP %d", resp.StatusCode)
		}
		before := s.last
		reply, err = s.read(resp.Body, int(p.limit))
		_ = resp.Body.Close()
		if failures++; s.last != before {
			failures = 0
		}
	}
	if err != nil {
		return mcpcall.Reply{}, errors.New("the server's answer is larger than 16 MiB")
	}
	return reply, nil
}

func (p *HTTP) resume(ctx context.Context, s *stream, header http.Header) (*http.Response, error) {
	out := p.request(ctx, s.call, http.MethodGet, header, nil)
	for _, name := range []string{"Content-Type", "Idempotency-Key", "Mcp-Method", "Mcp-Name"} {
		out.Header.Del(name)
	}
	out.Header.Set("Accept", "text/event-stream")
	out.Header.Set("Last-Event-Id", s.last)
	return p.transmit.RoundTrip(out)
}

// stream is the answer to a call as it comes, over one connection or several.
type stream struct {
	call   *httpCall
	header http.Header
	last   string // id of the last event
	wait   time.Duration
}

// silent reports that nothing came at all.
func (s *stream) silent() bool {
	s.call.mu.Lock()
	defer s.call.mu.Unlock()
	return !s.call.begun && !s.call.failed && s.last == ""
}

// read passes events on until the answer comes.
func (s *stream) read(body io.Reader, limit int) (mcpcall.Reply, error) {
	events := mcpwire.NewEvents(body, limit)
	for {
		ev, err := events.Next()
		if err != nil {
			return mcpcall.Reply{}, err
		}
		if ev.HasID {
			s.last = ev.ID
		}
		if ev.Retry > 0 {
			s.wait = min(ev.Retry, maxRetry)
		}
		m := mcpwire.Parse(ev.Data)
		answer, others := s.call.pick(&m)
		if answer == nil {
			s.call.event(s.header, ev.Raw)
			continue
		}
		raw := ev.Raw
		if m.Kind == mcpwire.Batch {
			raw = ev.WithData(mcpwire.OneLine(answer.Raw))
		}
		for _, other := range others {
			s.call.event(s.header, mcpwire.DataEvent(mcpwire.OneLine(other)))
		}
		return s.call.arrive(&arrived{status: http.StatusOK, header: s.header, body: raw, events: true, message: *answer}), nil
	}
}

// pick finds the answer to the call in a message, and what else is in a batch.
func (c *httpCall) pick(m *mcpwire.Message) (answer *mcpwire.Message, others [][]byte) {
	mine := func(m *mcpwire.Message) bool {
		return m.Kind == mcpwire.Response && m.ID != nil && mcpwire.IDKey(m.ID) == mcpwire.IDKey(c.message.ID)
	}
	if mine(m) {
		return m, nil
	}
	for i := range m.Members {
		if member := &m.Members[i]; answer == nil && mine(member) {
			answer = member
		} else {
			others = append(others, member.Raw)
		}
	}
	return answer, others
}
