package simtest

import (
	"context"
	"fmt"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

// one turns a call of the slice form with one member, which is all that a guard
// sends, into an op.
func one[Q any](l *wire, ctx context.Context, o *op, q []Q, do func(*memstore.Store, context.Context, []Q) ([]onceguard.Answer, error)) ([]onceguard.Answer, error) {
	if len(q) != 1 {
		panic(fmt.Sprintf("%d members in one %s call: the simulation carries one", len(q), o.kind))
	}
	o.do = func(ctx context.Context, db *memstore.Store) (onceguard.Answer, error) {
		list, err := do(db, ctx, q)
		if err != nil {
			return onceguard.Answer{}, err
		}
		return list[0], nil
	}
	a, err := l.send(ctx, o)
	if err != nil {
		return nil, err
	}
	return []onceguard.Answer{a}, nil
}

func (l *wire) request(id onceguard.RequestID) *request {
	for _, r := range l.p.w.requests {
		if r.id == id {
			return r
		}
	}
	panic("a request that nobody made: " + id.String())
}

func (l *wire) claim(c onceguard.Claim) *op {
	w := l.p.w
	w.mu.Lock()
	sum := c.Fingerprints[0].Sum
	if w.inputs[sum] == 0 {
		w.inputs[sum] = len(w.inputs) + 1
	}
	in := input{kind: "claim", policy: c.Policy, input: w.inputs[sum], optIn: c.RunAfterNeverWill, lease: c.Lease}
	w.mu.Unlock()
	return &op{kind: "claim", request: l.request(c.ID), token: c.Owner, in: in}
}

func (l *wire) Claim(ctx context.Context, q []onceguard.Claim) ([]onceguard.Answer, error) {
	return one(l, ctx, l.claim(q[0]), q, (*memstore.Store).Claim)
}

func (l *wire) Renew(ctx context.Context, q []onceguard.Renewal) ([]onceguard.Answer, error) {
	o := &op{kind: "renew", request: l.request(q[0].ID), token: q[0].Owner, in: input{kind: "renew", attempt: q[0].Attempt, lease: q[0].Lease}}
	return one(l, ctx, o, q, (*memstore.Store).Renew)
}

func (l *wire) Settle(ctx context.Context, q []onceguard.Settlement) ([]onceguard.Answer, error) {
	s := q[0]
	in := input{kind: "settle", attempt: s.Attempt, verb: s.Verb, body: string(s.Result.Body)}
	return one(l, ctx, &op{kind: "settle", request: l.request(s.ID), token: s.Owner, in: in}, q, (*memstore.Store).Settle)
}

func (l *wire) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	return one(l, ctx, &op{kind: "get", request: l.request(ids[0]), in: input{kind: "get"}}, ids, (*memstore.Store).Get)
}

func (l *wire) Resolve(ctx context.Context, r onceguard.Resolution) (onceguard.Answer, error) {
	by := string(r.Who)
	if r.Who == onceguard.ByOperator {
		by = "operator:" + r.By
	}
	in := input{kind: "resolve", attempt: r.Attempt, verdict: r.Verdict, by: by, body: string(r.Result.Body)}
	return l.send(ctx, &op{kind: "resolve", request: l.request(r.ID), in: in, do: func(ctx context.Context, db *memstore.Store) (onceguard.Answer, error) {
		return db.Resolve(ctx, r)
	}})
}

func (l *wire) Transact(ctx context.Context, c onceguard.Claim, fn func(context.Context, any) (onceguard.Result, error)) (onceguard.Answer, error) {
	o := l.claim(c)
	o.kind, o.in.kind = "transact", "transact"
	w := l.p.w
	var result onceguard.Result
	first := true
	o.do = func(ctx context.Context, db *memstore.Store) (onceguard.Answer, error) {
		if !first { // replayed from the journal
			return db.Transact(ctx, c, func(_ context.Context, tx any) (onceguard.Result, error) {
				tx.(*memstore.Tx).Put(o.caller.rowName(), []byte("row"))
				return result, nil
			})
		}
		first = false
		w.mu.Lock()
		w.tx++
		w.mu.Unlock()
		defer func() {
			w.mu.Lock()
			w.tx--
			w.mu.Unlock()
		}()
		return db.Transact(ctx, c, func(ctx context.Context, tx any) (_ onceguard.Result, err error) {
			result, err = fn(ctx, tx)
			return result, err
		})
	}
	return l.send(ctx, o)
}

func (l *wire) TxType() string { return "*memstore.Tx" }

