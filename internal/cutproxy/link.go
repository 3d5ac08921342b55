package cutproxy

import (
	"bufio"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection: a client, its connection to the server, and a lane
// for each direction.
type link struct {
	proxy          *Proxy
	n              int
	client, server *net.TCPConn
	sql            *statements
	toServer       lane
	toClient       lane
	serverGone     chan struct{} // the server has closed its side
	swallowed      atomic.Bool   // the connection is a black hole
	severed        atomic.Bool
}

func newLink(p *Proxy, n int, client, server *net.TCPConn) *link {
	k := &link{proxy: p, n: n, client: client, server: server, sql: newStatements(), serverGone: make(chan struct{})}
	k.toServer = lane{link: k, dir: ToServer, dst: server}
	k.toClient = lane{link: k, dir: ToClient, dst: client}
	return k
}

// run forwards until both sides have closed and nothing is held.
func (k *link) run() {
	var wg sync.WaitGroup
	wg.Go(func() {
		k.pump(&k.toServer, k.client, k.open)
	})
	wg.Go(func() {
		k.pump(&k.toClient, k.server, nil)
		close(k.serverGone)
	})
	wg.Wait()
	for _, l := range []*lane{&k.toServer, &k.toClient} {
		if free := l.occupied(); free != nil {
			select {
			case <-free:
			case <-k.proxy.closed:
			}
		}
	}
	if k.swallowed.Load() {
		<-k.proxy.closed
	}
	k.client.Close()
	k.server.Close()
}

// pump reads frames of one direction and lets each take its step. opening reads
// what comes before the frames that have types.
func (k *link) pump(l *lane, src io.Reader, opening func(*bufio.Reader) error) {
	r := bufio.NewReader(src)
	if opening != nil {
		if err := opening(r); err != nil {
			k.finish(l)
			return
		}
	}
	for {
		f, err := readTyped(r)
		if err != nil {
			k.finish(l)
			return
		}
		if l.dir == ToServer {
			f.SQL = k.sql.fromClient(f)
		} else {
			f.SQL = k.sql.fromServer(f)
		}
		k.step(l, f)
	}
}

// finish passes the end of a stream on.
func (k *link) finish(l *lane) {
	if k.proxy.wait() && !k.swallowed.Load() {
		l.end()
	}
}

// open handles the frames that open a connection, until Startup has passed. No
// frame has a type before it.
func (k *link) open(r *bufio.Reader) error {
	for {
		f, err := readUntyped(r)
		if err != nil {
			return err
		}
		if f.Type == sslRequest || f.Type == gssencRequest {
			if _, err := k.client.Write([]byte{'N'}); err != nil {
				return err
			}
			continue
		}
		k.step(&k.toServer, f)
		if f.Type == CancelRequest {
			return io.EOF
		}
		return nil
	}
}

// step numbers a frame, asks the rules, and acts.
func (k *link) step(l *lane, f Frame) {
	l.index++
	f.Conn, f.Dir, f.Index, f.Offset = k.n, l.dir, l.index, l.offset
	l.offset += int64(f.Len())
	if !k.proxy.wait() || k.swallowed.Load() || l.keep(f) {
		return
	}
	h := k.proxy.match(f)
	if h == nil {
		l.forward(f)
		return
	}
	switch do := h.rule.Do; do.kind {
	case cutBefore:
		k.sever(do.how)
	case cutAfter:
		l.forward(f)
		k.sever(do.how)
	case cutInside:
		n := do.bytes
		if do.stream > 0 {
			n = int(do.stream - f.Offset)
		}
		l.part(f, min(n, f.Len()))
		k.sever(do.how)
	case blackHole:
		k.swallowed.Store(true)
	case delay:
		select {
		case <-time.After(do.delay):
		case <-k.proxy.closed:
			return
		}
		l.forward(f)
	case hold:
		l.hold(h, f)
	}
	h.acted(f)
}

// sever cuts the connection and reports whether it was whole before.
func (k *link) sever(how How) bool {
	if !k.severed.CompareAndSwap(false, true) {
		return false
	}
	k.toClient.discard()
	if how == Reset {
		reset(k.client)
	} else {
		_ = k.client.CloseWrite() // fails only if the client has gone already
	}
	k.toServer.end()
	return true
}
