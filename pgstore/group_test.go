package pgstore_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// reply is what one caller got.
type reply struct {
	a   onceguard.Answer
	err error
}

// queue is a store whose claims gather behind one that a proxy holds back.
type queue struct {
	*rig
	held    *cutproxy.Handle
	first   chan reply
	waiting int
}

func newQueue(t *testing.T) *queue {
	t.Helper()
	q := &queue{rig: newRig(t, pgstore.Gathering(pgstore.Options{LockTimeout: 300 * time.Millisecond}, 0)), first: make(chan reply, 1)}
	q.held = q.Add(cutproxy.Rule{When: cutproxy.Sends("INSERT INTO onceguard_receipt"), Do: cutproxy.Hold()})
	c := newClaim(t)
	go func() {
		a, err := claim1(q.store, c)
		q.first <- reply{a, err}
	}()
	hit(t, q.held)
	return q
}

// claim queues one call and returns where its answer will come.
func (q *queue) claim(t *testing.T, ctx context.Context, c onceguard.Claim) <-chan reply {
	t.Helper()
	done := make(chan reply, 1)
	go func() {
		a, err := only(q.store.Claim(ctx, []onceguard.Claim{c}))
		done <- reply{a, err}
	}()
	q.waiting++
	q.until(t, q.waiting)
	return done
}

func (q *queue) until(t *testing.T, waiting int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); q.store.Stats().Claims.Waiting != waiting; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls never waited: %+v", waiting, q.store.Stats().Claims)
		}
	}
}

// release lets the first claim go, and with it the batch behind it.
func (q *queue) release(t *testing.T) {
	t.Helper()
	if err := q.held.Release(ctx); err != nil {
		t.Fatal(err)
	}
	r := <-q.first
	want(t, r.a, r.err, onceguard.Granted, onceguard.T1)
}

// transactions is how many transactions made the rows what they are.
func transactions(t *testing.T, url string) int {
	return pgtest.Value[int](t, url, "SELECT count(DISTINCT xmin::text)::integer FROM onceguard_receipt")
}

func TestGatheredCallsShareOneCommit(t *testing.T) {
	for _, n := range []int{5, 100} { // a statement each; one for all
		q := newQueue(t)
		before := transactions(t, q.url)
		claims, done := make([]onceguard.Claim, n), make([]<-chan reply, n)
		for i := range claims {
			claims[i] = newClaim(t, func(c *onceguard.Claim) { c.Process = c.ID.String() })
			done[i] = q.claim(t, ctx, claims[i])
		}
		q.release(t)
		for i, c := range claims {
			r := <-done[i]
			want(t, r.a, r.err, onceguard.Granted, onceguard.T1)
			if r.a.Record.ID != c.ID || r.a.Record.Process != c.Process || r.a.Record.LeaseUntil.Sub(r.a.Now) != c.Lease {
				t.Errorf("claim %d was answered with %+v", i, r.a.Record)
			}
			if got := get(t, q.direct, c.ID); got.Process != c.Process || got.Owner != c.Owner.Hash() || got.Key != c.Key {
				t.Errorf("claim %d is stored as %+v", i, got)
			}
		}
		if got := transactions(t, q.url) - before; got != 2 {
			t.Errorf("%d claims took %d commits, want 2: the first one's and theirs", n+1, got)
		}
		if s := q.store.Stats().Claims; s.Largest != n || s.Waiting != 0 {
			t.Errorf("%+v", s)
		}
		settled := make([]onceguard.Settlement, n)
		for i, c := range claims {
			settled[i] = success(c, 1)
			settled[i].Result = onceguard.NewResult("x", []byte(c.Process))
		}
		list, err := q.store.Settle(ctx, settled)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range list {
			want(t, a, a.Err, onceguard.Settled, onceguard.T7)
			if got := get(t, q.direct, claims[i].ID); a.Record.ID != got.ID || string(got.Result.Body) != got.Process {
				t.Errorf("outcome %d is stored as %+v", i, got)
			}
		}
		if n := pgtest.Value[int](t, q.url, "SELECT count(DISTINCT xmin::text)::integer FROM onceguard_receipt WHERE result_type = 'x'"); n != 1 {
			t.Errorf("the outcomes took %d commits", n)
		}
	}
}

func TestLoneCallerCommitsOncePerCall(t *testing.T) {
	url := migrated(t, pgtest.Server(t))
	s := open(t, url, nil)
	const n = 20
	for i := range n {
		c := newClaim(t)
		mustClaim(t, s, c, onceguard.Granted, onceguard.T1)
		if got := transactions(t, url); got != i+1 {
			t.Fatalf("%d commits for %d claims", got, i+1)
		}
		mustSettle(t, s, success(c, 1), onceguard.Settled, onceguard.T7)
		if got := transactions(t, url); got != i+1 {
			t.Fatalf("%d commits for %d outcomes", got, i+1)
		}
	}
	for name, g := range map[string]pgstore.GroupStats{"claims": s.Stats().Claims, "settles": s.Stats().Settles} {
		if g.Batches != n || g.Members != n || g.Largest != 1 {
			t.Errorf("%s: %+v", name, g)
		}
	}
	if g := s.Stats().Reads; g.Batches != 0 {
		t.Errorf("first claims read: %+v", g)
	}
}

