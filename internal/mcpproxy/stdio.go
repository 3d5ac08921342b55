package mcpproxy

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
	"github.com/onceguard/onceguard/internal/underway"
)

// Stdio proxies one client on a pair of pipes to a server that is a child
// process. All fields but Tools and Signals are required.
type Stdio struct {
	Gate           Gate
	Command        []string // the server and its arguments
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Signals are those that this process got. One that asks to end is passed on
	// once no guarded call is under way, a second one at once.
	Signals <-chan os.Signal
	Log     *slog.Logger
	// Tools is told the result of each tools/list, as the server gave it.
	Tools func(result json.RawMessage)

	limit int // tests make it smaller than mcpwire.InspectLimit
}

func (p *Stdio) inspected() int {
	if p.limit != 0 {
		return p.limit
	}
	return mcpwire.InspectLimit
}

// storeTime bounds what is stored beside a call: the evidence of delivery, and
// what became of tasks.
const storeTime = 10 * time.Second

// session is one run of a Stdio.
type session struct {
	*Stdio
	ctx       context.Context // keeps values; it does not end before the child
	child     *child
	toServer  writer
	toClient  writer
	running   underway.Count // guarded calls, and answers that are looked at
	signalled atomic.Bool

	mu       sync.Mutex
	calls    map[string]*guardedCall         // by the client's ids
	late     map[string]bool                 // calls that were given up: their answers are dropped
	watched  map[string]watched              // other requests of the client whose answers are looked at
	asked    map[string][]byte               // the server's requests that the client has not answered
	told     []mcpcall.Handle                // delivered and not acknowledged
	own      map[string]chan mcpwire.Message // what the proxy itself has asked the client
	elicits  bool                            // the client can ask its user
	draining bool
	silent   bool // the client has closed its end, with guarded calls under way
	gone     bool // the server's output has ended
}

// Run serves until the child has ended, and returns its exit status, as a shell
// has it. It returns a *CannotStart where nothing ran. When the client goes, or
// ctx ends, guarded calls that were forwarded are waited for, each for as long as
// its tool may take, before the child is ended. The gate stays open.
func (p *Stdio) Run(ctx context.Context) (int, error) {
	c, err := start(p.Command, p.Env, p.Stderr)
	if err != nil {
		return 0, &CannotStart{err}
	}
	s := &session{
		Stdio: p, ctx: context.WithoutCancel(ctx), child: c, toServer: writer{w: c.stdin}, toClient: writer{w: p.Stdout},
		calls: make(map[string]*guardedCall), late: make(map[string]bool), watched: make(map[string]watched), asked: make(map[string][]byte),
		own: make(map[string]chan mcpwire.Message),
	}
	clientEnded, serverEnded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(clientEnded)
		s.fromClient()
	}()
	go func() {
		defer close(serverEnded)
		s.fromServer()
	}()
	s.serve(ctx, clientEnded, serverEnded)
	_ = c.stdout.Close()
	<-serverEnded
	<-s.running.Idle()
	return c.status(), nil
}

// serve returns when the child has ended and its output is read.
func (s *session) serve(ctx context.Context, clientEnded, serverEnded <-chan struct{}) {
	stop, closed := ctx.Done(), serverEnded
	for {
		select {
		case <-s.child.exited:
			last := time.NewTimer(outputTime)
			defer last.Stop()
			select {
			case <-serverEnded:
			case <-last.C:
			}
			return
		case <-closed:
			closed = nil
			go s.child.end()
		case <-clientEnded:
			clientEnded = nil
			s.clientGone()
			go s.leave()
		case <-stop:
			stop = nil
			go s.leave()
		case sig := <-s.Signals:
			s.signal(sig)
		}
	}
}

// leave ends the child when nothing guarded is under way any more.
func (s *session) leave() {
	s.drain(true)
	<-s.running.Idle()
	s.child.end()
}

// drain refuses new guarded calls, or takes them again.
func (s *session) drain(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = on
}

func (s *session) signal(sig os.Signal) {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return
	}
	asks := n == syscall.SIGINT || n == syscall.SIGTERM || n == syscall.SIGQUIT || n == syscall.SIGHUP
	if !asks || s.signalled.Swap(true) {
		s.child.signal(n)
		return
	}
	s.drain(true)
	go func() {
		<-s.running.Idle()
		s.child.signal(n)
		if n == syscall.SIGHUP { // which many take as a wish to read their configuration
			s.drain(false)
			s.signalled.Store(false)
		}
	}()
}
