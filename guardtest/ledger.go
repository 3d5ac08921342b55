package guardtest

import "sync"

// Ledger stands for the outside world: it counts effects by name. The zero
// value is empty; it is safe for concurrent use.
type Ledger struct {
	mu     sync.Mutex
	counts map[string]int
}

// Add counts one effect and returns how many of that name there are now.
func (l *Ledger) Add(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts = map[string]int{}
	}
	l.counts[name]++
	return l.counts[name]
}

// Count is the number of effects of one name.
func (l *Ledger) Count(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[name]
}

// Total is the number of all effects.
func (l *Ledger) Total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, c := range l.counts {
		n += c
	}
	return n
}
