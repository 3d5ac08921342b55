package mcpcall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
)

// name is something that a host calls a call by: an explicit key or its own id
// of the call. It is bound to one receipt by a row of its own.
type name struct {
	kind string
	id   onceguard.RequestID
	key  onceguard.Key
}

// binding is what the row says. It is written before the claim and never
// changes: whoever inserts it first decides which receipt the name means.
type binding struct {
	Key  string `json:"key"`  // Key.Encoded of the receipt
	Says string `json:"says"` // keyed digest of what the call said
}

// Kinds of names.
const (
	nameKey  = "key"
	nameCall = "call"
	nameSame = "content" // not a name of a call: where its keyed receipts are listed
)

// names lists the names that a call carries, strictest first.
func (g *Gate) names(c *call) (list []name, err error) {
	for _, n := range []struct{ kind, text string }{{nameKey, c.key}, {nameCall, c.id}} {
		if n.text == "" {
			continue
		}
		made, err := g.nameOf(c.guard, c.tool, n.kind, n.text)
		if err != nil {
			return nil, err
		}
		list = append(list, made)
	}
	return list, nil
}

// nameOf makes the identity of a name's row. The text is hashed under a key of
// the store: it may be guessable, or a secret.
func (g *Gate) nameOf(guard *onceguard.Guard, tool, kind, text string) (name, error) {
	key := onceguard.KeyOf("kind", kind, "name", g.secret.hex("name", kind, text))
	id, err := onceguard.NewRequestID(guard.Scope(), g.actionOf(actionName, tool), key)
	return name{kind, id, key}, err
}

// bind binds names to a receipt, insert-if-absent, and returns what they are
// bound to: all to the same receipt, or an error. A store that does not answer
// is asked again; the rows make that harmless.
func (g *Gate) bind(ctx context.Context, guard *onceguard.Guard, tool string, names []name, b binding, keep time.Duration, now time.Time) (binding, error) {
	body := compact(b)
	rows := make([]onceguard.Record, len(names))
	for i, n := range names {
		sealed, err := guard.SealResult(ctx, n.id, typeJSON, body)
		if err != nil {
			return b, err
		}
		rows[i] = onceguard.Record{
			ID: n.id, Scope: guard.Scope(), Action: g.actionOf(actionName, tool), Key: n.key.Encoded(), State: onceguard.Succeeded,
			CreatedAt: now, Since: now, SettledBy: settledBy, Result: sealed, ResultRetention: keep, IdentityRetention: keep,
		}
	}
	var answers []onceguard.Answer
	err := g.again(ctx, func() (err error) {
		answers, err = guard.Store().Import(context.WithoutCancel(ctx), rows)
		for _, a := range answers {
			err = errors.Join(err, a.Err)
		}
		return err
	})
	if err != nil {
		return b, err
	}
	ids := make([]onceguard.RequestID, 0, len(names))
	for i, a := range answers {
		if a.Outcome != onceguard.Applied {
			ids = append(ids, names[i].id)
		}
	}
	if len(ids) == 0 {
		return b, nil
	}
	found, err := g.get(ctx, guard, ids...)
	if err != nil {
		return b, err
	}
	list, err := g.bindings(ctx, guard, found)
	if err != nil {
		return b, err
	}
	if len(ids) < len(names) {
		list = append(list, b) // the others are bound as asked
	}
	return one(list)
}

// errTwoReceipts: the names of one call mean different receipts.
var errTwoReceipts = errors.New("the call's key and the host's id of the call belong to different receipts")

// one is the binding that all agree on.
func one(list []binding) (binding, error) {
	for _, b := range list[1:] {
		if b.Key != list[0].Key {
			return b, errTwoReceipts
		}
	}
	return list[0], nil
}

// bindings reads the rows that were found.
func (g *Gate) bindings(ctx context.Context, guard *onceguard.Guard, rows []onceguard.Answer) (list []binding, err error) {
	for _, a := range rows {
		if a.Outcome != onceguard.Found {
			continue
		}
		body, err := guard.OpenResult(ctx, a.Record)
		if err != nil {
			return nil, fmt.Errorf("the row of a call's name: %w", err)
		}
		var b binding
		if err := json.Unmarshal(body, &b); err != nil {
			return nil, fmt.Errorf("the row of a call's name: %w", err)
		}
		list = append(list, b)
	}
	return list, nil
}

// again tries a write that may be repeated a few times.
func (g *Gate) again(ctx context.Context, try func() error) (err error) {
	for n := range 4 {
		if err = try(); err == nil {
			return nil
		}
		var s *onceguard.StoreError
		if errors.As(err, &s) && s.Permanent {
			return err
		}
		t := time.NewTimer(10 * time.Millisecond << (2 * n))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return err
}
