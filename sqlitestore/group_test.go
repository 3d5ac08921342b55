package sqlitestore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/groupcommit"
	"github.com/onceguard/onceguard/sqlitestore"
)

// until waits for the store's counters.
func until(t testing.TB, s *sqlitestore.Store, what string, is func(groupcommit.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(s.Stats()); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s: %+v", what, s.Stats())
		}
	}
}

// batched makes the calls travel in one batch, in their order: a first call is
// kept waiting until all of them have gathered. between runs then.
func batched(t *testing.T, s *sqlitestore.Store, between func(), calls ...func()) {
	t.Helper()
	release := s.Hold()
	var all sync.WaitGroup
	all.Go(func() {
		must(t, s.AppendEvidence(ctx, onceguard.Evidence{Kind: onceguard.EvidenceLookup, Body: fmt.Append(nil, s.Stats().Batches)}))
	})
	until(t, s, "the first call", func(st groupcommit.Stats) bool { return st.Running == 1 })
	for i, call := range calls {
		all.Go(call)
		until(t, s, "the next call", func(st groupcommit.Stats) bool { return st.Waiting == i+1 })
	}
	if between != nil {
		between()
	}
	release()
	all.Wait()
}

func TestCallsShareACommit(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	const callers = 100
	held := make([]onceguard.Claim, callers)
	for i := range held {
		held[i] = grant(t, s, fmt.Sprint("held ", i))
	}
	before, commits := s.Stats().Batches, s.Commits()
	var calls []func()
	for i := range callers {
		calls = append(calls,
			func() { grant(t, s, fmt.Sprint("new ", i)) },
			func() {
				if a := settle(t, s, success(held[i], []byte("paid"))); a.Transition != onceguard.T7 {
					t.Errorf("settle %d: %s by %s", i, a.Outcome, a.Transition)
				}
			})
	}
	batched(t, s, nil, calls...)
	if got := s.Commits() - commits; got != 2 { // the first one's, and that of all others
		t.Errorf("%d calls took %d commits, want 2", len(calls)+1, got)
	}
	if st := s.Stats(); st.Batches-before != 2 || st.Largest != len(calls) {
		t.Errorf("%d batches, the largest of %d members; want 2, %d", st.Batches-before, st.Largest, len(calls))
	}
	for i := range callers {
		if r := get(t, s, held[i].ID); r.State != onceguard.Succeeded {
			t.Errorf("held %d is %s", i, r.State)
		}
		if r := get(t, s, request(t, fmt.Sprint("new ", i)).ID); r.State != onceguard.Claimed {
			t.Errorf("new %d is %s", i, r.State)
		}
	}
}

// Nobody waits for others to come.
func TestALoneCallerCommitsOnce(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	before, commits := s.Stats().Batches, s.Commits()
	const n = 20
	for i := range n {
		settle(t, s, success(grant(t, s, fmt.Sprint(i)), []byte("paid")))
	}
	if got, batches := s.Commits()-commits, s.Stats().Batches-before; got != 2*n || batches != 2*n {
		t.Errorf("%d claims and settles took %d commits in %d batches", n, got, batches)
	}
}

