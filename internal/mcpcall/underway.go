package mcpcall

import "sync"

// underway counts calls that go on without their client. Unlike a WaitGroup it
// may be waited for while others begin.
type underway struct {
	mu   sync.Mutex
	n    int
	done chan struct{} // closed when n falls to zero; nil without a waiter
}

func (u *underway) begin() {
	u.mu.Lock()
	u.n++
	u.mu.Unlock()
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.done != nil {
		close(u.done)
		u.done = nil
	}
}

// idle is closed when nothing is under way.
func (u *underway) idle() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n == 0 {
		ready := make(chan struct{})
		close(ready)
		return ready
	}
	if u.done == nil {
		u.done = make(chan struct{})
	}
	return u.done
}
