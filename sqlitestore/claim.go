package sqlitestore

import (
	"context"

	"github.com/onceguard/onceguard"
)

// claiming is a claim on its way through a batch.
type claiming struct {
	slot
	claim onceguard.Claim
	read  bool // a plain read found no answer
}

func (m *claiming) size() int { return overhead + len(m.claim.Input) }

// Claim implements onceguard.Store: the claims of a call travel in one
// transaction with what other calls of this process write at the same time.
//
// What the rule answers from the row without writing (a replay, a lease that
// runs, a mismatch) never waits for the write lock: a read sees everything that
// was committed before it began, which is all that such an answer claims.
func (s *Store) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	const op = "claim"
	for i := range claims {
		if len(claims[i].Fingerprints) == 0 {
			return nil, refused(op, "claim of %s has no fingerprint", claims[i].ID)
		}
	}
	return each(ctx, s, op, claims, question[onceguard.Claim]{
		id:   func(c *onceguard.Claim) onceguard.RequestID { return c.ID },
		peek: s.peekFirst,
		member: func(c *onceguard.Claim, read bool) member {
			return &claiming{slot: slot{op: op, id: c.ID}, claim: *c, read: read}
		},
	})
}

// peekFirst reads where that is likely to pay.
func (s *Store) peekFirst(ctx context.Context, c *onceguard.Claim) (a onceguard.Answer, found, read bool, err error) {
	if !s.look.first() {
		return a, false, false, nil
	}
	a, found, err = s.peekClaim(ctx, c)
	return a, found, true, err
}

// peekClaim answers a claim from a plain read, if the rule neither writes nor
// adds evidence. The caller checks that the file is still the right one.
func (s *Store) peekClaim(ctx context.Context, c *onceguard.Claim) (a onceguard.Answer, found bool, err error) {
	r, err := s.peek(ctx, c.ID)
	if err != nil || r.State == onceguard.Absent {
		return a, false, err
	}
	s.look.hit()
	now := s.now()
	step := r.Claim(*c, now)
	if step.Outcome == onceguard.Granted || step.Write || len(step.Evidence) > 0 {
		return a, false, nil
	}
	return step.Answer(now), true, nil
}

// decide tries T1 first, with one statement: of most claims there is no row. One
// that is there already is left alone, read, and judged.
func (m *claiming) decide(t *txn) error {
	if step := (onceguard.Record{}).Claim(m.claim, t.now); step.Transition == onceguard.T1 && t.row.frozenWhy == "" && t.room() == nil {
		n, err := t.first(step.Record)
		switch {
		case isMember(err):
			m.reject(err)
			return nil
		case err != nil:
			return err
		case n == 1:
			m.answer = step.Answer(t.now)
			m.row = t.last()
			return nil
		}
		t.s.look.hit()
	}
	return m.judge(t, func(t *txn, r onceguard.Record) (onceguard.Step, error) {
		return t.granting(r.Claim(m.claim, t.now), m.claim)
	})
}

// last is where the latest insert put its row.
func (t *txn) last() int64 {
	if c, ok := t.runner.(*session); ok {
		return c.last
	}
	return 0
}

// first inserts the record of a first claim, unless the request has a row.
func (t *txn) first(r onceguard.Record) (int64, error) {
	var at any = micros(r.CreatedAt) // all of its times are this one
	t.args = append(t.args[:0],
		r.ID[:], r.Scope, r.Action, r.Key,
		int64(r.Fingerprint.Version), r.Fingerprint.KeyID, r.Fingerprint.Sum[:],
		int64(r.Policy.Kind), int64(r.Policy.Horizon), int64(r.Policy.Refusals), int64(r.Policy.MaxAttempts),
		r.Owner[:], r.Process, flag(r.RunAfterNeverWill),
		at, at, at, micros(r.LeaseUntil), at,
		int64(r.ResultRetention), int64(r.IdentityRetention), blob(r.Input))
	n, err := t.exec(firstClaim, t.args...)
	t.wrote = t.wrote || n > 0
	return n, err
}

// granting is the last word on a grant: a frozen store gives none to those who
// must not start twice, and a full disk gives none at all, since the receipt
// might not fit.
func (t *txn) granting(step onceguard.Step, c onceguard.Claim) (onceguard.Step, error) {
	if t.row.frozenWhy != "" {
		step = step.Freeze(c)
	}
	if step.Outcome != onceguard.Granted {
		return step, nil
	}
	return step, t.room()
}

// room asks the disk once per transaction.
func (t *txn) room() error {
	if !t.roomAsked {
		t.roomAsked, t.noRoom = true, t.s.room()
	}
	return t.noRoom
}

// Get implements onceguard.Store.
func (s *Store) Get(ctx context.Context, ids []onceguard.RequestID) ([]onceguard.Answer, error) {
	const op = "get"
	if err := s.usable(ctx); err != nil {
		return nil, cleanly(op, err)
	}
	if err := distinct(op, ids, func(id *onceguard.RequestID) onceguard.RequestID { return *id }); err != nil {
		return nil, err
	}
	out := make([]onceguard.Answer, len(ids))
	for i, id := range ids {
		r, err := s.lookup(ctx, id)
		if err != nil {
			out[i].Err = cleanly(op, err)
			continue
		}
		out[i] = onceguard.Answer{Outcome: onceguard.Found, Record: r, Now: s.now()}
		if r.State == onceguard.Absent {
			out[i].Outcome, out[i].Record = onceguard.Missing, onceguard.Record{}
		}
	}
	return out, nil
}
