package mcpproxy

import (
	"container/list"
	"context"
	"net/http"
	"sync"

	"github.com/onceguard/onceguard/internal/mcpcall"
)

// receivers remembers what clients were told and have not acknowledged: a later
// request of the same caller, in the same session where there is one, shows that
// the answer arrived. Bounded; what is forgotten stays unacknowledged.
type receivers struct {
	mu    sync.Mutex
	order *list.List // of *receiver, the latest first
	by    map[receiverKey]*list.Element
}

type receiverKey struct{ principal, session string }

type receiver struct {
	key  receiverKey
	told []mcpcall.Handle
}

const (
	maxReceivers = 4096
	maxTold      = 64
)

func newReceivers() *receivers {
	return &receivers{order: list.New(), by: make(map[receiverKey]*list.Element)}
}

func (r *receivers) add(key receiverKey, h mcpcall.Handle) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.by[key]
	if e == nil {
		e = r.order.PushFront(&receiver{key: key})
		r.by[key] = e
		if r.order.Len() > maxReceivers {
			last := r.order.Back()
			delete(r.by, r.order.Remove(last).(*receiver).key)
		}
	} else {
		r.order.MoveToFront(e)
	}
	if to := e.Value.(*receiver); len(to.told) < maxTold {
		to.told = append(to.told, h)
	}
}

// take returns what a caller was told, but for what it asks again.
func (r *receivers) take(key receiverKey, repeat mcpcall.Handle) []mcpcall.Handle {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.by[key]
	if e == nil {
		return nil
	}
	to := e.Value.(*receiver)
	got, kept := split(to.told, repeat)
	if to.told = kept; len(kept) == 0 {
		r.order.Remove(e)
		delete(r.by, key)
	}
	return got
}

// split tells the receipts that another request acknowledges from the one that
// it asks for again.
func split(told []mcpcall.Handle, repeat mcpcall.Handle) (got, kept []mcpcall.Handle) {
	for _, h := range told {
		if h.RequestID() == repeat.RequestID() {
			kept = append(kept, h)
		} else {
			got = append(got, h)
		}
	}
	return got, kept
}

// acknowledge takes a request as evidence that its caller got the answers before
// it.
func (p *HTTP) acknowledge(r *http.Request, principal string, repeat mcpcall.Handle) {
	got := p.told.take(receiverKey{principal, r.Header.Get(headerSession)}, repeat)
	if len(got) == 0 {
		return
	}
	p.running.Enter()
	go func() {
		defer p.running.Leave()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTime)
		defer cancel()
		for _, h := range got {
			if err := p.Gate.Acknowledged(ctx, h); err != nil {
				p.Log.DebugContext(ctx, "the evidence that a client got its answer was not stored", "request_id", h.RequestID(), "error", err)
			}
		}
	}()
}
