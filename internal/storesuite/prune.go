package storesuite

import (
	"time"

	"github.com/onceguard/onceguard"
)

var pruneCases = []testCase{
	{"result goes first, identity later", pruneTwoSteps},
	{"a dry run counts and changes nothing", pruneDry},
	{"what may have happened is never pruned", pruneNever},
	{"released goes with its identity, unless an attempt is unknown", pruneReleased},
	{"forever keeps", pruneForever},
	{"page by page", prunePages},
	{"a pruned request is new, but not under an old key", pruneAmnesia},
	{"a tombstone still replays, refuses and keeps evidence", pruneTombstone},
}

// gone is a retention that is over after lapse.
const gone = brief

// pruneAll prunes to the end and adds up.
func (e *env) pruneAll(dry bool) (total onceguard.Pruned) {
	e.Helper()
	p := onceguard.PruneRequest{Limit: 3, DryRun: dry}
	for range 1000 {
		x, err := e.Store.Prune(e.ctx, p)
		e.must(err)
		if x.Looked > p.Limit {
			e.Errorf("looked at %d records, the limit is %d", x.Looked, p.Limit)
		}
		total.Looked += x.Looked
		total.Tombstoned += x.Tombstoned
		total.Deleted += x.Deleted
		if x.Done {
			return total
		}
		if x.Next == "" {
			e.Fatal("a prune that is not done gives no cursor")
		}
		p.Cursor = x.Next
	}
	e.Fatal("the prune does not end")
	return total
}

func (e *env) pruned(tombstoned, deleted int) {
	e.Helper()
	if got := e.pruneAll(false); got.Tombstoned != tombstoned || got.Deleted != deleted {
		e.Errorf("%d tombstoned, %d deleted; want %d and %d", got.Tombstoned, got.Deleted, tombstoned, deleted)
	}
}

func pruneTwoSteps(e *env) {
	kept := e.granted()
	e.settle(succeeds(kept, 1), onceguard.Settled, onceguard.T7)
	c := e.granted(retained(gone, long), withInput([]byte("input")))
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.lapse()
	before := e.found(c.ID)
	e.pruned(1, 0)
	want := before
	want.Pruned, want.Input, want.Result.Body, want.Result.Missing = true, nil, nil, onceguard.BodyPruned
	e.same(want, e.found(c.ID))
	e.pruned(0, 0)

	c = e.granted(retained(gone, gone))
	e.settle(says(c, 1, onceguard.SettleFailed, "no"), onceguard.Settled, onceguard.T8)
	e.lapse()
	e.pruned(0, 1)
	e.missing(c.ID)
	e.evidence(c.ID)
	e.same(e.found(kept.ID), e.claim(again(kept), onceguard.Settled, onceguard.NoTransition).Record)
}

func pruneDry(e *env) {
	c, d := e.granted(retained(gone, long)), e.granted(retained(gone, gone))
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.settle(succeeds(d, 1), onceguard.Settled, onceguard.T7)
	e.lapse()
	before := e.found(c.ID)
	for range 2 {
		if got := e.pruneAll(true); got.Tombstoned != 1 || got.Deleted != 1 {
			e.Errorf("a dry run counts %d tombstones and %d deletions, want one each", got.Tombstoned, got.Deleted)
		}
	}
	e.same(before, e.found(c.ID))
	e.state(d.ID, onceguard.Succeeded, 1)
	e.pruned(1, 1)
}

func pruneNever(e *env) {
	claimed := e.granted(retained(gone, gone), leased(brief))
	parked := e.parked(retained(gone, gone))
	repeated := e.granted(retained(gone, gone), under(rerun))
	e.settle(says(repeated, 1, onceguard.SettleUnknown, "?"), onceguard.Applied, onceguard.T9b)
	e.lapse()
	e.pruned(0, 0)
	e.state(claimed.ID, onceguard.Claimed, 1)
	e.state(parked.ID, onceguard.Uncertain, 1)
	e.state(repeated.ID, onceguard.Claimed, 1)
}