// helper waits at a yield point for a call about no single request.
func (l *wire) helper(ctx context.Context, what string) (*memstore.Store, error) {
	w := l.p.w
	_, name := who(ctx, l.p)
	f, ok := w.pause(l.p, name+" "+what, ctx.Done(), down, lostBefore)
	if !ok {
		return nil, unclear(what, ctx.Err())
	}
	if f != reach {
		return nil, unclear(what, errLine)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.db, nil
}

func (l *wire) List(ctx context.Context, f onceguard.Filter) (onceguard.Page, error) {
	db, err := l.helper(ctx, "list")
	if err != nil {
		return onceguard.Page{}, err
	}
	return db.List(ctx, f)
}

// Sweep parks; each parked record is an op of its own in the books.
func (l *wire) Sweep(ctx context.Context, limit int) ([]onceguard.Record, error) {
	db, err := l.helper(ctx, "sweep")
	if err != nil {
		return nil, err
	}
	w := l.p.w
	before := w.all()
	at := w.now()
	parked, err := db.Sweep(context.WithoutCancel(ctx), limit)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, rec := range parked {
		o := &op{
			kind: "sweep", actor: l.p.String() + " sweeper", request: l.request(rec.ID), in: input{kind: "sweep"}, call: w.step, ret: w.step, at: at, applied: true,
			answer: onceguard.Answer{Outcome: onceguard.Parked, Transition: onceguard.T5, Record: rec, Now: at},
		}
		w.ops = append(w.ops, o)
		w.logf(o.actor, "parks %s at %d", o.request, rec.Attempt)
		w.decided(o, before[rec.ID])
	}
	if len(parked) > 0 {
		w.journal = append(w.journal, &entry{at: at, durable: true, what: "sweep", do: func(ctx context.Context, db *memstore.Store) { _, _ = db.Sweep(ctx, limit) }})
		w.sync()
	}
	return parked, err
}

// Prune drops what is past its retention; what else it drops is a violation.
func (l *wire) Prune(ctx context.Context, q onceguard.PruneRequest) (onceguard.Pruned, error) {
	db, err := l.helper(ctx, "prune")
	if err != nil {
		return onceguard.Pruned{}, err
	}
	w := l.p.w
	before := w.all()
	at := w.now()
	done, err := db.Prune(context.WithoutCancel(ctx), q)
	after := w.all()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		b, a := before[r.id], after[r.id]
		if b.State != a.State {
			w.violate("C2", "%s: prune took %s to %s, and no identity is past its retention", r, b.State, a.State)
		}
		if !b.Pruned && a.Pruned {
			w.counts["pruned"]++
			w.logf(l.p.String()+" prune", "drops the result of %s", r)
		}
	}
	w.journal = append(w.journal, &entry{at: at, durable: true, what: "prune", do: func(ctx context.Context, db *memstore.Store) { _, _ = db.Prune(ctx, q) }})
	w.sync()
	return done, err
}

func (w *world) all() map[onceguard.RequestID]onceguard.Record {
	all := map[onceguard.RequestID]onceguard.Record{}
	for _, r := range w.requests {
		all[r.id] = w.record(r)
	}
	return all
}

// What follows is read at once: it decides nothing.

func (l *wire) store() *memstore.Store {
	l.p.gone()
	l.p.w.mu.Lock()
	defer l.p.w.mu.Unlock()
	return l.p.w.db
}

func (l *wire) Evidence(ctx context.Context, id onceguard.RequestID) ([]onceguard.Evidence, error) {
	return l.store().Evidence(ctx, id)
}

func (l *wire) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	return l.store().AppendEvidence(ctx, e)
}

func (l *wire) Checkpoint(ctx context.Context, c onceguard.Checkpoint) (onceguard.Answer, error) {
	return l.store().Checkpoint(ctx, c)
}

func (l *wire) Import(ctx context.Context, r []onceguard.Record) ([]onceguard.Answer, error) {
	return l.store().Import(ctx, r)
}

func (l *wire) Secrets(ctx context.Context, offer []onceguard.Secret) ([]onceguard.Secret, error) {
	return l.store().Secrets(ctx, offer)
}

func (l *wire) Info(ctx context.Context) (onceguard.StoreInfo, error) { return l.store().Info(ctx) }

func (l *wire) Acknowledge(ctx context.Context, a onceguard.Acknowledgement) error {
	return l.store().Acknowledge(ctx, a)
}

func (l *wire) Close() error { return nil }
