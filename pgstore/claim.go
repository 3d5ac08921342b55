package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onceguard/onceguard"
)

// Claim implements onceguard.Store. Members go to the server together with those
// of other callers, in one transaction in the order of their request IDs. What
// the insert did not grant is read; what reading did not decide (another's
// lapsed claim, a released row, one's own token) follows one by one under the
// row's lock, on the caller's own goroutine.
func (s *Store) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	for i := range claims {
		if len(claims[i].Fingerprints) == 0 {
			return nil, s.refuse("claim", "claim of %s has no fingerprint", claims[i].ID)
		}
	}
	order, err := s.sorted(ctx, "claim", len(claims), func(i int) *onceguard.RequestID { return &claims[i].ID })
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	members := make([]claimMember, len(claims))
	travel := make([]*claimMember, 0, len(claims))
	for _, i := range order {
		m := &members[i]
		if m.claim = claims[i]; s.locks.held(m.claim.ID) {
			m.alone = true
		} else {
			travel = append(travel, m)
		}
	}
	if err := together(ctx, s, "claim", s.groups.claims.Do, travel); err != nil {
		return nil, err
	}
	s.claimRest(ctx, members, order)
	answers := make([]onceguard.Answer, len(claims))
	for i := range members {
		answers[i] = members[i].result()
	}
	return answers, nil
}

// claimRest decides, member by member, what the batch did not.
func (s *Store) claimRest(ctx context.Context, members []claimMember, order []int) {
	var undecided []onceguard.RequestID
	for _, i := range order {
		m := &members[i]
		if m.resend {
			s.claimAlone(ctx, m)
		}
		if m.open() && !m.alone {
			undecided = append(undecided, m.claim.ID)
		}
	}
	var found []readMember
	if len(undecided) > 0 {
		// The rows that inserts ran into: a statement of its own sees them. If
		// it fails, the lock will tell.
		found, _ = s.gets(ctx, "claim", undecided)
	}
	for _, i := range order {
		m := &members[i]
		if !m.open() {
			continue
		}
		if !m.alone && len(found) > 0 {
			if r := &found[0]; r.answer.Outcome == onceguard.Found {
				step := r.answer.Record.Claim(m.claim, r.answer.Now)
				if !step.Write && len(step.Evidence) == 0 && step.Outcome != onceguard.Granted {
					m.answer = step.Answer(r.answer.Now)
				}
			}
			found = found[1:]
		}
		if m.open() {
			m.answer = s.claimLocked(ctx, m.claim)
		}
	}
}

// claimAlone sends the claim of a batch that failed because of one member.
func (s *Store) claimAlone(ctx context.Context, m *claimMember) {
	m.alone, m.resend = false, false
	s.flushClaims(ctx, []*claimMember{m})
}

// single reports whether a batch failed for a reason that may lie in one of
// its members: each is then sent alone.
func single(err error) bool {
	var se *onceguard.StoreError
	c := code(err)
	if !errors.As(err, &se) || !se.Clean || len(c) != 5 {
		return false
	}
	return c == codeLockTimeout || again(err) || c[:2] == "22" || c[:2] == "23"
}

// firstOnly is the order of one.
var firstOnly = []int{0}

// sorted returns the order of n IDs in which all sessions lock rows, so that
// two batches cannot wait for each other. It refuses an ID that occurs twice.
func (s *Store) sorted(ctx context.Context, op string, n int, at func(int) *onceguard.RequestID) ([]int, error) {
	order := firstOnly
	if n != 1 {
		order = make([]int, n)
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(a, b int) int { return compareIDs(at(a), at(b)) })
	}
	for k, i := range order {
		if k > 0 && *at(i) == *at(order[k-1]) {
			return nil, s.refuse(op, "%s occurs twice in one call: ask once per request", *at(i))
		}
		if err := s.outside(ctx, op, *at(i)); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func compareIDs(a, b *onceguard.RequestID) int { return bytes.Compare(a[:], b[:]) }

// freezes reports whether a frozen store must not grant c: see Step.Freeze,
// which decides where a row is there already.
func freezes(c onceguard.Claim) bool {
	first := onceguard.Step{Outcome: onceguard.Granted, Record: onceguard.Record{Policy: c.Policy}}
	return first.Freeze(c).Outcome == onceguard.Frozen
}

// claimLocked decides one claim under the row's lock. Its failure is the
// member's own.
func (s *Store) claimLocked(ctx context.Context, c onceguard.Claim) onceguard.Answer {
	for {
		begun := time.Now()
		var at instant
		a, err := s.locked(ctx, "claim", common, c.ID, func(r onceguard.Record, now instant) (onceguard.Step, error) {
			at = now
			step := r.Claim(c, at.now)
			if at.changed() {
				step = step.Freeze(c)
			}
			return step, nil
		})
		if code(err) == codeLockTimeout {
			s.locks.note(c.ID)
			a, err = s.heldClaim(ctx, c)
		}
		if err != nil {
			return onceguard.Answer{Err: err}
		}
		if a.Transition == onceguard.T1 && time.Since(begun) > slow {
			continue // the insert may have waited: its lease counts from before, and T2 follows
		}
		if a.Outcome == onceguard.Frozen {
			switch on, err := s.newEpoch(ctx, at); {
			case err != nil:
				return onceguard.Answer{Err: err}
			case on:
				continue
			}
		}
		return a
	}
}

// heldClaim answers a claim whose row another session keeps locked: from what
// is committed, and Held where that would need the lock.
func (s *Store) heldClaim(ctx context.Context, c onceguard.Claim) (onceguard.Answer, error) {
	list, err := s.Get(ctx, []onceguard.RequestID{c.ID})
	if err == nil {
		err = list[0].Err
	}
	if err != nil {
		return onceguard.Answer{}, err
	}
	now, r := list[0].Now, list[0].Record
	if list[0].Outcome == onceguard.Found {
		step := r.Claim(c, now)
		if !step.Write && len(step.Evidence) == 0 && step.Outcome != onceguard.Granted {
			return step.Answer(now), nil
		}
		if step.Outcome == onceguard.Mismatched { // with evidence to write
			return step.Answer(now), nil
		}
	}
	r.ID = c.ID
	return onceguard.Answer{Outcome: onceguard.Held, Record: r, Now: now}, nil
}

// refuse is a clean failure that trying again does not mend.
func (s *Store) refuse(op, format string, args ...any) error {
	return &onceguard.StoreError{Op: op, Clean: true, Permanent: true, Err: fmt.Errorf(format, args...)}
}