// What one member of a batch does, or fails to do, is its own affair.
func TestNeighboursInABatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, other := open(t, path, quiet()), open(t, path, quiet())
	good, known, stolen, parked := grant(t, s, "good"), grant(t, s, "known"), grant(t, s, "stolen"), grant(t, s, "parked")
	_, err := s.DB().Exec(fmt.Sprintf("CREATE TRIGGER no BEFORE INSERT ON onceguard_evidence WHEN NEW.request_id = x'%x' BEGIN SELECT raise(ABORT, 'no'); END", parked.ID[:]))
	must(t, err)

	invalid := request(t, "invalid")
	invalid.Action = "" // which the schema refuses
	raced := request(t, "raced")
	raced.Fingerprints[0].Sum[0]++
	stolen.Owner[0]++
	renewal := onceguard.Renewal{ID: known.ID, Attempt: 1, Owner: known.Owner, Lease: 2 * known.Lease}
	var answers [8]onceguard.Answer
	var errs [8]error
	keep := func(i int, list []onceguard.Answer, err error) {
		if errs[i] = err; err == nil {
			answers[i] = list[0]
		}
	}
	claims := func(i int, c onceguard.Claim) func() {
		return func() {
			list, err := s.Claim(ctx, []onceguard.Claim{c})
			keep(i, list, err)
		}
	}
	settles := func(i int, n onceguard.Settlement) func() {
		return func() {
			list, err := s.Settle(ctx, []onceguard.Settlement{n})
			keep(i, list, err)
		}
	}
	before, commits := s.Stats().Batches, s.Commits()
	batched(t, s,
		func() { grant(t, other, "raced") }, // between its peek and its batch
		settles(0, success(good, []byte("paid"))),
		settles(1, success(stolen, []byte("not mine"))),
		settles(2, onceguard.Settlement{ID: parked.ID, Attempt: 1, Owner: parked.Owner, Verb: onceguard.SettleUnknown}),
		claims(3, invalid),
		claims(4, raced),
		claims(5, request(t, "new")),
		func() { list, err := s.Renew(ctx, []onceguard.Renewal{renewal}); keep(6, list, err) },
		func() {
			list, err := s.Renew(ctx, []onceguard.Renewal{{ID: request(t, "nothing").ID, Attempt: 1, Owner: known.Owner}})
			keep(7, list, err)
		},
	)
	if got, n := s.Commits()-commits, s.Stats().Batches-before; got != 2 || n != 2 {
		t.Errorf("%d commits in %d batches: they did not travel together", got, n)
	}
	for i, want := range []onceguard.Outcome{onceguard.Settled, onceguard.Fenced, 0, 0, onceguard.Mismatched, onceguard.Granted, onceguard.Applied, onceguard.Missing} {
		if errs[i] != nil || answers[i].Outcome != want {
			t.Errorf("member %d is %s (%v, %v), want %s", i, answers[i].Outcome, answers[i].Err, errs[i], want)
		}
	}
	storeErr(t, answers[2].Err, true, true)
	storeErr(t, answers[3].Err, true, true)
	for name, want := range map[string]onceguard.State{
		"good": onceguard.Succeeded, "stolen": onceguard.Claimed, "parked": onceguard.Claimed,
		"invalid": onceguard.Absent, "raced": onceguard.Claimed, "new": onceguard.Claimed, "known": onceguard.Claimed,
	} {
		if r := get(t, s, request(t, name).ID); r.State != want {
			t.Errorf("%s is %s, want %s", name, r.State, want)
		}
	}
	late, err := s.Evidence(ctx, stolen.ID)
	must(t, err)
	if len(late) != 1 || late[0].Kind != onceguard.EvidenceLate {
		t.Errorf("what the superseded owner said is %+v", late)
	}
}

// A commit whose outcome is not known is told so to everybody in it, and all of
// them can ask again with their tokens.
func TestUnclearCommitIsToldToAll(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	held := grant(t, s, "held")
	_, err := s.DB().Exec(`CREATE TABLE parent (id INTEGER PRIMARY KEY);
		CREATE TABLE child (p INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
		CREATE TRIGGER orphan AFTER INSERT ON onceguard_receipt BEGIN INSERT INTO child VALUES (1); END`)
	must(t, err)
	must(t, s.OnWriter(ctx, "PRAGMA foreign_keys = 1")) // COMMIT itself fails after a claim from here on
	a, b := request(t, "a"), request(t, "b")
	receipt := success(held, []byte("paid"))
	var errs [3]error
	batched(t, s, nil,
		func() { _, errs[0] = s.Claim(ctx, []onceguard.Claim{a}) },
		func() { _, errs[1] = s.Claim(ctx, []onceguard.Claim{b}) },
		func() { _, errs[2] = s.Settle(ctx, []onceguard.Settlement{receipt}) })
	for i, err := range errs {
		var se *onceguard.StoreError
		if !errors.As(err, &se) || se.Clean {
			t.Errorf("member %d: %v, want an error that is not clean", i, err)
		}
	}
	_, err = s.DB().Exec("DROP TRIGGER orphan")
	must(t, err)
	for _, c := range []onceguard.Claim{a, b} {
		if got := claim(t, s, c); got.Outcome != onceguard.Granted || got.Record.Attempt != 1 {
			t.Errorf("asked again: %s", got.Outcome)
		}
	}
	if got := settle(t, s, receipt); got.Outcome != onceguard.Settled || !got.Mine {
		t.Errorf("settled again: %s", got.Outcome)
	}
}

