package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
)

// gate is a reader of output that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got.Write(p)
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// Somebody who pages through the output must not hold up the outcome.
func TestSlowReaderDoesNotHoldTheOutcome(t *testing.T) {
	r, w := pipe(t)
	slow := &gate{open: make(chan struct{})}
	s := newStream(r, slow, &budget{left: 8 << 20})
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	wrote := make(chan error, 1)
	go func() {
		_, err := w.Write(data)
		wrote <- errors.Join(err, w.Close())
	}()
	s.bound(queuedAtEnd)
	<-s.readAll // although nothing was passed on
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	kept, total, sum := s.freeze()
	if !bytes.Equal(kept, data) || total != int64(len(data)) || sum != digest(data) {
		t.Errorf("kept %d of %d bytes, digest %s", len(kept), total, sum)
	}
	close(slow.open)
	<-s.passedOn
	if !bytes.Equal(slow.got.Bytes(), data) {
		t.Errorf("passed on %d bytes, want %d", slow.got.Len(), len(data))
	}
}

// While the command runs, a slow reader slows it down: memory is bounded.
func TestSlowReaderSlowsTheCommand(t *testing.T) {
	r, w := pipe(t)
	slow := &gate{open: make(chan struct{})}
	s := newStream(r, slow, &budget{})
	const huge = 8 << 20
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.CopyN(w, zeros{}, huge)
		_ = w.Close()
	}()
	s.mu.Lock()
	for s.queued <= s.limit {
		s.changed.Wait()
	}
	queued := s.queued
	s.mu.Unlock()
	if most := queuedWhileRunning + 64<<10; queued > most {
		t.Errorf("%d bytes wait, want at most %d", queued, most)
	}
	select {
	case <-done:
		t.Error("the command wrote everything although nobody reads")
	default:
	}
	close(slow.open)
	<-s.passedOn
	<-done
	if slow.got.Len() != huge {
		t.Errorf("passed on %d bytes, want %d", slow.got.Len(), huge)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A reader that fails loses its output; the receipt does not.
func TestLostReader(t *testing.T) {
	r, w := pipe(t)
	s := newStream(r, broken{}, &budget{left: 100})
	if _, err := w.WriteString("kept"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	<-s.passedOn
	if kept, _, _ := s.freeze(); string(kept) != "kept" || !errors.Is(s.failure(), errBroken) {
		t.Errorf("kept %q, failure %v", kept, s.failure())
	}
}

var errBroken = errors.New("broken")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestBudgetIsShared(t *testing.T) {
	b := &budget{left: 10}
	if !b.take(6) || !b.take(4) || b.take(1) || b.take(0) || !b.over {
		t.Errorf("after 6, 4 and 1 of 10: %+v", b.left)
	}
}