// What is wrong with one member is its own business.
func TestNeighboursInABatch(t *testing.T) {
	q := newQueue(t)
	taken, final, locked := newClaim(t), newClaim(t), newClaim(t)
	mustClaim(t, q.direct, taken, onceguard.Granted, onceguard.T1)
	mustClaim(t, q.direct, final, onceguard.Granted, onceguard.T1)
	mustSettle(t, q.direct, success(final, 1), onceguard.Settled, onceguard.T7)
	twice := newClaim(t)
	other := another(taken)
	other.Fingerprints = []onceguard.Fingerprint{{Version: 1, KeyID: "k1", Sum: [32]byte{9}}}
	short, cancel := context.WithCancel(ctx)

	var good []<-chan reply
	healthy := func(n int) {
		for range n {
			good = append(good, q.claim(t, ctx, newClaim(t)))
		}
	}
	healthy(5)
	bad := q.claim(t, ctx, newClaim(t, func(c *onceguard.Claim) { c.Action = "nul\x00" }))
	blocked := q.claim(t, ctx, another(locked))
	mismatch := q.claim(t, ctx, other)
	replay := q.claim(t, ctx, another(final))
	once, again := q.claim(t, ctx, twice), q.claim(t, ctx, another(twice))
	healthy(5)
	gone := q.claim(t, short, newClaim(t))
	cancel()
	r := <-gone
	storeError(t, r.err, true, false) // its batch was not begun
	q.until(t, q.waiting-1)

	_, err := q.direct.Transact(ctx, locked, func(context.Context, any) (onceguard.Result, error) {
		q.release(t)
		for _, done := range good {
			r := <-done
			want(t, r.a, r.err, onceguard.Granted, onceguard.T1)
		}
		r := <-bad
		storeError(t, r.err, true, true)
		r = <-blocked
		want(t, r.a, r.err, onceguard.Held, onceguard.NoTransition)
		return onceguard.Result{}, errors.New("rolled back")
	})
	if err == nil {
		t.Error("the failed transaction was answered as a success")
	}
	r = <-mismatch
	want(t, r.a, r.err, onceguard.Mismatched, onceguard.NoTransition)
	r = <-replay
	want(t, r.a, r.err, onceguard.Settled, onceguard.NoTransition)
	a, b := <-once, <-again
	if a.a.Outcome == onceguard.Held {
		a, b = b, a
	}
	want(t, a.a, a.err, onceguard.Granted, onceguard.T1)
	want(t, b.a, b.err, onceguard.Held, onceguard.NoTransition)
	if got := get(t, q.direct, twice.ID); got.Owner != a.a.Record.Owner {
		t.Error("the one that was told that it won does not own the row")
	}
	if s := q.store.Stats().Claims; s.Batches < 4 { // warm-up, the held one, all, and the second of the same request
		t.Errorf("one request was twice in a batch: %+v", s)
	}
}

func TestNeighboursOfAnOutcome(t *testing.T) {
	url := migrated(t, pgtest.Server(t))
	s := open(t, url, &pgstore.Options{LockTimeout: 200 * time.Millisecond})
	var said []onceguard.Settlement
	for range 12 {
		c := newClaim(t)
		mustClaim(t, s, c, onceguard.Granted, onceguard.T1)
		said = append(said, success(c, 1))
	}
	const locked, foreign, unknown, missing = 3, 5, 7, 9
	said[foreign].Owner[0]++
	said[unknown].Verb = onceguard.SettleUnknown
	said[missing].ID = newClaim(t).ID
	end := stuck(t, url, "SELECT FROM onceguard_receipt WHERE request_id = $1 FOR UPDATE", said[locked].ID[:])
	list, err := s.Settle(ctx, said)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range list {
		switch i {
		case locked:
			storeError(t, a.Err, true, false)
		case foreign:
			want(t, a, a.Err, onceguard.Fenced, onceguard.NoTransition)
		case unknown:
			want(t, a, a.Err, onceguard.Parked, onceguard.T9)
		case missing:
			want(t, a, a.Err, onceguard.Missing, onceguard.NoTransition)
		default:
			want(t, a, a.Err, onceguard.Settled, onceguard.T7)
		}
	}
	// The locked row is known now: it holds up no batch for a while.
	before := s.Stats().Settles.Members
	_, err = only(s.Settle(ctx, said[locked:locked+1]))
	storeError(t, err, true, false)
	if n := s.Stats().Settles.Members; n != before {
		t.Error("an outcome for a row that another session keeps locked went into a batch")
	}
	end()
	mustSettle(t, s, said[locked], onceguard.Settled, onceguard.T7)
}

