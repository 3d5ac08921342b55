package cutproxy

import (
	"context"
	"errors"
	"sync"
	"time"
)

// How a cut looks to the client.
type How int

const (
	// Reset closes with RST: the client's next read or write fails.
	Reset How = iota
	// Close closes with FIN: the client reads all that was forwarded, then end of file.
	Close
)

// Action is what happens at a frame. Make one with the functions below.
type Action struct {
	kind   actionKind
	how    How
	bytes  int   // of the frame
	stream int64 // of the stream, where it is not 0
	delay  time.Duration
}

type actionKind int

const (
	cutBefore actionKind = iota + 1
	cutAfter
	cutInside
	blackHole
	delay
	hold
)

// CutBefore cuts the connection; the frame goes nowhere.
func CutBefore(how How) Action { return Action{kind: cutBefore, how: how} }

// CutAfter forwards the frame and cuts the connection.
func CutAfter(how How) Action { return Action{kind: cutAfter, how: how} }

// CutInside forwards the first n bytes of the frame, its header included, and
// cuts the connection.
func CutInside(n int, how How) Action { return Action{kind: cutInside, bytes: n, how: how} }

// BlackHole swallows the frame and all that follows on its connection, in both
// directions, for ever. The connection stays open on both sides, even when one
// of them closes it: a host that vanished.
func BlackHole() Action { return Action{kind: blackHole} }

// Delay forwards the frame later, and what follows in its direction after it.
func Delay(d time.Duration) Action { return Action{kind: delay, delay: d} }

// Hold keeps the frame and all that follows in its direction on its connection
// until [Handle.Release]. The other direction flows. If the client goes away
// meanwhile the server does not hear of it: what was held can still arrive, long
// after the client has given up and asked again.
func Hold() Action { return Action{kind: hold} }

// Rule says at which frames something happens. Where several rules match, the
// one that was added first wins.
type Rule struct {
	// When picks frames. It runs for one frame at a time over all connections,
	// so it may count; it must not call the proxy.
	When func(Frame) bool

	// Skip lets that many matching frames pass first: Skip 2 is the third one.
	Skip int

	// Times is how often the rule acts; 0 is once, negative is without end.
	Times int

	// Do is what happens.
	Do Action
}

// Handle is a rule that was added to a proxy.
type Handle struct {
	proxy *Proxy
	rule  Rule
	skip  int // guarded by proxy.mu, as left is
	left  int
	hits  chan Frame

	mu    sync.Mutex
	count int
	held  []*lane
}

// Hit delivers the frame each time the rule has acted: the connection is cut,
// the frame is held, or the delay is over. Beyond 64 that nobody received it
// only counts.
func (h *Handle) Hit() <-chan Frame { return h.hits }

// Count returns how often the rule has acted.
func (h *Handle) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// Remove makes the rule act no more. What it holds stays held.
func (h *Handle) Remove() {
	h.proxy.mu.Lock()
	defer h.proxy.mu.Unlock()
	h.left = 0
}

func (h *Handle) acted(f Frame) {
	h.mu.Lock()
	h.count++
	h.mu.Unlock()
	select {
	case h.hits <- f:
	default:
	}
}

// Release delivers what the rule holds, in order, and lets the traffic flow
// again. For frames to the server it returns when the server has answered all of
// them (or has closed the connection), so that their effects can be looked at.
// It is an error if nothing is held, so that a test cannot release in vain.
func (h *Handle) Release(ctx context.Context) error {
	h.mu.Lock()
	lanes := h.held
	h.held = nil
	h.mu.Unlock()
	if len(lanes) == 0 {
		return errors.New("cutproxy: release: the rule holds nothing")
	}
	var errs []error
	for _, l := range lanes {
		errs = append(errs, l.release(ctx))
	}
	return errors.Join(errs...)
}
