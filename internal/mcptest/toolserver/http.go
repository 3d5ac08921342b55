package toolserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/onceguard/onceguard/internal/mcptest"
)

const maxBody = 4 << 20 // bytes of a request body

// ServeHTTP listens on addr, a loopback address, until ctx ends. It keeps no
// sessions. A client that closes its connection cancels its request.
func ServeHTTP(ctx context.Context, c Config, addr string) error {
	s, err := newServer(ctx, c)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("toolserver: %w", err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	c.Ready(ln.Addr().String())
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("toolserver: %w", err)
	}
	return nil
}

func (s *server) serve(w http.ResponseWriter, req *http.Request) {
	switch req.Method {
	case http.MethodPost:
		s.post(w, req)
	case http.MethodGet:
		s.listen(w, req)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// listen keeps a stream open for what concerns no request.
func (s *server) listen(w http.ResponseWriter, req *http.Request) {
	o := eventStream(w)
	s.mu.Lock()
	s.listeners[o] = true
	s.mu.Unlock()
	select {
	case <-req.Context().Done():
	case <-s.done.Done():
	}
	s.mu.Lock()
	delete(s.listeners, o)
	s.mu.Unlock()
	o.mu.Lock() // nobody may write to w once this returns
	o.write = func([]byte) error { return errHungUp }
	o.mu.Unlock()
}

// eventStream begins a stream of server-sent events.
func eventStream(w http.ResponseWriter) *outlet {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w).Flush
	_ = flush()
	return &outlet{write: func(frame []byte) error {
		if _, err := fmt.Fprintf(w, "event: message\ndata: %s\n\n", frame); err != nil {
			return err
		}
		return flush()
	}}
}

func (s *server) post(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		return
	}
	s.note(mcptest.Line{What: mcptest.Received, Raw: string(body)})
	f := frame{plain: s.config.Plain}
	if text := bytes.TrimSpace(body); len(text) > 0 && text[0] == '[' {
		s.batch(req.Context(), text, jsonAnswer(w))
		return
	}
	if err := json.Unmarshal(body, &f); err != nil {
		http.Error(w, "no JSON", http.StatusBadRequest)
		return
	}
	if f.Method != "tools/call" {
		if answer := s.plain(f); answer != "" {
			_ = jsonAnswer(w).send(answer)
		} else {
			w.WriteHeader(http.StatusAccepted)
		}
		return
	}
	ctx, end := s.begin(req.Context(), f)
	defer end()
	err = s.call(ctx, f, s.outletFor(w, f))
	if req.Context().Err() != nil {
		s.note(mcptest.Line{What: mcptest.Cancelled, ID: f.ID})
	}
	if err != nil {
		panic(http.ErrAbortHandler) // closes the connection
	}
}

// outletFor answers a call by JSON, or by events if more than one frame may come.
func (s *server) outletFor(w http.ResponseWriter, f frame) *outlet {
	var c call
	_ = json.Unmarshal(f.Params, &c)
	plan, _ := mcptest.ReadPlan(s.config.Plan) // call says what is wrong with it
	s.mu.Lock()
	mode := plan.Mode(c.Name, s.calls[c.Name]+1)
	s.mu.Unlock()
	if mode.Progress > 0 || mode.Twice {
		return eventStream(w)
	}
	return jsonAnswer(w)
}

func jsonAnswer(w http.ResponseWriter) *outlet {
	return &outlet{write: func(frame []byte) error {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write(frame)
		return err
	}}
}
