package httpguard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http/httptrace"
	"sync"

	"github.com/onceguard/onceguard"
)

// wire watches one call of Base.RoundTrip: whether it writes anything, and, at
// the last moment before it could, whether the attempt may still be started.
type wire struct {
	trace  *onceguard.WriteTrace
	ready  func() error
	repeat bool // the policy lets net/http send again
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	traced  bool  // Base reports to httptrace
	conns   int   // connections that it got
	reused  bool  // the last one was in use before
	stopped error // why a connection was not used
	clean   bool  // nothing was written before that
}

// errResend ends a request that net/http was about to send a second time.
var errResend = errors.New("httpguard: the connection broke after a part of the request was written, and the policy does not let it be sent again")

// watch returns the context to send with.
func watch(ctx context.Context, ready func() error, repeat bool, cancel context.CancelCauseFunc) (context.Context, *wire) {
	w := &wire{ready: ready, repeat: repeat, cancel: cancel}
	ctx, w.trace = onceguard.TraceWrites(ctx)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: w.getConn, GotConn: w.gotConn}), w
}

func (w *wire) getConn(string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.traced = true
}

// gotConn is the last point before the first byte. A canceled context alone does
// not keep net/http from writing an HTTP/1 request to the connection it has just
// got; a closed connection does. HTTP/2 looks at the context before it writes, and
// its connection carries other people's requests.
func (w *wire) gotConn(i httptrace.GotConnInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns++
	w.reused = i.Reused
	c, _ := i.Conn.(*tls.Conn)
	framed := c != nil && c.ConnectionState().NegotiatedProtocol == "h2"
	err := w.ready()
	if err == nil && framed && !w.repeat && w.trace.Wrote() {
		// Over HTTP/2 net/http repeats a request without a body whenever the peer
		// resets its stream with PROTOCOL_ERROR, which does not say that it was not
		// processed. Over HTTP/1 it does so only where no byte left: see outgoing.
		err = errResend
	}
	if err == nil {
		return
	}
	if w.stopped == nil {
		w.stopped, w.clean = err, !w.trace.Wrote()
	}
	w.cancel(err)
	if !framed {
		_ = i.Conn.Close()
	}
}

// classify says what a failure of Base means: NotExecuted where nothing left
// this process, else unknown.
func (w *wire) classify(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.stopped != nil && w.clean:
		return w.stopped
	case !w.traced:
		return err // nobody watched
	case w.conns == 1 && nothingWritten(err):
		return onceguard.NotExecuted(err)
	}
	return w.trace.Classify(err)
}

// again reports whether a failure that sent nothing deserves another connection:
// a kept-alive one that had died, which is no news about the provider.
func (w *wire) again(err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reused && w.stopped == nil && (!w.trace.Wrote() || nothingWritten(err))
}

// nothingWritten reports net/http's own finding that the connection took no byte
// of the request, which it counts below the buffer that httptrace reports from.
// The type has no exported name. Were it renamed, the failure would be unknown,
// as every other one is.
func nothingWritten(err error) bool { return fmt.Sprintf("%T", err) == "http.nothingWrittenError" }
