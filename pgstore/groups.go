package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/groupcommit"
	"github.com/onceguard/onceguard/internal/mutant"
)

// groups gather the calls that can share a transaction: each kind its own, so
// that outcomes never wait for claims, and each transaction locks its rows in
// the order of their request IDs.
//
// No cycle of waiting sessions can arise. A transaction of claims holds only
// rows that it inserted, which no update and no lock can see; one of outcomes
// or renewals holds rows that it updated and waits only for rows with greater
// IDs; whatever takes a row's lock first (takeovers, resolutions, the sweeper)
// has one row and waits for no other.
type groups struct {
	claims   *groupcommit.Group[onceguard.RequestID, *claimMember]
	settles  *groupcommit.Group[onceguard.RequestID, *settleMember]
	renewals *groupcommit.Group[onceguard.RequestID, *renewMember]
	reads    *groupcommit.Group[onceguard.RequestID, *readMember]
}

// How calls gather. Up to soloWrites of a kind at a time, each has a connection
// of its own, as without a guard: the server lets their commits share a flush of
// its log anyway. With more, one transaction at a time carries all that came
// meanwhile. A second at a time would halve the batches, and a transaction's
// fixed cost (on two cores about 100 us of the server and 50 us here) is what a
// batch saves; the kinds overlap each other as it is. Reads cost the server
// no commit, so that two at a time keep both sides busy.
const (
	soloWrites, slotsWrites = 3, 1
	soloReads, slotsReads   = 3, 2
	maxBatch                = 512
	maxBatchReads           = 256
)

func (s *Store) gather() {
	s.groups = groups{
		claims: groupcommit.New(groupcommit.Options[onceguard.RequestID, *claimMember]{
			Key:   func(m *claimMember) onceguard.RequestID { return m.claim.ID },
			Size:  func(m *claimMember) int { return 512 + len(m.claim.Input) + len(m.claim.Key) },
			Flush: s.flushClaims, Solo: s.opt.solo, Slots: slotsWrites, MaxBatch: maxBatch, Stall: s.opt.stall,
		}),
		settles: groupcommit.New(groupcommit.Options[onceguard.RequestID, *settleMember]{
			Key:   func(m *settleMember) onceguard.RequestID { return m.said.ID },
			Size:  func(m *settleMember) int { return 512 + len(m.record.Result.Body) },
			Flush: s.flushSettles, Solo: s.opt.solo, Slots: slotsWrites, MaxBatch: maxBatch, Stall: s.opt.stall,
		}),
		renewals: groupcommit.New(groupcommit.Options[onceguard.RequestID, *renewMember]{
			Key:   func(m *renewMember) onceguard.RequestID { return m.said.ID },
			Flush: s.flushRenewals, Solo: s.opt.solo, Slots: slotsWrites, MaxBatch: maxBatch, Stall: s.opt.stall,
		}),
		reads: groupcommit.New(groupcommit.Options[onceguard.RequestID, *readMember]{
			// No key: many may read the same row at once.
			Flush: s.flushReads, Solo: soloReads, Slots: slotsReads, MaxBatch: maxBatchReads, Stall: s.opt.stall,
		}),
	}
}

func (g *groups) close() {
	g.claims.Close()
	g.renewals.Close()
	g.settles.Close()
	g.reads.Close()
}

// GroupStats is what one kind of call did since Open, and what waits now.
type GroupStats = groupcommit.Stats

// Stats shows how calls travelled together. Settles counts successes and
// refusals; what takes a row's lock (takeovers, releases, resolutions) travels
// alone and is not counted. With Members far above Batches, commits are shared.
// A large Waiting, and any Outside, mean that the server does not keep up.
type Stats struct {
	Claims, Settles, Renewals, Reads GroupStats
}

// Stats returns the present numbers. It asks no server.
func (s *Store) Stats() Stats {
	return Stats{
		Claims: s.groups.claims.Stats(), Settles: s.groups.settles.Stats(),
		Renewals: s.groups.renewals.Stats(), Reads: s.groups.reads.Stats(),
	}
}

// left turns the failure of a Do into the store's.
func (s *Store) left(op string, err error) error {
	var left *groupcommit.LeftError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, groupcommit.ErrClosed):
		return s.refuse(op, "%w", err)
	case errors.As(err, &left):
		return &onceguard.StoreError{Op: op, Err: err, Clean: !left.Started}
	}
	return &onceguard.StoreError{Op: op, Err: err}
}

// member is what all kinds have: what the batch decided, or how it failed.
type member struct {
	answer onceguard.Answer
	err    error // a *onceguard.StoreError
	alone  bool  // the batch failed for a reason that may lie in one member
	resend bool  // and had others, so that it may not lie in this one
}

// open reports whether nothing is decided yet.
func (m *member) open() bool { return m.err == nil && m.answer.Outcome == onceguard.NoOutcome }

// spoil gives a batch's failure to a member.
func (m *member) spoil(err error, batch int) {
	m.answer = onceguard.Answer{}
	if m.alone = single(err); !m.alone {
		m.err = err
	}
	m.resend = m.alone && batch > 1
}

// result is the member's part of a call's answer.
func (m *member) result() onceguard.Answer {
	if m.err != nil {
		return onceguard.Answer{Err: m.err}
	}
	return m.answer
}

func (m *member) base() *member { return m }

// together sends members through a group. Its error is about all of them: then
// they stay the group's.
func together[P interface{ base() *member }](ctx context.Context, s *Store, op string, do func(context.Context, []P) error, members []P) error {
	if len(members) == 0 {
		return nil
	}
	if err := do(ctx, members); err != nil {
		return s.left(op, err)
	}
	for _, p := range members {
		if p.base().err == nil {
			return nil
		}
	}
	return members[0].base().err
}

// sortMembers puts a batch in the order in which all sessions lock rows.
func sortMembers[P any](batch []P, id func(P) *onceguard.RequestID) {
	if len(batch) > 1 {
		slices.SortFunc(batch, func(a, b P) int { return compareIDs(id(a), id(b)) })
	}
}

// find gives the place of id among n members in order.
func find(n int, id onceguard.RequestID, at func(int) *onceguard.RequestID) (int, error) {
	low, high := 0, n
	for low < high {
		middle := (low + high) / 2
		switch c := compareIDs(at(middle), &id); {
		case c == 0:
			if mutant.On("pg-batch-answers-first") {
				return 0, nil
			}
			return middle, nil
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0, fmt.Errorf("the server answered about %s, which was not asked", id)
}
