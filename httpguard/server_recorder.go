package httpguard

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// recorder is the ResponseWriter that a guarded handler gets. It holds the
// response back until the receipt is stored. A handler that flushes, hijacks,
// declares trailers or writes more than the limit is passed through from then
// on: its client sees bytes before there is a receipt.
type recorder struct {
	limit int
	head  bool

	mu     sync.Mutex
	w      http.ResponseWriter // nil once ServeHTTP has returned without this handler
	live   http.Header         // what the handler sees
	status int                 // 0: not written
	sent   http.Header         // live as it was when the status was written
	buf    bytes.Buffer
	gap    string
	sum    hash.Hash // of a body that is not kept
	length int64
}

// newRecorder makes a recorder in front of w, or, where w is nil, one whose
// client is not there any more.
func newRecorder(w http.ResponseWriter, r *http.Request, limit int) *recorder {
	c := &recorder{limit: limit, head: r.Method == http.MethodHead, w: w}
	if w != nil {
		c.live = w.Header().Clone()
	}
	return c
}

// Header returns the response's headers.
func (c *recorder) Header() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live = make(http.Header)
	}
	return c.live
}

// WriteHeader keeps the status. Informational responses are dropped: they would
// reach the client before anything is stored.
func (c *recorder) WriteHeader(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeHeader(status)
}

func (c *recorder) writeHeader(status int) {
	if status < 100 || status > 999 {
		panic("httpguard: invalid status code " + strconv.Itoa(status)) // as net/http does
	}
	if c.status != 0 || (status < 200 && status != http.StatusSwitchingProtocols) {
		return
	}
	c.status = status
	c.sent = c.live.Clone()
	if c.sent == nil {
		c.sent = make(http.Header)
	}
	if len(c.sent["Trailer"]) > 0 {
		c.pass(gapStreamed)
	}
}

// Write keeps p, or passes it on.
func (c *recorder) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		c.writeHeader(http.StatusOK)
	}
	if c.gap == gapHijacked {
		return 0, http.ErrHijacked
	}
	if !bodyAllowed(c.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if c.gap == "" && c.buf.Len()+len(p) > c.limit {
		c.pass(gapTooLarge)
	}
	if c.gap == "" {
		return c.buf.Write(p)
	}
	c.send(p)
	return len(p), nil
}

// pass stops holding back: what there is goes out now.
func (c *recorder) pass(gap string) {
	c.gap, c.sum = gap, sha256.New()
	if c.w != nil {
		h := c.w.Header()
		clear(h)
		maps.Copy(h, c.sent)
		c.live = h // trailers are set on the real map
		c.w.WriteHeader(c.status)
	}
	c.send(c.buf.Bytes())
	c.buf = bytes.Buffer{}
}

// send forwards bytes of a body that is not kept. A client that has gone is not
// the handler's concern: an effect must not be cut short by it.
func (c *recorder) send(p []byte) {
	if len(p) == 0 {
		return
	}
	c.sum.Write(p)
	c.length += int64(len(p))
	if c.w != nil {
		_, _ = c.w.Write(p)
	}
}

// Flush passes the response through from now on.
func (c *recorder) Flush() { _ = c.FlushError() }

// FlushError is Flush for http.ResponseController.
func (c *recorder) FlushError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 {
		c.writeHeader(http.StatusOK)
	}
	switch {
	case c.gap == gapHijacked:
		return http.ErrHijacked
	case c.gap == "":
		c.pass(gapStreamed)
	}
	if c.w == nil {
		return nil
	}
	if err := http.NewResponseController(c.w).Flush(); errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Hijack hands over the connection.
func (c *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return nil, nil, errors.New("httpguard: the connection cannot be taken over, its request has been answered")
	}
	conn, rw, err := http.NewResponseController(c.w).Hijack()
	if err == nil {
		c.gap, c.sum = gapHijacked, sha256.New()
	}
	return conn, rw, err
}

// SetReadDeadline is for http.ResponseController.
func (c *recorder) SetReadDeadline(t time.Time) error {
	return c.control(func(rc *http.ResponseController) error { return rc.SetReadDeadline(t) })
}

// SetWriteDeadline is for http.ResponseController.
func (c *recorder) SetWriteDeadline(t time.Time) error {
	return c.control(func(rc *http.ResponseController) error { return rc.SetWriteDeadline(t) })
}

// control is refused after ServeHTTP: the connection may serve another request.
func (c *recorder) control(f func(*http.ResponseController) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w == nil {
		return http.ErrNotSupported
	}
	return f(http.NewResponseController(c.w))
}

// detach takes the client away from the handler. It is false when the client
// has part of the response already.
func (c *recorder) detach() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gap != "" {
		return false
	}
	c.w = nil
	return true
}

// passed reports whether the client has the handler's own response already.
func (c *recorder) passed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gap != "" && c.w != nil
}

// end closes the record when the handler has returned: the whole header for the
// client, and what the receipt will hold.
func (c *recorder) end(storable func(http.Header) []field) response {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == 0 && c.gap != gapHijacked {
		c.writeHeader(http.StatusOK)
	}
	p := response{status: c.status, gap: c.gap, length: c.length, body: c.buf.Bytes()}
	if c.gap == gapHijacked {
		p.status = http.StatusSwitchingProtocols // what was said is not known here
	}
	if c.gap != "" {
		c.sum.Sum(p.digest[:0])
		p.fields = storable(c.sent)
		return p
	}
	if _, named := c.sent["Content-Type"]; !named && len(p.body) > 0 && c.sent.Get("Content-Encoding") == "" {
		// net/http would find it while writing; the replay needs it as well.
		c.sent.Set("Content-Type", http.DetectContentType(p.body))
	}
	if bodyAllowed(c.status) && !c.head {
		c.sent.Set("Content-Length", strconv.Itoa(len(p.body)))
	}
	p.fields = storable(c.sent)
	return p
}

// deliver writes the handler's own response, held back until now.
func (c *recorder) deliver(w http.ResponseWriter, p response, pending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gap != "" {
		if pending && c.gap != gapHijacked {
			w.Header().Set(http.TrailerPrefix+HeaderStatus, receiptPending)
		}
		return
	}
	h := w.Header()
	clear(h)
	maps.Copy(h, c.sent)
	if pending {
		h.Set(HeaderStatus, receiptPending)
	}
	for name, values := range c.live {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			h[name] = values
			delete(h, "Content-Length") // trailers need chunks
		}
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(p.body)
}

// receiptPending is the value of HeaderStatus.
const receiptPending = "receipt-pending"

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