func TestCancelledWhileItWaits(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	gone, leave := context.WithCancel(ctx)
	c := request(t, "gone")
	var err error
	left := make(chan struct{})
	batched(t, s,
		func() { leave(); <-left },
		func() { grant(t, s, "neighbour") },
		func() {
			defer close(left)
			_, err = s.Claim(gone, []onceguard.Claim{c})
		})
	storeErr(t, err, true, false)
	if r := get(t, s, c.ID); r.State != onceguard.Absent {
		t.Errorf("the claim of the caller that left in time is %s", r.State)
	}
	if r := get(t, s, request(t, "neighbour").ID); r.State != onceguard.Claimed {
		t.Errorf("its neighbour is %s", r.State)
	}
}

// A caller that leaves when its batch is being written cannot be told that
// nothing was written.
func TestCancelledWhileItIsWritten(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	lock, err := s.DB().Begin() // another process that writes
	must(t, err)
	first, giveUp := context.WithCancel(ctx)
	gone, leave := context.WithCancel(ctx)
	c := request(t, "gone")
	var all sync.WaitGroup
	var errFirst, errGone error
	all.Go(func() { _, errFirst = s.Claim(first, []onceguard.Claim{request(t, "first")}) })
	until(t, s, "the first call", func(st groupcommit.Stats) bool { return st.Running == 1 })
	returned := make(chan struct{})
	all.Go(func() {
		defer close(returned)
		_, errGone = s.Claim(gone, []onceguard.Claim{c})
	})
	until(t, s, "the second", func(st groupcommit.Stats) bool { return st.Waiting == 1 })
	all.Go(func() { grant(t, s, "neighbour") })
	until(t, s, "the third", func(st groupcommit.Stats) bool { return st.Waiting == 2 })
	giveUp() // it waits for the lock on its own, so it ends cleanly, and the others are next
	until(t, s, "their batch", func(st groupcommit.Stats) bool { return st.Running == 1 && st.Flying == 2 })
	leave()
	<-returned
	must(t, lock.Rollback())
	all.Wait()
	storeErr(t, errFirst, true, false)
	storeErr(t, errGone, false, false)
	for name, want := range map[string]onceguard.State{"first": onceguard.Absent, "gone": onceguard.Claimed, "neighbour": onceguard.Claimed} {
		if r := get(t, s, request(t, name).ID); r.State != want {
			t.Errorf("%s is %s, want %s", name, r.State, want)
		}
	}
	if a := claim(t, s, c); a.Transition != onceguard.T2 || !a.Mine {
		t.Errorf("asked again: %s by %s", a.Outcome, a.Transition)
	}
}

