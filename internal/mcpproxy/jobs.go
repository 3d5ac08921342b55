package mcpproxy

import "sync"

// jobs counts what is under way. Unlike a sync.WaitGroup it may be waited for
// while more begins.
type jobs struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed at zero; made by the first who waits
}

func (j *jobs) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.n++
}

func (j *jobs) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.n--; j.n == 0 && j.idle != nil {
		close(j.idle)
		j.idle = nil
	}
}

// done is closed when nothing is under way.
func (j *jobs) done() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.n == 0 {
		now := make(chan struct{})
		close(now)
		return now
	}
	if j.idle == nil {
		j.idle = make(chan struct{})
	}
	return j.idle
}
