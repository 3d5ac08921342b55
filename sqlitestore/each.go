package sqlitestore

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// question says how one kind of call is decided for one member.
type question[Q any] struct {
	id func(Q) onceguard.RequestID
	// peek, if set, is the rule on a plain read: its answer counts where the
	// rule neither writes nor adds evidence.
	peek func(onceguard.Record, Q, time.Time) onceguard.Step
	// rule decides under the write lock. Its error belongs to the member.
	rule func(*txn, onceguard.Record, Q) (onceguard.Step, error)
}

// each answers a slice: first what can be answered by reading, then the rest in
// one transaction, in which members fail singly. An error that ends the
// transaction (a full disk, a lost file) is the call's own.
func each[Q any](ctx context.Context, s *Store, op string, list []Q, q question[Q]) ([]onceguard.Answer, error) {
	if err := s.usable(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	if err := distinct(op, list, q.id); err != nil {
		return nil, err
	}
	out := make([]onceguard.Answer, len(list))
	rest := make([]int, 0, len(list))
	for i, member := range list {
		if q.peek != nil {
			r, err := s.lookup(ctx, q.id(member))
			if err != nil {
				out[i].Err = cleanly(op, err)
				continue
			}
			now := s.now()
			if step := q.peek(r, member, now); step.Outcome != onceguard.Granted && !step.Write && len(step.Evidence) == 0 {
				out[i] = step.Answer(now)
				continue
			}
		}
		rest = append(rest, i)
	}
	if len(rest) == 0 {
		return out, nil
	}
	err := s.writing(ctx, op, func(t *txn) error {
		for _, i := range rest {
			a, err := decide(t, op, list[i], q)
			if err != nil {
				return err
			}
			out[i] = a
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// decide answers one member. Its own failure is in the answer; an error means
// that the transaction is lost.
func decide[Q any](t *txn, op string, member Q, q question[Q]) (onceguard.Answer, error) {
	before, err := t.record(q.id(member))
	if err != nil {
		return onceguard.Answer{}, err
	}
	step, err := q.rule(t, before, member)
	if err != nil {
		return onceguard.Answer{Err: cleanly(op, err)}, nil
	}
	err = t.apply(before, step)
	if isMember(err) {
		return onceguard.Answer{Err: cleanly(op, err)}, nil
	}
	if err != nil {
		return onceguard.Answer{}, err
	}
	return step.Answer(t.now), nil
}

// distinct refuses a call that names a request twice: its second member would
// be answered by the first.
func distinct[Q any](op string, list []Q, id func(Q) onceguard.RequestID) error {
	if len(list) < 2 {
		return nil
	}
	seen := make(map[onceguard.RequestID]bool, len(list))
	for _, member := range list {
		if seen[id(member)] {
			return refused(op, "%s occurs twice in one call: ask once per request", id(member))
		}
		seen[id(member)] = true
	}
	return nil
}
