package cutproxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Proxy forwards connections to one PostgreSQL server. Safe for concurrent use.
type Proxy struct {
	target string
	addr   string
	closed chan struct{}
	wg     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while connections are refused
	rules    []*Handle
	links    map[*link]struct{}
	accepted int
	healed   chan struct{} // nil, or closed when the partition is over
}

// New starts a proxy in front of host:port for one test. It ends at cleanup,
// with all its connections.
func New(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("cutproxy: %v", err)
		}
	})
	return p
}

// Listen starts a proxy in front of host:port, on a free port of loopback. The
// target need not be there yet. The caller closes the proxy.
func Listen(target string) (*Proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cutproxy: %w", err)
	}
	p := &Proxy{
		target: target,
		addr:   ln.Addr().String(),
		closed: make(chan struct{}),
		links:  make(map[*link]struct{}),
	}
	return p, p.serve(ln)
}

// Addr returns the host:port to dial. It stays the same.
func (p *Proxy) Addr() string { return p.addr }

// URL returns a postgres:// URL with the proxy in the place of the server. It
// panics if raw is not a URL.
func (p *Proxy) URL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	u.Host = p.addr
	return u.String()
}

// Add adds a rule. Connections that are already open follow it too.
func (p *Proxy) Add(r Rule) *Handle {
	if r.When == nil || r.Do.kind == 0 {
		panic("cutproxy: a rule needs When and Do")
	}
	left := r.Times
	if left == 0 {
		left = 1
	}
	h := &Handle{proxy: p, rule: r, skip: r.Skip, left: left, hits: make(chan Frame, 64)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, h)
	return h
}

// match returns the rule to act on a frame, and counts it.
func (p *Proxy) match(f Frame) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.rules {
		if h.left == 0 || !h.rule.When(f) {
			continue
		}
		if h.skip > 0 {
			h.skip--
			continue
		}
		if h.left > 0 {
			h.left--
		}
		return h
	}
	return nil
}

// Accepted returns how many connections the proxy has accepted so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// CutAll cuts every open connection and returns how many there were. A held
// frame survives it and can still be released.
func (p *Proxy) CutAll(how How) int {
	p.mu.Lock()
	var open []*link
	for k := range p.links {
		open = append(open, k)
	}
	p.mu.Unlock()
	n := 0
	for _, k := range open {
		if k.sever(how) {
			n++
		}
	}
	return n
}

// Partition stops all traffic, of new connections too, without loss: what is
// sent meanwhile arrives after Heal. Connections stay open.
func (p *Proxy) Partition() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.healed == nil {
		p.healed = make(chan struct{})
	}
}

// Heal ends a partition.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.healed != nil {
		close(p.healed)
		p.healed = nil
	}
}

// wait returns when there is no partition, or false when the proxy closes.
func (p *Proxy) wait() bool {
	for {
		p.mu.Lock()
		healed := p.healed
		p.mu.Unlock()
		if healed == nil {
			return true
		}
		select {
		case <-healed:
		case <-p.closed:
			return false
		}
	}
}

// Refuse makes the proxy refuse new connections (ECONNREFUSED). Open ones go on.
func (p *Proxy) Refuse() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return nil
	}
	err := p.listener.Close()
	p.listener = nil
	return err
}

// Allow ends Refuse, on the same address.
func (p *Proxy) Allow() error {
	p.mu.Lock()
	busy := p.listener != nil
	p.mu.Unlock()
	if busy {
		return nil
	}
	// An outgoing connection of another process can borrow the port meanwhile.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		ln, err := net.Listen("tcp", p.addr)
		if err == nil {
			return p.serve(ln)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cutproxy: allow: %w", err)
		}
	}
}

var errClosed = errors.New("cutproxy: closed already")

func (p *Proxy) serve(ln net.Listener) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closed:
		return errors.Join(errClosed, ln.Close())
	default:
	}
	p.listener = ln
	p.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return // closed by Refuse or Close
			}
			p.wg.Go(func() { p.handle(conn.(*net.TCPConn)) })
		}
	})
	return nil
}

func (p *Proxy) handle(client *net.TCPConn) {
	server, err := net.DialTimeout("tcp", p.target, 10*time.Second)
	if err != nil {
		reset(client) // a server that is down is met as a lost connection
		return
	}
	p.mu.Lock()
	select {
	case <-p.closed:
		p.mu.Unlock()
		client.Close()
		server.Close()
		return
	default:
	}
	p.accepted++
	k := newLink(p, p.accepted, client, server.(*net.TCPConn))
	p.links[k] = struct{}{}
	p.mu.Unlock()
	k.run()
	p.mu.Lock()
	delete(p.links, k)
	p.mu.Unlock()
}

// Close ends the proxy and all its connections, and returns when every
// goroutine has ended. What is held is lost.
func (p *Proxy) Close() error {
	p.mu.Lock()
	select {
	case <-p.closed:
		p.mu.Unlock()
		return errClosed
	default:
	}
	close(p.closed)
	var err error
	if p.listener != nil {
		err = p.listener.Close()
		p.listener = nil
	}
	for k := range p.links {
		k.client.Close()
		k.server.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
	return err
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only on a connection that is gone
	_ = c.Close()
}
