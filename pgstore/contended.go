package pgstore

import (
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

// maxContended bounds what is remembered; beyond it, nothing more is.
const maxContended = 1024

// contended remembers rows that another session kept locked for all of
// LockTimeout, for as long again: until then they are asked alone, so that a
// batch does not stop at them again and again.
type contended struct {
	mu    sync.Mutex
	until map[onceguard.RequestID]time.Time
}

func (l *contended) note(id onceguard.RequestID, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil {
		l.until = map[onceguard.RequestID]time.Time{}
	}
	if len(l.until) < maxContended {
		l.until[id] = time.Now().Add(d)
	}
}

func (l *contended) held(id onceguard.RequestID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.until) == 0 {
		return false
	}
	now := time.Now()
	for id, until := range l.until {
		if now.After(until) {
			delete(l.until, id)
		}
	}
	_, held := l.until[id]
	return held
}
