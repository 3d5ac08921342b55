package onceguard

import "sync"

// flights joins the callers of one request ID within this process: one of them
// speaks to the store, the others wait for its answer after a fingerprint
// check of their own.
type flights struct {
	mu sync.Mutex
	m  map[RequestID]*flight
}

type flight struct {
	// known is closed when the store has a claim of this request, the leader's
	// own or another process's: from then on record names the input.
	known  chan struct{}
	record Record
	// done is closed when the leader has its ending.
	done chan struct{}
	end  ending
}

// join makes the caller the leader of a new flight, or returns the one that is
// under way.
func (fs *flights) join(id RequestID) (fl *flight, leader bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fl, ok := fs.m[id]; ok {
		return fl, false
	}
	if fs.m == nil {
		fs.m = make(map[RequestID]*flight)
	}
	fl = &flight{known: make(chan struct{}), done: make(chan struct{})}
	fs.m[id] = fl
	return fl, true
}

// tell publishes the claimed record that the leader saw, once.
func (fl *flight) tell(r Record) {
	select {
	case <-fl.known:
	default:
		fl.record = r
		close(fl.known)
	}
}

// land publishes the leader's ending and lets the next caller lead.
func (fs *flights) land(id RequestID, fl *flight, end ending) {
	fs.mu.Lock()
	delete(fs.m, id)
	fs.mu.Unlock()
	fl.end = end
	close(fl.done)
}
