package pgstore

import (
	"maps"
	"sync"
	"time"

	"github.com/onceguard/onceguard"
)

const (
	maxContended = 1024 // rows that are remembered; beyond it, no more are
	contendedFor = 10 * time.Second
)

// contended remembers rows that another session kept locked for all of
// LockTimeout: for a while they are asked alone, so that a batch does not stop
// at them again and again.
type contended struct {
	mu    sync.Mutex
	until map[onceguard.RequestID]time.Time
}

func (l *contended) note(id onceguard.RequestID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if len(l.until) >= maxContended {
		maps.DeleteFunc(l.until, func(_ onceguard.RequestID, until time.Time) bool { return now.After(until) })
	}
	if l.until == nil {
		l.until = map[onceguard.RequestID]time.Time{}
	}
	if len(l.until) < maxContended {
		l.until[id] = now.Add(contendedFor)
	}
}

func (l *contended) held(id onceguard.RequestID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, held := l.until[id]
	if held && time.Now().After(until) {
		delete(l.until, id)
		return false
	}
	return held
}
