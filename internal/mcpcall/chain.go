package mcpcall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// chain is the row of receipts of one business key or one content: occurrence 0
// is the first, and every deliberate repeat is the next.
//
// Pruning drops old occurrences, and must not hide a later one that is still
// uncertain. So some keep their identity (not their results) for ever: 1 to 63,
// and every 64th. These are there without a gap up to the latest; it is found
// among them by doubling and halving, and among the 63 that may follow the last
// of them in one read.
type chain struct {
	parts []any // of onceguard.KeyOf
}

// chainOf is the call's chain: L2 where the policy names a business key, else L3.
func (g *Gate) chainOf(c *call) (chain, error) {
	i := c.how.Identity
	switch {
	case len(i.Key) > 0:
		ch := chain{}
		for _, p := range i.Key {
			v, err := p.Pointer.Scalar(c.args)
			if err == nil && v == "" {
				err = fmt.Errorf("there is an empty text at %s", p.Pointer)
			}
			if err != nil {
				return ch, fmt.Errorf("params.arguments: %w; the policy takes the call's identity from there", err)
			}
			ch.parts = append(ch.parts, p.Name, bounded(v))
		}
		return ch, ch.key(0).Err()
	case len(i.Template) > 0:
		var b strings.Builder
		for _, p := range i.Template {
			if p.Pointer == nil {
				b.WriteString(p.Text)
				continue
			}
			v, err := p.Pointer.Scalar(c.args)
			if err != nil {
				return chain{}, fmt.Errorf("params.arguments: %w; the policy takes the call's identity from there", err)
			}
			b.WriteString(v)
		}
		ch := chain{parts: []any{"template", bounded(b.String())}}
		return ch, ch.key(0).Err()
	}
	return chain{parts: []any{"content", g.secret.hex("content", string(c.says))}}, nil
}

// bounded keeps long values out of keys, which have at most 512 bytes.
func bounded(v string) string {
	if len(v) <= 100 {
		return v
	}
	d := sha256.Sum256([]byte(v))
	return "sha256-" + hex.EncodeToString(d[:])
}

// key is the key of occurrence n.
func (ch chain) key(n int) onceguard.Key {
	return onceguard.KeyOf(append(append([]any(nil), ch.parts...), mcppolicy.OccurrencePart, n)...)
}

// explicitKey is the key of an L0 call whose intention no other call shares.
func explicitKey(k string) onceguard.Key { return onceguard.KeyOf("key", k) }

// occurrence reads the number out of a key, and says whether it has one.
func occurrence(k onceguard.Key) (n int, ok bool) {
	for _, p := range k.Parts() {
		if p.Name == mcppolicy.OccurrencePart {
			_, err := fmt.Sscanf(p.Value, "%d", &n)
			return n, err == nil
		}
	}
	return 0, false
}

// head is the latest occurrence of a chain; n is -1 where there is none.
type head struct {
	n   int
	rec onceguard.Record
	now time.Time // store clock
	// keyed is the key of rec where it is not an occurrence but the receipt of
	// an equal call with an explicit key.
	keyed onceguard.Key
}

// key is rec's key.
func (at head) key(ch chain) onceguard.Key {
	if at.keyed.Encoded() != "" {
		return at.keyed
	}
	return ch.key(at.n)
}

const (
	// maxOccurrence bounds the search, and with it repeats of one content.
	maxOccurrence = 1 << 30
	// stride is the distance of occurrences that are kept for ever.
	stride = 64
)

// keptForEver reports whether occurrence n keeps its identity. The first does
// not: most calls are never repeated, and a store must not remember all.
func keptForEver(n int) bool { return n > 0 && (n < stride || n%stride == 0) }

// latest finds the head, given what Get said of occurrences 0 and 1.
func (g *Gate) latest(ctx context.Context, c *call, ch chain, zero, one onceguard.Answer) (head, error) {
	if one.Outcome != onceguard.Found {
		if zero.Outcome == onceguard.Found {
			return head{n: 0, rec: zero.Record, now: zero.Now}, nil
		}
		return head{n: -1, now: zero.Now}, nil
	}
	at := head{n: 1, rec: one.Record, now: one.Now}
	// probe moves the head to the last of some occurrences that is there.
	probe := func(from, to int) (there bool, err error) {
		ids := make([]onceguard.RequestID, 0, stride)
		for n := from; n <= to; n++ {
			id, err := onceguard.NewRequestID(c.guard.Scope(), c.action, ch.key(n))
			if err != nil {
				return false, err
			}
			ids = append(ids, id)
		}
		answers, err := g.get(ctx, c.guard, ids...)
		for i, a := range answers {
			if a.Outcome == onceguard.Found {
				at, there = head{n: from + i, rec: a.Record, now: a.Now}, true
			}
		}
		return there, err
	}
	over := 2
	for ; over < maxOccurrence; over *= 2 {
		if there, err := probe(over, over); err != nil {
			return at, err
		} else if !there {
			break
		}
	}
	step := 1
	if at.n >= stride {
		step = stride
	}
	for over-at.n > step {
		middle := at.n + (over-at.n)/step/2*step
		if there, err := probe(middle, middle); err != nil {
			return at, err
		} else if !there {
			over = middle
		}
	}
	if step == stride {
		_, err := probe(at.n+1, at.n+stride-1)
		return at, err
	}
	return at, nil
}

// get reads receipts; every answer is Found or Missing.
func (g *Gate) get(ctx context.Context, guard *onceguard.Guard, ids ...onceguard.RequestID) ([]onceguard.Answer, error) {
	answers, err := guard.Store().Get(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		if a.Err != nil {
			return nil, a.Err
		}
	}
	return answers, nil
}
