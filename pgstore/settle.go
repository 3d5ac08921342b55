package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/groupcommit"
)

// Settle implements onceguard.Store: one conditional update per success or
// refusal of the present owner, together with those of other callers; the rest
// under locks.
func (s *Store) Settle(ctx context.Context, list []onceguard.Settlement) ([]onceguard.Answer, error) {
	order, err := s.sorted(ctx, "settle", len(list), func(i int) *onceguard.RequestID { return &list[i].ID })
	if err != nil || len(list) == 0 {
		return nil, err
	}
	members := make([]settleMember, len(list))
	travel := make([]*settleMember, 0, len(list))
	for _, i := range order {
		m := &members[i]
		if m.said = list[i]; m.prepare() && !s.locks.held(m.said.ID) {
			travel = append(travel, m)
		}
	}
	return owned(ctx, s, "settle", s.groups.settles, s.flushSettles, members, order, travel)
}

// Renew implements onceguard.Store: one conditional update per claim.
func (s *Store) Renew(ctx context.Context, list []onceguard.Renewal) ([]onceguard.Answer, error) {
	order, err := s.sorted(ctx, "renew", len(list), func(i int) *onceguard.RequestID { return &list[i].ID })
	if err != nil || len(list) == 0 {
		return nil, err
	}
	members := make([]renewMember, len(list))
	travel := make([]*renewMember, 0, len(list))
	for _, i := range order {
		members[i].said = list[i]
		travel = append(travel, &members[i])
	}
	return owned(ctx, s, "renew", s.groups.renewals, s.flushRenewals, members, order, travel)
}

// word is what an owner says about its attempt.
type word[M any] interface {
	*M
	base() *member
	about() onceguard.RequestID
	decide(onceguard.Record, time.Time) onceguard.Step
}

// owned asks an owner's questions: those in travel as conditional updates, and
// what these did not decide by the rule, under the row's lock.
func owned[M any, P word[M]](ctx context.Context, s *Store, op string, g *groupcommit.Group[onceguard.RequestID, P],
	flush func(context.Context, []P), members []M, order []int, travel []P,
) ([]onceguard.Answer, error) {
	if err := together(ctx, s, op, g.Do, travel); err != nil {
		return nil, err
	}
	answers := make([]onceguard.Answer, len(members))
	for _, i := range order {
		p := P(&members[i])
		m := p.base()
		if m.resend {
			m.alone, m.resend = false, false
			flush(ctx, []P{p})
		}
		if m.open() {
			m.answer, m.err = s.locked(ctx, op, outcome, p.about(), func(r onceguard.Record, at instant) (onceguard.Step, error) {
				return p.decide(r, at.now), nil
			})
			if code(m.err) == codeLockTimeout {
				s.locks.note(p.about())
			}
		}
		answers[i] = m.result()
	}
	return answers, nil
}

// queueSettle asks for T7 inside the caller's transaction.
func (s *Store) queueSettle(b *pgx.Batch, n onceguard.Settlement, a *onceguard.Answer) {
	m := settleMember{said: n}
	if !m.prepare() {
		return
	}
	r := &m.record
	b.Queue(s.sql.settle, n.ID[:], n.Attempt, m.owner[:], int16(r.State), r.SettledBy, r.Reason,
		r.Result.Body, r.Result.Type, hash(r.Result.Digest), int16(r.Result.Missing)).
		QueryRow(func(row pgx.Row) error {
			var now time.Time
			got, err := scan(row, &now)
			if err != nil {
				return unlessNone(err)
			}
			err = m.answered(got, now.UTC(), nil)
			*a = m.answer
			return err
		})
}

func unlessNone(err error) error {
	if none(err) {
		return nil
	}
	return err
}
