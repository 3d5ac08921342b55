package httpguard

import (
	"context"
	"sync"
)

// underway counts exchanges that may outlive their callers. A sync.WaitGroup
// would not do: exchanges may begin while somebody waits.
type underway struct {
	mu   sync.Mutex
	n    int
	idle chan struct{} // closed when n is zero again; nil while nobody waits
}

// Go runs f on a goroutine of its own.
func (u *underway) Go(f func()) {
	u.mu.Lock()
	u.n++
	u.mu.Unlock()
	go func() {
		defer u.leave()
		f()
	}()
}

func (u *underway) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n--; u.n == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// wait returns at the first moment without exchanges, or with the cause of ctx's
// end.
func (u *underway) wait(ctx context.Context) error {
	u.mu.Lock()
	if u.n == 0 {
		u.mu.Unlock()
		return nil
	}
	if u.idle == nil {
		u.idle = make(chan struct{})
	}
	idle := u.idle
	u.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
