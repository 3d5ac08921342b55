package cutproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// lane is one direction of a connection.
type lane struct {
	link *link
	dir  Direction
	dst  *net.TCPConn

	index  int // of the last frame; the pump's alone, as offset is
	offset int64

	mu    sync.Mutex    // held while writing, so that frames keep their order
	ended bool          // nothing more goes out
	free  chan struct{} // not nil while frames are held; closed on release
	held  []Frame
	eof   bool // the end came while frames were held
}

func (l *lane) forward(f Frame) { l.part(f, f.Len()) }

// part forwards the first n bytes of a frame.
func (l *lane) part(f Frame, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.write(f, n)
	}
}

// write needs l.mu. A failed write means that the destination has gone, which
// the pump that reads from it sees too.
func (l *lane) write(f Frame, n int) {
	if l.dir == ToServer {
		l.link.sql.sent(f)
	}
	_, _ = l.dst.Write(f.raw[:n])
}

// keep holds a frame back if those before it are held.
func (l *lane) keep(f Frame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == nil {
		return false
	}
	if !l.eof { // what a client sends after it was cut off is lost
		l.held = append(l.held, f)
	}
	return true
}

// hold starts holding at a frame, for a rule.
func (l *lane) hold(h *Handle, f Frame) {
	l.mu.Lock()
	l.free = make(chan struct{})
	l.held = []Frame{f}
	l.mu.Unlock()
	h.mu.Lock()
	h.held = append(h.held, l)
	h.mu.Unlock()
}

// occupied returns a channel that is closed on release, or nil if nothing is
// held.
func (l *lane) occupied() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.free
}

// discard makes the lane forward nothing more.
func (l *lane) discard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// end closes the destination's side behind what was written, now or when what
// is held has been released.
func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free != nil {
		l.eof = true
		return
	}
	l.ended = true
	_ = l.dst.CloseWrite() // fails only if the destination has gone already
}

// release writes what is held.
func (l *lane) release(ctx context.Context) error {
	l.mu.Lock()
	count := len(l.held)
	for _, f := range l.held {
		if !l.ended {
			l.write(f, f.Len())
		}
	}
	if l.eof {
		l.ended = true
		_ = l.dst.CloseWrite()
	}
	close(l.free)
	l.free, l.held = nil, nil
	l.mu.Unlock()
	if l.dir == ToClient {
		return nil
	}
	answered := l.link.sql.unanswered()
	if answered == nil {
		return nil
	}
	select {
	case <-answered:
		return nil
	case <-l.link.serverGone:
		return nil
	case <-l.link.proxy.closed:
		return fmt.Errorf("cutproxy: release: the proxy was closed before the server answered the %d frames", count)
	case <-ctx.Done():
		return fmt.Errorf("cutproxy: release: the server has not answered the %d frames: %w", count, context.Cause(ctx))
	}
}