func pruneReleased(e *env) {
	c := e.granted(retained(gone, gone))
	e.release(c, 1)
	unknown := e.lost(under(rerun), retained(gone, gone))
	e.release(unknown, 2)
	waived := e.parked(retained(gone, gone))
	e.resolve(person(verdict(waived, 1, onceguard.ResolveRunAgain)), onceguard.Applied, onceguard.T13)
	resultOnly := e.granted(retained(gone, long))
	e.release(resultOnly, 1)
	e.lapse()
	e.pruned(0, 1)
	e.missing(c.ID)
	e.state(unknown.ID, onceguard.Released, 2)
	e.state(waived.ID, onceguard.Released, 1)
	e.state(resultOnly.ID, onceguard.Released, 1)
}

func pruneForever(e *env) {
	whole := e.granted(retained(onceguard.Forever, onceguard.Forever))
	identity := e.granted(retained(gone, onceguard.Forever))
	e.settle(succeeds(whole, 1), onceguard.Settled, onceguard.T7)
	e.settle(succeeds(identity, 1), onceguard.Settled, onceguard.T7)
	released := e.granted(retained(onceguard.Forever, onceguard.Forever))
	e.release(released, 1)
	e.lapse()
	if e.AdvanceClock != nil {
		e.AdvanceClock(100 * 365 * 24 * time.Hour)
	}
	e.pruned(1, 0)
	if r := e.state(whole.ID, onceguard.Succeeded, 1); r.Pruned || !r.Result.Intact() {
		e.Error("a result kept for ever is gone")
	}
	e.state(released.ID, onceguard.Released, 1)
}

func prunePages(e *env) {
	for i := range 10 {
		c := e.granted(retained(gone, gone))
		if i%2 == 0 {
			e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
		}
	}
	e.lapse()
	if got := e.pruneAll(true); got.Deleted != 5 {
		e.Errorf("a dry run finds %d of 5", got.Deleted)
	}
	e.pruned(0, 5)
	if left := len(e.list(onceguard.Filter{}).Records); left != 5 {
		e.Errorf("%d records are left of 5", left)
	}
}

func pruneAmnesia(e *env) {
	c := e.granted(retained(gone, gone))
	issued := e.now()
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.lapse()
	e.pruned(0, 1)
	old := again(c)
	old.IssuedAt = issued
	e.claim(old, onceguard.TooOld, onceguard.NoTransition)
	e.missing(c.ID)
	r := e.claim(again(c), onceguard.Granted, onceguard.T1).Record
	if r.Attempt != 1 || r.UnknownAttempt {
		e.Errorf("attempt %d, unknown %v", r.Attempt, r.UnknownAttempt)
	}
	e.evidence(c.ID)
}

func pruneTombstone(e *env) {
	c := e.granted(retained(gone, long))
	_, err := e.Store.Checkpoint(e.ctx, onceguard.Checkpoint{ID: c.ID, Attempt: 1, Owner: c.Owner, Body: []byte("re_1")})
	e.must(err)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.lapse()
	e.pruned(1, 0)
	e.claim(again(c), onceguard.Settled, onceguard.NoTransition)
	other := again(c)
	other.Fingerprints = []onceguard.Fingerprint{print("other")}
	e.claim(other, onceguard.Mismatched, onceguard.NoTransition)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.NoTransition)
	e.settle(says(c, 1, onceguard.SettleFailed, "no"), onceguard.Settled, onceguard.T14)
	list := e.evidence(c.ID, onceguard.EvidenceCheckpoint, onceguard.EvidenceConflict)
	if len(list[0].Body) != 0 {
		e.Errorf("the evidence kept its body %q after the result was dropped", list[0].Body)
	}
	e.state(c.ID, onceguard.Succeeded, 1)
}
