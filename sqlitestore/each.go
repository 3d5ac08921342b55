package sqlitestore

import (
	"context"

	"github.com/onceguard/onceguard"
)

// question says how one kind of call is decided for one member.
type question[Q any] struct {
	id func(*Q) onceguard.RequestID
	// peek, if set, may answer from a plain read. read says that it tried.
	peek func(context.Context, *Q) (a onceguard.Answer, found, read bool, err error)
	// member is what travels where reading is not enough. It keeps nothing of
	// the caller's slice, since the caller may leave before it is written.
	member func(q *Q, read bool) member
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
		read := false
		if q.peek != nil {
			a, found, tried, err := q.peek(ctx, &list[i])
			if found || err != nil {
				if bad := s.file.check(); bad != nil { // what was read counts only in the right file
					return nil, cleanly(op, bad)
				}
			}
			if err != nil {
				out[i].Err = cleanly(op, err)
				continue
			}
			if found {
				out[i] = a
				continue
			}
			read = tried
		}
		rest, place = append(rest, q.member(&list[i], read)), append(place, i)
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
