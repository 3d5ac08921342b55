package onceguard

import "sync"

// background counts the goroutines that go on after a call returned: settling
// what the store did not take, giving back abandoned claims. Unlike a
// sync.WaitGroup it may be waited for while calls still start new ones.
type background struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n falls to zero
}

// Go runs f on a goroutine of its own.
func (b *background) Go(f func()) {
	b.mu.Lock()
	if b.n++; b.n == 1 {
		b.idle = make(chan struct{})
	}
	b.mu.Unlock()
	go func() {
		defer func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.n--; b.n == 0 {
				close(b.idle)
			}
		}()
		f()
	}()
}

// done is closed when what runs now, and what that starts, has ended.
func (b *background) done() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.n == 0 {
		none := make(chan struct{})
		close(none)
		return none
	}
	return b.idle
}