// A lock that stays taken means that nothing of a batch was run.
func TestBusyIsToldToAll(t *testing.T) {
	o := quiet()
	o.Busy = time.Second
	s := open(t, filepath.Join(t.TempDir(), "x.db"), o)
	held := grant(t, s, "held")
	lock, err := s.DB().Begin() // another process that writes
	must(t, err)
	first, giveUp := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { _, _ = s.Claim(first, []onceguard.Claim{request(t, "first")}) })
	until(t, s, "the first call", func(st groupcommit.Stats) bool { return st.Running == 1 })
	before := s.Stats().Batches
	var errs [4]error
	for i := range errs {
		all.Go(func() {
			if i == 0 {
				_, errs[i] = s.Settle(ctx, []onceguard.Settlement{success(held, nil)})
			} else {
				_, errs[i] = s.Claim(ctx, []onceguard.Claim{request(t, fmt.Sprint(i))})
			}
		})
		until(t, s, "the next call", func(st groupcommit.Stats) bool { return st.Waiting == i+1 })
	}
	giveUp() // the others are next, and wait in vain
	all.Wait()
	if n := s.Stats().Batches - before; n != 1 {
		t.Errorf("%d batches: they did not travel together", n)
	}
	must(t, lock.Rollback())
	for i, err := range errs {
		storeErr(t, err, true, false)
		if r := get(t, s, request(t, fmt.Sprint(i)).ID); r.State != onceguard.Absent {
			t.Errorf("claim %d is %s", i, r.State)
		}
	}
	if r := get(t, s, held.ID); r.State != onceguard.Claimed {
		t.Errorf("the settled one is %s", r.State)
	}
}

// Two calls about one request never share a batch: each sees what the other did.
func TestOneRequestInTwoCalls(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	before := s.Stats().Batches
	var got [2]onceguard.Answer
	one, two := request(t, "same"), request(t, "same")
	batched(t, s, nil,
		func() { got[0] = claim(t, s, one) },
		func() { got[1] = claim(t, s, two) })
	if n := s.Stats().Batches - before; n != 3 {
		t.Errorf("%d batches, want 3: the first call's and one for each", n)
	}
	if got[0].Outcome != onceguard.Granted || got[1].Outcome != onceguard.Held || got[1].Record.Owner != one.Owner.Hash() {
		t.Errorf("answered %s and %s", got[0].Outcome, got[1].Outcome)
	}
}

// The answer about what was written with one statement is what lies in the file.
func TestAnswersAreTheRow(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	full := request(t, "full")
	full.Policy = onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)
	full.Policy.MaxAttempts = 7
	full.RunAfterNeverWill, full.Input, full.ResultRetention = true, []byte("input"), onceguard.Forever
	for _, c := range []onceguard.Claim{request(t, "plain"), full} {
		a := claim(t, s, c)
		if diff := cmp.Diff(get(t, s, c.ID), a.Record); diff != "" || a.Transition != onceguard.T1 {
			t.Errorf("%s (-row +answer):\n%s", a.Transition, diff)
		}
		list, err := s.Renew(ctx, []onceguard.Renewal{{ID: c.ID, Attempt: 1, Owner: c.Owner, Lease: 3 * time.Hour}})
		must(t, err)
		if diff := cmp.Diff(get(t, s, c.ID), list[0].Record); diff != "" || list[0].Transition != onceguard.T6 {
			t.Errorf("%s (-row +answer):\n%s", list[0].Transition, diff)
		}
		clear(c.Input) // the caller's again
		a = settle(t, s, success(c, []byte("paid")))
		if diff := cmp.Diff(get(t, s, c.ID), a.Record); diff != "" || a.Transition != onceguard.T7 {
			t.Errorf("%s (-row +answer):\n%s", a.Transition, diff)
		}
	}
}

