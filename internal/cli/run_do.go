package cli

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/onceguard/onceguard"
)

// run asks the guard, runs the command if the claim is granted, and says what
// was recorded.
func (r *runner) run() error {
	ctx, cancel := context.WithCancelCause(r.app.ctx)
	defer cancel(nil)
	r.ctx = ctx
	r.relay = newRelay(r.app, cancel)
	defer r.relay.stop()
	defer func() { r.abandonChild() }()

	g, err := r.newGuard("")
	if err != nil {
		return r.refused(err)
	}
	if err := r.readyChild(g); err != nil {
		return r.answer(g, onceguard.Receipt[output]{}, err)
	}
	for asked := false; ; {
		if r.child != nil && !r.child.used {
			if g, err = r.newGuard(r.child.owners); err != nil {
				return r.refused(err)
			}
		}
		receipt, err := onceguard.Do(r.ctx, g, r.request, r.effect)
		if errors.Is(err, errNeedChild) {
			if r.outcome != nil {
				r.child.flush() // of an attempt of this call that was superseded
			}
			if err := r.startChild(); err != nil {
				return r.refused(err)
			}
			continue
		}
		if r.cmd.Reconcile != "" && !asked && uncertainRecord(err) {
			asked = true
			if r.lookup(g) && r.outcome == nil {
				if err := r.readyChild(g); err != nil {
					return r.answer(g, receipt, err)
				}
				continue // answer from what the lookup settled
			}
		}
		return r.answer(g, receipt, err)
	}
}

// readyChild starts the waiting process if the record shows that it may be
// needed: a settled record is replayed, and an uncertain one answered, without.
func (r *runner) readyChild(g *onceguard.Guard) error {
	seen, err := g.Preview(r.ctx, r.request)
	if rec := seen.Record; err != nil || rec.State.Final() || rec.State == onceguard.Uncertain {
		return err
	}
	return r.startChild()
}

// uncertainRecord says whether err is about a record that is uncertain now, not
// about one that the next call takes over (T9b).
func uncertainRecord(err error) bool {
	var e *onceguard.Error
	return errors.As(err, &e) && e.Code == onceguard.ErrUncertain && e.State == onceguard.Uncertain
}

// newGuard makes the guard whose claims carry the given owners.
func (r *runner) newGuard(owners string) (*onceguard.Guard, error) {
	s, err := r.store(mayCreate)
	if err != nil {
		return nil, err
	}
	spool, err := r.spool(s)
	if err != nil {
		return nil, err
	}
	return r.guardOn(s, onceguard.Options{Scope: r.cmd.Scope, Codec: runCodec{}, Process: owners, Spool: spool})
}

// spool is a directory of the store's own: an outcome that is delivered to
// another store is lost.
func (r *runner) spool(s onceguard.Store) (string, error) {
	dir := r.cmd.Spool
	if dir == "" {
		dir = r.env.get(envSpool)
	}
	if dir == "" {
		return "", nil
	}
	info, err := s.Info(r.app.ctx)
	if err != nil {
		return "", unavailable("%s: %w", plain(r.at.shown), err)
	}
	return filepath.Join(dir, "store-"+safeName(info.StoreID)), nil
}

// safeName keeps a store's id from being a path.
func safeName(id string) string {
	b := []byte(id)
	for i, c := range b {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			b[i] = '_'
		}
	}
	return string(b)
}

// drain ends what the call left behind: output to pass on, and outcomes that
// the store has not taken.
func (r *runner) drain(g *onceguard.Guard, unsettled bool) {
	wait := 5 * time.Second
	if unsettled {
		wait = r.cmd.Lease
		r.say("the store has not taken the outcome yet; trying for up to %s", wait)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.app.ctx), wait)
	defer cancel()
	if err := g.Close(ctx); err != nil && unsettled {
		kept := "it becomes uncertain when its lease ends"
		if r.cmd.Spool != "" || r.env.get(envSpool) != "" {
			kept = "it is in the spool and is sent by the next run"
		}
		r.say("warning: the outcome is not stored: %s", kept)
	}
}
