package pgstore_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// stuck keeps a transaction open that ran sql, until end or the test's end.
func stuck(t *testing.T, url, sql string, args ...any) (end func()) {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(ctx) })
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, sql, args...); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(ctx); err != nil {
			t.Error(err)
		}
	}
}

func TestRowLockedByStuckSession(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, &pgstore.Options{LockTimeout: 50 * time.Millisecond})
	lapsed := newClaim(t, under(onceguard.Rerun), leased(time.Millisecond))
	mustClaim(t, s, lapsed, onceguard.Granted, onceguard.T1)
	stuck(t, url, "SELECT FROM onceguard_receipt WHERE request_id = $1 FOR UPDATE", lapsed.ID[:])
	mustClaim(t, s, another(lapsed), onceguard.Held, onceguard.NoTransition)

	mismatch := another(lapsed)
	mismatch.Fingerprints = []onceguard.Fingerprint{{Version: 1, KeyID: "k1", Sum: [32]byte{9}}}
	mustClaim(t, s, mismatch, onceguard.Mismatched, onceguard.NoTransition)

	// In a batch, the others are answered as if it were not there.
	free, done := newClaim(t), newClaim(t)
	mustClaim(t, s, done, onceguard.Granted, onceguard.T1)
	mustSettle(t, s, success(done, 1), onceguard.Settled, onceguard.T7)
	stuck(t, url, "UPDATE onceguard_receipt SET process = 'stuck' WHERE request_id = $1", done.ID[:])
	list, err := s.Claim(ctx, []onceguard.Claim{another(lapsed), free, another(done)})
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range []onceguard.Outcome{onceguard.Held, onceguard.Granted, onceguard.Settled} {
		if list[i].Err != nil || list[i].Outcome != o {
			t.Errorf("member %d: %s, %v; want %s", i, list[i].Outcome, list[i].Err, o)
		}
	}

	// An owner's word cannot be stored now; that is a clean failure of the member.
	_, err = only(s.Settle(ctx, []onceguard.Settlement{success(lapsed, 1)}))
	storeError(t, err, true, false)
	// The sweeper and prune pass by.
	if parked, err := s.Sweep(ctx, 10); err != nil || len(parked) != 0 {
		t.Errorf("sweep: %d, %v", len(parked), err)
	}
}

func TestUncommittedInsertOfAStuckSession(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, &pgstore.Options{LockTimeout: 50 * time.Millisecond})
	cl := newClaim(t)
	begun, end := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_, err := s.Transact(ctx, cl, func(context.Context, any) (onceguard.Result, error) {
			close(begun)
			<-end
			return onceguard.Result{}, errors.New("rolled back")
		})
		if err == nil {
			t.Error("the failed transaction was answered as a success")
		}
	})
	<-begun
	a := mustClaim(t, s, another(cl), onceguard.Held, onceguard.NoTransition)
	if a.Record.ID != cl.ID || a.Now.IsZero() {
		t.Errorf("held answer %+v", a)
	}
	close(end)
	group.Wait()
	mustClaim(t, s, another(cl), onceguard.Granted, onceguard.T1)
}