// TestLostAnswerOfABatch: each member is told that it is not known, and each
// finds out with the same token.
func TestLostAnswerOfABatch(t *testing.T) {
	for name, x := range map[string]struct {
		when  func(string) func(cutproxy.Frame) bool
		again onceguard.Transition
	}{"before": {cutproxy.Commits, onceguard.T1}, "after": {cutproxy.Answers, onceguard.T2}} {
		t.Run(name, func(t *testing.T) {
			q := newQueue(t)
			claims, done := make([]onceguard.Claim, 20), make([]<-chan reply, 20)
			for i := range claims {
				claims[i] = newClaim(t)
				done[i] = q.claim(t, ctx, claims[i])
			}
			cut := q.Add(cutproxy.Rule{When: x.when("FROM unnest"), Do: cutproxy.CutBefore(cutproxy.Reset)})
			q.release(t)
			for i := range claims {
				r := <-done[i]
				storeError(t, r.err, false, false)
			}
			hit(t, cut)
			q.alone(t)
			for _, c := range claims {
				mustClaim(t, q.store, c, onceguard.Granted, x.again)
			}
		})
	}
}

// A caller that leaves while its batch is written does not know; the batch goes
// on without it, for the others and for it.
func TestCallerLeavesDuringItsBatch(t *testing.T) {
	q := newQueue(t)
	short, cancel := context.WithCancel(ctx)
	mine := newClaim(t)
	gone, other := q.claim(t, short, mine), q.claim(t, ctx, newClaim(t))
	batch := q.Add(cutproxy.Rule{When: cutproxy.Sends("INSERT INTO onceguard_receipt"), Do: cutproxy.Hold(), Skip: 1})
	q.release(t) // the first claim's own frame passes here too
	hit(t, batch)
	cancel()
	r := <-gone
	storeError(t, r.err, false, false)
	if err := batch.Release(ctx); err != nil {
		t.Fatal(err)
	}
	r = <-other
	want(t, r.a, r.err, onceguard.Granted, onceguard.T1)
	mustClaim(t, q.store, mine, onceguard.Granted, onceguard.T2)
}

// A connection that hangs must not stop the claims of the whole process.
func TestHungFlushIsPassed(t *testing.T) {
	r := newRig(t, pgstore.Stalling(pgstore.Options{}, 10*time.Millisecond))
	hang := r.Add(cutproxy.Rule{When: cutproxy.Answers("INSERT INTO onceguard_receipt"), Do: cutproxy.BlackHole()})
	short, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := only(r.store.Claim(short, []onceguard.Claim{newClaim(t)}))
		done <- err
	}()
	hit(t, hang)
	mustClaim(t, r.store, newClaim(t), onceguard.Granted, onceguard.T1)
	cancel()
	storeError(t, <-done, false, false)
	if s := r.store.Stats().Claims; s.Stalled != 1 {
		t.Errorf("%+v", s)
	}
}

// Several stores, which might be processes, claim, settle and renew the same
// few requests in batches: no two of their transactions ever wait for each
// other in a circle.
func TestBatchesNeverDeadlock(t *testing.T) {
	url := migrated(t, pgtest.Server(t))
	const stores, callers, rounds, hot = 3, 24, 6, 60
	ask := func(s *pgstore.Store, requests []onceguard.Claim, seed int) {
		claims := make([]onceguard.Claim, 0, 12)
		for i := range 12 {
			claims = append(claims, another(requests[(seed*7+i*11)%hot]))
		}
		list, err := s.Claim(ctx, claims)
		if err != nil {
			t.Error(err)
			return
		}
		var renewals []onceguard.Renewal
		var settled []onceguard.Settlement
		for i, a := range list {
			switch {
			case a.Err != nil:
				t.Error(a.Err)
			case a.Outcome == onceguard.Granted:
				renewals = append(renewals, onceguard.Renewal{ID: claims[i].ID, Attempt: a.Record.Attempt, Owner: claims[i].Owner, Lease: time.Millisecond})
				if seed%2 == 0 {
					settled = append(settled, success(claims[i], a.Record.Attempt))
				}
			}
		}
		if _, err := s.Renew(ctx, renewals); err != nil {
			t.Error(err)
		}
		if _, err := s.Settle(ctx, settled); err != nil {
			t.Error(err)
		}
	}
	var opened []*pgstore.Store
	for range stores {
		// Waits long enough for the server to find a deadlock first.
		opened = append(opened, open(t, url, pgstore.Gathering(pgstore.Options{LockTimeout: 25 * time.Second}, 20*time.Second)))
	}
	for range rounds {
		requests := make([]onceguard.Claim, hot) // new ones: only inserts keep others waiting
		for i := range requests {
			requests[i] = newClaim(t, under(onceguard.Rerun), leased(time.Millisecond))
		}
		var group sync.WaitGroup
		for n, s := range opened {
			for i := range callers {
				group.Go(func() { ask(s, requests, n*callers+i) })
			}
		}
		group.Wait()
	}
	for _, s := range opened {
		if s.Stats().Claims.Largest < 2*12 {
			t.Errorf("calls did not travel together: %+v", s.Stats().Claims)
		}
		s.Close() // sessions report what they counted when they end
	}
	pgtest.WaitFor(t, url, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'onceguard' AND datname = current_database()")
	if n := pgtest.Value[int](t, url, "SELECT deadlocks::integer FROM pg_stat_database WHERE datname = current_database()"); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}