// What this process remembers of its claims is not believed where the file says
// something else.
func TestRememberedClaimThatChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	s, other := open(t, path, quiet()), open(t, path, quiet())
	retry := func(name string) onceguard.Claim {
		c := request(t, name)
		c.Policy = onceguard.SafeRetry(time.Hour, onceguard.RefusalsForgotten)
		if a := claim(t, s, c); a.Outcome != onceguard.Granted {
			t.Fatalf("claim: %s", a.Outcome)
		}
		return c
	}
	refusal := func(c onceguard.Claim) onceguard.Settlement {
		return onceguard.Settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleFailed, Reason: "declined"}
	}
	t.Run("marked unknown", func(t *testing.T) {
		c := retry("1")
		a := settle(t, other, onceguard.Settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleUnknown}) // without a reason, the mark alone changes
		if a.Transition != onceguard.T9b {
			t.Fatalf("%s by %s", a.Outcome, a.Transition)
		}
		if a := settle(t, s, refusal(c)); a.Record.State != onceguard.Uncertain {
			t.Errorf("refused after an unknown attempt: %s by %s", a.Record.State, a.Transition)
		}
	})
	t.Run("taken over", func(t *testing.T) {
		c := retry("2")
		settle(t, other, onceguard.Settlement{ID: c.ID, Attempt: 1, Owner: c.Owner, Verb: onceguard.SettleUnknown, Reason: "timeout"})
		again := request(t, "2")
		again.Policy = c.Policy
		if a := claim(t, other, again); a.Transition != onceguard.T4 {
			t.Fatalf("%s by %s", a.Outcome, a.Transition)
		}
		if a := settle(t, s, success(c, []byte("paid"))); a.Outcome != onceguard.Fenced || a.Record.Attempt != 2 {
			t.Errorf("the superseded owner is answered %s, attempt %d", a.Outcome, a.Record.Attempt)
		}
	})
	t.Run("renewed", func(t *testing.T) {
		c := retry("3")
		_, err := other.Renew(ctx, []onceguard.Renewal{{ID: c.ID, Attempt: 1, Owner: c.Owner, Lease: 9 * time.Hour}})
		must(t, err)
		until := get(t, s, c.ID).LeaseUntil
		_, err = s.Renew(ctx, []onceguard.Renewal{{ID: c.ID, Attempt: 1, Owner: c.Owner, Lease: 2 * time.Hour}})
		must(t, err)
		if r := get(t, s, c.ID); r.LeaseUntil.Before(until) {
			t.Errorf("a renewal took back %s of the lease", until.Sub(r.LeaseUntil))
		}
	})
	t.Run("moved by a vacuum", func(t *testing.T) {
		early, late := grant(t, s, "4"), grant(t, s, "5")
		_, err := s.DB().Exec("DELETE FROM onceguard_receipt WHERE request_id = ?", early.ID[:])
		must(t, err)
		_, err = s.DB().Exec("VACUUM")
		must(t, err)
		if a := settle(t, s, success(late, []byte("paid"))); a.Transition != onceguard.T7 {
			t.Errorf("%s by %s", a.Outcome, a.Transition)
		}
		if r := get(t, s, late.ID); r.State != onceguard.Succeeded {
			t.Errorf("the record is %s", r.State)
		}
	})
}

// A replay does not wait for the write lock, in a process too that has not met
// the request before.
func TestFirstReplayNeedsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	settle(t, open(t, path, quiet()), success(grant(t, open(t, path, quiet()), "known"), []byte("paid")))
	s := open(t, path, impatient())
	lock, err := s.DB().Begin()
	must(t, err)
	defer lock.Rollback()
	if a := claim(t, s, request(t, "known")); a.Outcome != onceguard.Settled || string(a.Record.Result.Body) != "paid" {
		t.Errorf("the replay is %s", a.Outcome)
	}
}

// Allocations are counted, because time on a shared machine says little.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	n := 0
	got := testing.AllocsPerRun(200, func() {
		n++
		settle(t, s, success(grant(t, s, fmt.Sprint(n)), []byte("paid")))
	})
	build := testing.AllocsPerRun(200, func() {
		n++
		_ = success(request(t, fmt.Sprint(n)), []byte("paid"))
	})
	if got -= build; got > 115 {
		t.Errorf("a claim and its settle allocate %.0f times, want at most 115", got)
	}
	t.Logf("a claim and its settle allocate %.0f times", got)
}
