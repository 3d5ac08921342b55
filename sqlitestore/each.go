package sqlitestore

import (
	"context"
	"time"

	"github.com/onceguard/onceguard"
)

// question says how one kind of call is decided for one member.
type question[Q any] struct {
	id func(*Q) onceguard.RequestID
	// peek, if set, is the rule on a plain read: its answer counts where the
	// rule neither writes nor adds evidence.
	peek func(*onceguard.Record, *Q, time.Time) onceguard.Step
	// member is what travels where reading is not enough. It keeps nothing of
	// the caller's slice, since the caller may leave before it is written.
	member func(*Q) member
}

// each answers a slice: first what can be answered by reading, then the rest
// through the group, where members fail singly.
func each[Q any](ctx context.Context, s *Store, op string, list []Q, q question[Q]) ([]onceguard.Answer, error) {
	if err := s.admitted(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	if err := distinct(op, list, q.id); err != nil {
		return nil, err
	}
	out := make([]onceguard.Answer, len(list))
	rest := make([]member, 0, len(list))
	place := make([]int, 0, 8) // of rest in out
	for i := range list {
		if q.peek != nil {
			step, now, err := peeked(ctx, s, &list[i], q)
			if err != nil {
				out[i].Err = cleanly(op, err)
				continue
			}
			if !now.IsZero() {
				out[i] = step.Answer(now)
				continue
			}
		}
		rest, place = append(rest, q.member(&list[i])), append(place, i)
	}
	if len(rest) == 0 {
		return out, nil
	}
	if err := s.together(ctx, op, rest); err != nil {
		return nil, err
	}
	for i, m := range rest {
		out[place[i]] = m.base().result()
	}
	return out, nil
}

// peeked answers one member from a plain read; the time is zero where that does
// not do.
func peeked[Q any](ctx context.Context, s *Store, member *Q, q question[Q]) (step onceguard.Step, now time.Time, err error) {
	r, err := s.peek(ctx, q.id(member))
	if err != nil || r.State == onceguard.Absent {
		return step, now, err
	}
	now = s.now()
	if step = q.peek(&r, member, now); step.Outcome != onceguard.Granted && !step.Write && len(step.Evidence) == 0 {
		return step, now, s.file.check() // what was read counts only in the right file
	}
	return step, time.Time{}, nil
}

// distinct refuses a call that names a request twice: its second member would
// be answered by the first.
func distinct[Q any](op string, list []Q, id func(*Q) onceguard.RequestID) error {
	if len(list) < 2 {
		return nil
	}
	seen := make(map[onceguard.RequestID]bool, len(list))
	for i := range list {
		if seen[id(&list[i])] {
			return refused(op, "%s occurs twice in one call: ask once per request", id(&list[i]))
		}
		seen[id(&list[i])] = true
	}
	return nil
}