// A claim that waited for another session must not get a lease that counts from
// before the wait.
func TestLeaseCountsFromTheLock(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, &pgstore.Options{LockTimeout: 20 * time.Second})
	// wait sends a claim, lets it wait for 0.3 s, and gives the server's time then.
	wait := func(t *testing.T, cl onceguard.Claim, done chan onceguard.Answer) time.Time {
		go func() {
			a, err := claim1(s, cl)
			if err != nil {
				t.Error(err)
			}
			done <- a
		}()
		pgtest.WaitFor(t, url, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
		pgtest.Exec(t, url, "SELECT pg_sleep(0.3)")
		return pgtest.Value[time.Time](t, url, "SELECT clock_timestamp()")
	}
	check := func(t *testing.T, a onceguard.Answer, lease time.Duration, released time.Time) {
		t.Helper()
		if a.Outcome != onceguard.Granted || a.Record.LeaseUntil.Before(released.Add(lease)) {
			t.Errorf("answered %s with a lease until %s, want %s after %s", a.Outcome, a.Record.LeaseUntil, lease, released)
		}
	}
	t.Run("first claim", func(t *testing.T) {
		cl, done := newClaim(t), make(chan onceguard.Answer, 1)
		var released time.Time
		_, err := s.Transact(ctx, cl, func(context.Context, any) (onceguard.Result, error) {
			released = wait(t, another(cl), done)
			return onceguard.Result{}, errors.New("rolled back")
		})
		if err == nil {
			t.Fatal("the failed transaction was answered as a success")
		}
		check(t, <-done, cl.Lease, released)
	})
	lapsed := newClaim(t, under(onceguard.Rerun), leased(time.Millisecond))
	mustClaim(t, s, lapsed, onceguard.Granted, onceguard.T1)
	t.Run("takeover", func(t *testing.T) {
		end := stuck(t, url, "SELECT FROM onceguard_receipt WHERE request_id = $1 FOR UPDATE", lapsed.ID[:])
		cl, done := another(lapsed), make(chan onceguard.Answer, 1)
		cl.Lease = time.Hour
		released := wait(t, cl, done)
		end()
		lapsed = cl
		check(t, <-done, cl.Lease, released)
	})
	t.Run("renewal", func(t *testing.T) {
		end := stuck(t, url, "SELECT FROM onceguard_receipt WHERE request_id = $1 FOR UPDATE", lapsed.ID[:])
		done := make(chan onceguard.Answer, 1)
		go func() {
			a, err := only(s.Renew(ctx, []onceguard.Renewal{{ID: lapsed.ID, Attempt: 2, Owner: lapsed.Owner, Lease: 2 * time.Hour}}))
			if err != nil {
				t.Error(err)
			}
			a.Outcome = onceguard.Granted
			done <- a
		}()
		pgtest.WaitFor(t, url, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
		pgtest.Exec(t, url, "SELECT pg_sleep(0.3)")
		released := pgtest.Value[time.Time](t, url, "SELECT clock_timestamp()")
		end()
		check(t, <-done, 2*time.Hour, released)
	})
}

func TestTakeoverRace(t *testing.T) {
	c := pgtest.Server(t)
	s := open(t, migrated(t, c), nil)
	const goroutines, requests, rounds = 64, 50, 3
	policy := onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)
	policy.MaxAttempts = 1000
	claims := make([]onceguard.Claim, requests)
	for i := range claims {
		claims[i] = newClaim(t, under(policy), leased(time.Millisecond))
		mustClaim(t, s, claims[i], onceguard.Granted, onceguard.T1)
	}
	type grant struct {
		id      onceguard.RequestID
		attempt int64
	}
	var granted sync.Map
	var count atomic.Int64
	for range rounds {
		var group sync.WaitGroup
		for range goroutines {
			group.Go(func() {
				batch := make([]onceguard.Claim, requests)
				for i, c := range claims {
					batch[i] = another(c)
				}
				list, err := s.Claim(ctx, batch)
				if err != nil {
					t.Error(err)
					return
				}
				for _, a := range list {
					switch {
					case a.Err != nil:
						t.Error(a.Err)
					case a.Outcome == onceguard.Granted:
						count.Add(1)
						if _, twice := granted.LoadOrStore(grant{a.Record.ID, a.Record.Attempt}, true); twice {
							t.Errorf("attempt %d of %s was granted twice", a.Record.Attempt, a.Record.ID)
						}
					case a.Outcome != onceguard.Held:
						t.Errorf("answered %s", a.Outcome)
					}
				}
			})
		}
		group.Wait()
	}
	if count.Load() < requests {
		t.Errorf("only %d takeovers: the race was not run", count.Load())
	}
	for _, c := range claims {
		if r := get(t, s, c.ID); r.State != onceguard.Claimed {
			t.Errorf("%s is %s", c.ID, r.State)
		}
	}
}

// Claims that wait for a row must leave a connection to store outcomes with.
func TestSettleWhileClaimsUseUpThePool(t *testing.T) {
	c := pgtest.Server(t)
	url := migrated(t, c)
	s := open(t, url, &pgstore.Options{MaxConns: 3, LockTimeout: 20 * time.Second})
	mine, blocked := newClaim(t), newClaim(t)
	mustClaim(t, s, mine, onceguard.Granted, onceguard.T1)
	var group sync.WaitGroup
	_, err := s.Transact(ctx, blocked, func(context.Context, any) (onceguard.Result, error) {
		for range 6 {
			group.Go(func() {
				if _, err := claim1(s, another(blocked)); err != nil {
					t.Error(err)
				}
			})
		}
		pgtest.WaitFor(t, url, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
		// Far less than the claims wait: an outcome must not wait for them.
		prompt, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		for range 50 {
			a, err := only(s.Renew(prompt, []onceguard.Renewal{{ID: mine.ID, Attempt: 1, Owner: mine.Owner, Lease: time.Hour}}))
			want(t, a, err, onceguard.Applied, onceguard.T6)
		}
		a, err := only(s.Settle(prompt, []onceguard.Settlement{success(mine, 1)}))
		want(t, a, err, onceguard.Settled, onceguard.T7)
		// A call that finds no connection before its deadline surely wrote nothing.
		short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
		_, err = s.Claim(short, []onceguard.Claim{newClaim(t)})
		storeError(t, err, true, false)
		return onceguard.NewResult("x", []byte("1")), nil
	})
	if err != nil {
		t.Error(err)
	}
	group.Wait()
}
