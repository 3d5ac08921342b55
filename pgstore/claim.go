package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// slow is how long an insert may have waited for another session's row before
// its lease, counted from before the wait, is renewed.
const slow = 100 * time.Millisecond

// Claim implements onceguard.Store. All members go to the server in one round
// trip and one transaction, in the order of their request IDs; those that it
// could not decide (another's lapsed claim, a released row, one's own token)
// follow one by one under the row's lock.
func (s *Store) Claim(ctx context.Context, claims []onceguard.Claim) ([]onceguard.Answer, error) {
	ids := make([]onceguard.RequestID, len(claims))
	for i, c := range claims {
		if ids[i] = c.ID; len(c.Fingerprints) == 0 {
			return nil, s.refuse("claim", "claim of %s has no fingerprint", c.ID)
		}
	}
	order, err := s.sorted(ctx, "claim", ids)
	if err != nil {
		return nil, err
	}
	answers := make([]onceguard.Answer, len(claims))
	if err := s.claimFast(ctx, claims, order, answers); err != nil && !single(err) {
		return nil, err
	}
	for _, i := range order {
		if answers[i].Outcome == onceguard.NoOutcome {
			answers[i] = s.claimLocked(ctx, claims[i])
		}
	}
	return answers, nil
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

// sorted returns the order of the IDs in which all sessions lock rows, so that
// two batches cannot wait for each other. It refuses an ID that occurs twice.
func (s *Store) sorted(ctx context.Context, op string, ids []onceguard.RequestID) ([]int, error) {
	order := make([]int, len(ids))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(ids[a][:], ids[b][:]) })
	for i, at := range order {
		if i > 0 && ids[at] == ids[order[i-1]] {
			return nil, s.refuse(op, "%s occurs twice in one call: ask once per request", ids[at])
		}
		if err := s.outside(ctx, op, ids[at]); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// claimFast decides what needs no lock: first claims and replays. What it
// leaves has no outcome.
func (s *Store) claimFast(ctx context.Context, claims []onceguard.Claim, order []int, answers []onceguard.Answer) error {
	if len(order) == 0 {
		return nil
	}
	return s.with(ctx, "claim", common, func(ctx context.Context, c *conn) error {
		clear(answers)
		b := &pgx.Batch{}
		s.implicit(b, func() {
			for _, i := range order {
				s.queueClaim(b, c.system, &claims[i], &answers[i])
			}
		})
		if err := failpoint("claim", "before-commit"); err != nil {
			c.sent = true
			return err
		}
		if err := c.run(ctx, b, true); err != nil {
			return err
		}
		return failpoint("claim", "after-commit")
	})
}

func (s *Store) queueClaim(b *pgx.Batch, system string, c *onceguard.Claim, a *onceguard.Answer) {
	owner, print := c.Owner.Hash(), c.Fingerprints[0]
	var latest *time.Time // when the key, having no row, is too old
	if !c.IssuedAt.IsZero() && c.IdentityRetention != onceguard.Forever {
		latest = stamp(c.IssuedAt.Add(c.IdentityRetention))
	}
	b.Queue(s.sql.insertFirst, c.ID[:], c.Scope, c.Action, c.Key, int16(print.Version), print.KeyID, print.Sum[:],
		int16(c.Policy.Kind), int64(c.Policy.Horizon), int16(c.Policy.Refusals), int32(c.Policy.MaxAttempts),
		owner[:], text(c.Process), c.RunAfterNeverWill, micro(c.Lease), int64(c.ResultRetention), int64(c.IdentityRetention), c.Input,
		latest, int32(schemaVersion), freezes(*c), system).
		QueryRow(func(row pgx.Row) error {
			var created, now time.Time
			err := row.Scan(&created, &now)
			if err != nil || now.Sub(created) > slow { // then T2 follows
				return unlessNone(err)
			}
			first := stored(c.FirstRecord(created.UTC()))
			*a = onceguard.Answer{Outcome: onceguard.Granted, Transition: onceguard.T1, Record: first, Now: created.UTC()}
			return nil
		})
	b.Queue(s.sql.readClaim, c.ID[:], owner[:], int32(schemaVersion)).QueryRow(func(row pgx.Row) error {
		var now time.Time
		r, err := scan(row, &now)
		if err != nil {
			return unlessNone(err)
		}
		if step := r.Claim(*c, now.UTC()); !step.Write && len(step.Evidence) == 0 && step.Outcome != onceguard.Granted {
			*a = step.Answer(now.UTC())
		}
		return nil
	})
}

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
			a, err = s.heldClaim(ctx, c)
		}
		if err != nil {
			return onceguard.Answer{Err: err}
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
