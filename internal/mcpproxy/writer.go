package mcpproxy

import (
	"io"
	"sync"
)

// writer lets several goroutines write whole messages to one pipe. After a
// failure nothing more is written: half a message may be on the pipe.
type writer struct {
	mu  sync.Mutex
	w   io.Writer
	err error
}

// write writes one message, and says how many of its bytes left.
func (w *writer) write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	var n int
	n, w.err = w.w.Write(p)
	return n, w.err
}

// stream keeps the pipe for one message that comes in portions.
func (w *writer) stream(f func(io.Writer) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	w.err = f(w.w)
	return w.err
}
