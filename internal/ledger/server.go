package ledger

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	shutdownTime = 5 * time.Second
	maxBody      = 1 << 20 // bytes of a request body
)

// Config says where a ledger listens and writes.
type Config struct {
	Addr  string            // loopback address with port; default 127.0.0.1:0
	File  string            // the ledger's file; required, created if missing
	Ready func(addr string) // called once it listens, with the actual address; optional
	// Modes are in force from the start, by op, as if /modes had set them: a
	// provider that was restarted goes on as it is. Optional.
	Modes map[string]Mode
}

// Run serves a ledger until ctx ends, and then returns nil. Held requests are
// dropped without an effect. One process at a time may use a file.
func Run(ctx context.Context, c Config) error {
	if c.File == "" {
		return errors.New("ledger: no file given")
	}
	addr, err := loopback(c.Addr)
	if err != nil {
		return err
	}
	j, records, err := openJournal(c.File)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return errors.Join(fmt.Errorf("ledger: %w", err), j.close())
	}
	s := &server{
		journal: j, book: newBook(records), ops: make(map[string]*op),
		changed: make(chan struct{}), done: make(chan struct{}),
	}
	for name, m := range c.Modes {
		if err := m.check(); err != nil {
			return errors.Join(fmt.Errorf("ledger: mode of %s: %w", name, err), ln.Close(), j.close())
		}
		o := s.op(name)
		o.own, o.plan = true, plan{modes: []Mode{m}}
	}
	srv := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	if c.Ready != nil {
		c.Ready(ln.Addr().String())
	}
	select {
	case err = <-served: // before ctx ended: the listener failed
	case <-ctx.Done():
	}
	close(s.done)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close() // a client that does not read its answer
	}
	s.handlers.Wait()
	return errors.Join(err, j.close())
}

// loopback checks that nobody outside this host can reach addr.
func loopback(addr string) (string, error) {
	if addr == "" {
		return "127.0.0.1:0", nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("ledger: address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() {
		return "", fmt.Errorf("ledger: address %q: want a loopback address, such as 127.0.0.1:0", addr)
	}
	return addr, nil
}

type server struct {
	done     chan struct{} // closed when the server stops
	handlers sync.WaitGroup

	mu       sync.Mutex
	journal  *journal
	book     *book
	ops      map[string]*op
	standard []Mode        // for ops without modes of their own
	changed  chan struct{} // closed and replaced by announce
}

// op is what the process knows about an op, beside the book.
type op struct {
	arrived int
	decided int
	own     bool // has modes of its own
	plan    plan
	release chan struct{} // closed by the next release
}

// op returns the entry for name. The lock must be held.
func (s *server) op(name string) *op {
	o := s.ops[name]
	if o == nil {
		o = &op{plan: plan{modes: s.standard}, release: make(chan struct{})}
		s.ops[name] = o
	}
	return o
}

// announce wakes those who wait for counts. The lock must be held.
func (s *server) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// enter writes r to the file and then into the book. The lock must be held.
func (s *server) enter(r Record) error {
	if err := s.journal.append(r); err != nil {
		return err
	}
	s.book.add(r)
	return nil
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /effects", s.apply)
	mux.HandleFunc("GET /effects", s.effects)
	mux.HandleFunc("GET /effects/by-key/{key}", s.byKey)
	mux.HandleFunc("POST /void/{key}", s.void)
	mux.HandleFunc("POST /modes", s.modes)
	mux.HandleFunc("POST /release/{op}", s.release)
	mux.HandleFunc("GET /progress", s.progress)
	mux.HandleFunc("GET /summary", s.summary)
	mux.HandleFunc("GET /history", s.history)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.handlers.Add(1)
		defer s.handlers.Done()
		mux.ServeHTTP(w, r)
	})
}
