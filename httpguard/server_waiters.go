package httpguard

import (
	"sync"

	"github.com/onceguard/onceguard"
)

// waiters counts the requests of each key that are inside the middleware, so
// that a flood of duplicates cannot hold a connection each.
type waiters struct {
	mu sync.Mutex
	n  map[onceguard.RequestID]int
}

// enter reports how many are inside, this one included.
func (w *waiters) enter(id onceguard.RequestID) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == nil {
		w.n = make(map[onceguard.RequestID]int)
	}
	w.n[id]++
	return w.n[id]
}

func (w *waiters) leave(id onceguard.RequestID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n[id]--; w.n[id] == 0 {
		delete(w.n, id)
	}
}
