package mcpcall

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// A call with an explicit key has a receipt of its own, outside the chain of its
// content: two keys are two intentions. So that a later call without a key is
// compared with it too, the receipt is listed before it is claimed: one row per
// content, and the key as evidence on that row.

// kindKeyed is that evidence.
const kindKeyed onceguard.EvidenceKind = "mcp-keyed"

// maxKeyed bounds the receipts that a call without a key is compared with: the
// latest ones of its content.
const maxKeyed = 32

// list lists a receipt with an explicit key under its content. It does nothing
// for other receipts.
func (g *Gate) list(ctx context.Context, c *call, key onceguard.Key, now time.Time) error {
	if c.key == "" || c.how.Identity.Business() || key.Encoded() != explicitKey(c.key).Encoded() {
		return nil
	}
	row, err := g.contentRow(c)
	if err != nil {
		return err
	}
	if _, err := g.bind(ctx, c.guard, c.tool, []name{row}, binding{}, c.keepFor(), now); err != nil {
		return err
	}
	return g.note(ctx, onceguard.Evidence{ID: row.id, Kind: kindKeyed, By: byGate, Body: []byte(key.Encoded())})
}

func (g *Gate) contentRow(c *call) (name, error) {
	return g.nameOf(c.guard, c.tool, nameSame, string(c.says))
}

// strictest is the receipt that a call without a key is judged by: among the
// head of its chain and the equal calls with keys the one that forbids most. What
// may be running or have happened goes before what is known, an answer that
// nobody has before one that was delivered, and then the latest.
func (g *Gate) strictest(ctx context.Context, c *call, at head) (head, error) {
	row, err := g.contentRow(c)
	if err != nil {
		return at, err
	}
	listed, err := c.guard.Store().Evidence(ctx, row.id)
	if err != nil {
		return at, err
	}
	var ids []onceguard.RequestID
	var keys []onceguard.Key
	for i := len(listed) - 1; i >= 0 && len(ids) < maxKeyed; i-- {
		key, err := onceguard.ParseKey(string(listed[i].Body))
		if listed[i].Kind != kindKeyed || err != nil {
			continue
		}
		id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, key)
		if err != nil {
			return at, err
		}
		ids, keys = append(ids, id), append(keys, key)
	}
	if len(ids) == 0 {
		return at, nil
	}
	answers, err := g.get(ctx, c.guard, ids...)
	if err != nil {
		return at, err
	}
	best := at
	rank, err := g.rank(ctx, c, at.rec)
	if err != nil {
		return at, err
	}
	for i, a := range answers {
		r, err := g.rank(ctx, c, a.Record)
		if err != nil {
			return at, err
		}
		// Only for an equal call: a key's receipt may have been claimed anew
		// with other arguments after it surely had not happened.
		if _, err := c.guard.Preview(ctx, g.request(c, keys[i])); isMismatch(err) {
			continue
		}
		if r > rank || r == rank && r > 0 && a.Record.Since.After(best.rec.Since) {
			best, rank = head{n: at.n, rec: a.Record, now: a.Now, keyed: keys[i]}, r
		}
	}
	return best, nil
}

// rank orders receipts by how much they forbid; 0 is nothing.
func (g *Gate) rank(ctx context.Context, c *call, rec onceguard.Record) (int, error) {
	switch rec.State {
	case onceguard.Uncertain:
		return 4, nil
	case onceguard.Claimed:
		return 3, nil
	case onceguard.Succeeded:
		f, err := g.follow(ctx, c, onceguard.Answer{Outcome: onceguard.Found, Record: rec})
		switch {
		case err != nil:
			return 0, err
		case f.open != nil || f.rec.State == onceguard.Uncertain:
			return 4, nil
		case f.rec.State == onceguard.Failed:
			return 0, nil
		case !f.notes.delivered:
			return 2, nil
		}
		return 1, nil
	case onceguard.Released:
		if rec.UnknownAttempt {
			return 4, nil
		}
	}
	return 0, nil
}
