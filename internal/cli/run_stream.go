package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
	"sync"
)

// Bounds on output that was read and could not be passed on yet. While the
// command runs, a slow reader slows it down, as in any pipe. Once it has ended,
// everything it left in the pipe is read at once: its outcome must not wait for
// somebody who pages through the output.
const (
	queuedWhileRunning = 256 << 10
	queuedAtEnd        = 64 << 20
)

// budget is the room that the receipt has for both streams together.
type budget struct {
	mu   sync.Mutex
	left int64
	over bool
}

func (b *budget) take(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if int64(n) > b.left {
		b.over = true
	}
	if b.over {
		return false
	}
	b.left -= int64(n)
	return true
}

// stream passes one stream of the command on, live and whole, and keeps a copy
// within the budget.
type stream struct {
	src    *os.File
	dst    io.Writer
	budget *budget

	mu       sync.Mutex
	changed  sync.Cond
	queue    [][]byte
	queued   int
	limit    int
	ended    bool // the reader has come to the end
	kept     []byte
	frozen   bool // the copy is taken; later bytes only pass
	total    int64
	sum      hash.Hash
	lost     error // dst failed; the rest is captured and not passed on
	readAll  chan struct{}
	passedOn chan struct{}
}

func newStream(src *os.File, dst io.Writer, b *budget) *stream {
	s := &stream{src: src, dst: dst, budget: b, limit: queuedWhileRunning, sum: sha256.New(), readAll: make(chan struct{}), passedOn: make(chan struct{})}
	s.changed.L = &s.mu
	go s.read()
	go s.pass()
	return s
}

func (s *stream) read() {
	defer close(s.readAll)
	buf := make([]byte, 32<<10)
	for {
		n, err := s.src.Read(buf)
		s.mu.Lock()
		if n > 0 {
			s.take(append([]byte(nil), buf[:n]...))
		}
		if err != nil {
			s.ended = true
			s.changed.Broadcast()
			s.mu.Unlock()
			_ = s.src.Close()
			return
		}
		for s.queued > s.limit {
			s.changed.Wait()
		}
		s.mu.Unlock()
	}
}

// take is called with the mutex.
func (s *stream) take(chunk []byte) {
	if !s.frozen {
		s.total += int64(len(chunk))
		s.sum.Write(chunk)
		if s.budget.take(len(chunk)) {
			s.kept = append(s.kept, chunk...)
		} else {
			s.kept = nil
		}
	}
	s.queue = append(s.queue, chunk)
	s.queued += len(chunk)
	s.changed.Broadcast()
}

func (s *stream) pass() {
	defer close(s.passedOn)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.ended {
			s.changed.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			return
		}
		chunk := s.queue[0]
		s.queue = s.queue[1:]
		lost := s.lost
		s.mu.Unlock()
		if lost == nil {
			_, lost = s.dst.Write(chunk)
		}
		s.mu.Lock()
		s.lost = lost
		s.queued -= len(chunk)
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

// bound sets how much may wait to be passed on.
func (s *stream) bound(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	s.changed.Broadcast()
}

// freeze takes the copy for the receipt.
func (s *stream) freeze() (kept []byte, total int64, sum string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frozen = true
	return s.kept, s.total, hex.EncodeToString(s.sum.Sum(nil))
}

// failure says why output could not be passed on, if so.
func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}
