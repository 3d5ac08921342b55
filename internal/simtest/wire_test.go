package simtest

import (
	"context"
	"errors"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

var errLine = errors.New("the line broke")

// wire is a process's connection to the store.
type wire struct{ p *proc }

var (
	_ onceguard.Store      = (*wire)(nil)
	_ onceguard.Transactor = (*wire)(nil)
)

// op is one call of the store about one request, as the books keep it.
type op struct {
	kind      string
	actor     string
	caller    *call
	request   *request
	in        input
	call, ret int       // steps; ret is 0 while nobody has an answer
	sent      time.Time // by the sender's clock
	at        time.Time
	applied   bool
	answer    onceguard.Answer
	do        func(ctx context.Context, db *memstore.Store) (onceguard.Answer, error)
	token     onceguard.Token
}

// input is what an op asks for, in the words of the specification.
type input struct {
	kind    string
	token   int
	attempt int64
	policy  onceguard.Policy
	input   int
	optIn   bool
	lease   time.Duration
	verb    onceguard.Verb
	verdict onceguard.ResolveVerdict
	by      string
	body    string
}

// entry is one write in the store's journal.
type entry struct {
	at      time.Time
	do      func(ctx context.Context, db *memstore.Store)
	durable bool
	wrote   bool // a transition; what a refusal leaves is evidence at most
	what    string
	request *request // nil: of several
}

var storeFates = []fate{slow, down, lostBefore, lostAfter, later, twice}

// send carries one op to the store and its answer back.
func (l *wire) send(ctx context.Context, o *op) (onceguard.Answer, error) {
	w := l.p.w
	o.caller, o.actor = who(ctx, l.p)
	fates := storeFates
	switch o.kind {
	case "claim":
		fates = append(fates[:len(fates):len(fates)], forgotten, stopped)
	case "get":
		fates = []fate{slow, down, lostBefore}
	case "transact":
		fates = []fate{slow, down, lostBefore, lostAfter}
	}
	w.mu.Lock()
	o.call = w.step
	o.in.token = w.token(o.token)
	w.sent(o)
	w.mu.Unlock()
	f, ok := w.pause(l.p, o.actor+" "+o.kind+" "+o.request.String(), ctx.Done(), fates...)
	if !ok {
		if o.kind != "get" && o.kind != "transact" {
			w.leave(o) // it may still be on its way
		}
		return onceguard.Answer{}, unclear(o.kind, ctx.Err())
	}
	w.say(o.actor, "%s %s: %s", o.kind, o.request, f)
	switch f {
	case down:
		w.add("refused")
		return onceguard.Answer{}, &onceguard.StoreError{Op: o.kind, Clean: true, Err: errLine}
	case lostBefore:
		w.add("unclear, not applied")
		w.book(o)
		return onceguard.Answer{}, unclear(o.kind, errLine)
	case later:
		w.add("unclear, applied later")
		w.leave(o)
		return onceguard.Answer{}, unclear(o.kind, errLine)
	case twice:
		again := *o
		w.leave(&again)
	}
	a, err := w.apply(ctx, o, f != forgotten)
	if err != nil {
		return a, err
	}
	switch f {
	case lostAfter:
		w.add("unclear, applied")
		return onceguard.Answer{}, unclear(o.kind, errLine)
	case forgotten:
		w.add("visible, not durable")
		return onceguard.Answer{}, unclear(o.kind, errLine)
	case slow:
		if _, ok := w.pause(l.p, o.actor+" "+o.kind+" "+o.request.String()+" answer", ctx.Done()); !ok {
			return onceguard.Answer{}, unclear(o.kind, ctx.Err())
		}
	case stopped:
		w.add("stopped with an answer")
		w.pause(l.p, o.actor+" stands still", nil)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o.ret = w.step
	w.answered(o)
	return a, nil
}

func unclear(op string, err error) error { return &onceguard.StoreError{Op: op, Err: err} }

func (w *world) add(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// token numbers tokens in the order of their first use; needs the mutex.
func (w *world) token(t onceguard.Token) int {
	if t == (onceguard.Token{}) {
		return 0
	}
	if w.tokens[t] == 0 {
		w.tokens[t] = len(w.tokens) + 1
	}
	return w.tokens[t]
}

// apply lets the store decide, and books what it decided. A write that is not
// durable waits for the next durable one.
func (w *world) apply(ctx context.Context, o *op, durable bool) (onceguard.Answer, error) {
	before := w.record(o.request)
	w.mu.Lock()
	db := w.db
	o.at = w.now()
	w.mu.Unlock()
	a, err := o.do(context.WithoutCancel(ctx), db)
	if err == nil {
		err = a.Err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.logf(o.actor, "%s %s: %v", o.kind, o.request, err)
		return a, err
	}
	if !a.Now.IsZero() {
		o.at = a.Now
	}
	o.applied, o.answer = true, a
	w.ops = append(w.ops, o)
	wrote := a.Transition != onceguard.NoTransition && a.Transition != onceguard.T14
	w.logf(o.actor, "%s %s -> %s %s, %s at %d", o.kind, o.request, a.Outcome, a.Transition, a.Record.State, a.Record.Attempt)
	if o.kind != "get" {
		do := o.do
		w.journal = append(w.journal, &entry{at: o.at, what: o.actor + " " + o.kind, request: o.request, durable: !wrote, wrote: wrote, do: func(ctx context.Context, db *memstore.Store) {
			_, _ = do(ctx, db)
		}})
	}
	if wrote && (durable || a.Outcome != onceguard.Granted) {
		w.sync() // and with it all that was written before
	}
	w.decided(o, before)
	return a, nil
}

// sync makes the journal durable; needs the mutex.
func (w *world) sync() {
	for i := len(w.journal) - 1; i >= 0 && !w.journal[i].durable; i-- {
		w.journal[i].durable = true
	}
}

// book keeps an op that was never applied.
func (w *world) book(o *op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.at = w.now()
	w.ops = append(w.ops, o)
}
