package toolserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/onceguard/onceguard/internal/mcptest"
)

// ServeStdio reads frames, one a line, until in ends, and then returns without
// waiting for calls under way: a server whose client has gone goes too.
func ServeStdio(ctx context.Context, c Config, in io.Reader, out io.Writer) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	s, err := newServer(ctx, c)
	if err != nil {
		return err
	}
	o := &outlet{write: func(frame []byte) error {
		_, err := out.Write(append(frame, '\n'))
		return err
	}}
	s.listeners[o] = true
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if text := bytes.TrimSpace(line); len(text) > 0 {
			s.note(mcptest.Line{What: mcptest.Received, Raw: string(line)})
			if text[0] == '[' {
				s.batch(ctx, text, o)
			} else {
				s.message(ctx, text, o)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("toolserver: %w", err)
		}
	}
}

// message takes one frame. Calls run beside each other, all else in order.
func (s *server) message(ctx context.Context, text []byte, o *outlet) {
	f := frame{plain: s.config.Plain}
	if err := json.Unmarshal(text, &f); err != nil {
		_ = o.send(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}`)
		return
	}
	if f.Method != "tools/call" {
		if answer := s.plain(f); answer != "" {
			_ = o.send(answer) // a client that left reads no answer
		}
		return
	}
	ctx, end := s.begin(ctx, f)
	go func() {
		defer end()
		_ = s.call(ctx, f, o) // an error is an answer that is not given
	}()
}

// begin registers a call, so that it can be cancelled.
func (s *server) begin(ctx context.Context, f frame) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	id := string(f.ID)
	s.mu.Lock()
	s.running[id] = func() {
		s.note(mcptest.Line{What: mcptest.Cancelled, ID: f.ID})
		cancel()
	}
	s.mu.Unlock()
	return ctx, func() {
		s.mu.Lock()
		delete(s.running, id)
		s.mu.Unlock()
		cancel()
	}
}

// batch takes an array of messages, as the revision 2025-03-26 has it, and
// answers with an array.
func (s *server) batch(ctx context.Context, text []byte, o *outlet) {
	var frames []frame
	if err := json.Unmarshal(text, &frames); err != nil {
		_ = o.send(`{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}`)
		return
	}
	var mu sync.Mutex
	var answers []string
	inside := &outlet{write: func(frame []byte) error {
		mu.Lock()
		defer mu.Unlock()
		answers = append(answers, string(frame))
		return nil
	}}
	for _, f := range frames {
		f.plain = s.config.Plain
		if f.Method == "tools/call" {
			_ = s.call(ctx, f, inside)
		} else if answer := s.plain(f); answer != "" {
			_ = inside.send(answer)
		}
	}
	if len(answers) > 0 {
		_ = o.send("[" + strings.Join(answers, ", ") + "]")
	}
}
