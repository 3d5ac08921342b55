package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
	"github.com/onceguard/onceguard/pgstore"
)

// rig is a store behind a proxy, and another that nothing cuts.
type rig struct {
	*cutproxy.Proxy
	store, direct *pgstore.Store
	url           string
}

func newRig(t *testing.T, o *pgstore.Options) *rig {
	t.Helper()
	c := pgtest.Server(t)
	r := &rig{Proxy: cutproxy.New(t, c.Addr()), url: migrated(t, c)}
	r.store, r.direct = open(t, r.URL(r.url), o), open(t, r.url, nil)
	warm := newClaim(t) // statements are prepared on the one connection
	mustClaim(t, r.store, warm, onceguard.Granted, onceguard.T1)
	mustSettle(t, r.store, success(warm, 1), onceguard.Settled, onceguard.T7)
	return r
}

// commitSent matches the frame that makes an explicit transaction commit.
func commitSent(f cutproxy.Frame) bool {
	return f.Dir == cutproxy.ToServer && (f.Type == 'Q' || f.Type == 'E') && strings.EqualFold(f.SQL, "commit")
}

// commitAnswered matches the server's end of such a batch.
func commitAnswered(f cutproxy.Frame) bool {
	return f.Dir == cutproxy.ToClient && f.Type == 'Z' && (strings.EqualFold(f.SQL, "commit") || strings.HasSuffix(f.SQL, ";\ncommit"))
}

// hit waits until the rule has acted.
func hit(t *testing.T, h *cutproxy.Handle) {
	t.Helper()
	select {
	case <-h.Hit():
	case <-time.After(30 * time.Second):
		t.Fatal("the proxy's rule never acted")
	}
}

// alone waits until no session but the test's own works in the database.
func (r *rig) alone(t *testing.T) {
	t.Helper()
	pgtest.WaitFor(t, r.url, `SELECT count(*) = 0 FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'`)
}

// TestLostAnswers loses the answer of each kind of write in both truths: the
// error is the same and says that it does not know; the same question with the
// same token then gets the right answer.
func TestLostAnswers(t *testing.T) {
	type cut struct {
		name    string
		when    func(cutproxy.Frame) bool
		written bool
	}
	for mode, o := range map[string]*pgstore.Options{"direct": nil, "pooler": {Pooler: true}} {
		cuts := func(text string) []cut {
			if o != nil {
				return []cut{{"before", commitSent, false}, {"after", commitAnswered, true}}
			}
			return []cut{{"before", cutproxy.Commits(text), false}, {"after", cutproxy.Answers(text), true}}
		}
		for _, x := range cuts("INSERT INTO onceguard_receipt") {
			t.Run(mode+"/claim/"+x.name, func(t *testing.T) {
				r := newRig(t, o)
				h := r.Add(cutproxy.Rule{When: x.when, Do: cutproxy.CutBefore(cutproxy.Reset)})
				c := newClaim(t)
				_, err := claim1(r.store, c)
				storeError(t, err, false, false)
				hit(t, h)
				r.alone(t)
				again := onceguard.T1
				if x.written {
					again = onceguard.T2
					mustClaim(t, r.direct, another(c), onceguard.Held, onceguard.NoTransition)
				}
				mustClaim(t, r.store, c, onceguard.Granted, again)
			})
		}
		for _, x := range cuts("UPDATE onceguard_receipt SET state") {
			t.Run(mode+"/settle/"+x.name, func(t *testing.T) {
				r := newRig(t, o)
				c := newClaim(t)
				mustClaim(t, r.store, c, onceguard.Granted, onceguard.T1)
				h := r.Add(cutproxy.Rule{When: x.when, Do: cutproxy.CutBefore(cutproxy.Close)})
				_, err := only(r.store.Settle(ctx, []onceguard.Settlement{success(c, 1)}))
				storeError(t, err, false, false)
				hit(t, h)
				r.alone(t)
				again := onceguard.T7
				if x.written {
					again = onceguard.NoTransition
				}
				if a := mustSettle(t, r.store, success(c, 1), onceguard.Settled, again); !a.Mine {
					t.Error("the repeated outcome is not the owner's")
				}
			})
		}
		for _, x := range []cut{{"before", commitSent, false}, {"after", commitAnswered, true}} {
			t.Run(mode+"/takeover/"+x.name, func(t *testing.T) {
				r := newRig(t, o)
				c := newClaim(t, under(onceguard.Rerun), leased(time.Millisecond))
				mustClaim(t, r.store, c, onceguard.Granted, onceguard.T1)
				pgtest.WaitFor(t, r.url, "SELECT lease_until < clock_timestamp() FROM onceguard_receipt WHERE request_id = $1", c.ID[:])
				do := cutproxy.Rule{When: x.when, Do: cutproxy.CutBefore(cutproxy.Reset)}
				if mode == "pooler" {
					do.Skip = 2 // the batch that could not decide commits too, and the read after it
				}
				h := r.Add(do)
				mine := another(c)
				mine.Lease = time.Hour
				_, err := claim1(r.store, mine)
				storeError(t, err, false, false)
				hit(t, h)
				r.alone(t)
				again := onceguard.T4
				if x.written {
					again = onceguard.T2
				}
				if a := mustClaim(t, r.store, mine, onceguard.Granted, again); a.Record.Attempt != 2 {
					t.Errorf("attempt %d, want 2", a.Record.Attempt)
				}
			})
		}
	}
}

// TestTransactLostCommit: the store finds out by itself, and the caller's rows
// and the receipt agree in every truth.
func TestTransactLostCommit(t *testing.T) {
	insert := func(calls *int) func(context.Context, any) (onceguard.Result, error) {
		return func(ctx context.Context, tx any) (onceguard.Result, error) {
			*calls++
			_, err := tx.(pgx.Tx).Exec(ctx, "INSERT INTO app_row (name, value) VALUES ('paid', '1')")
			return onceguard.NewResult("x", []byte(`"ok"`)), err
		}
	}
	check := func(t *testing.T, r *rig, c onceguard.Claim, a onceguard.Answer, err error) {
		t.Helper()
		if want(t, a, err, onceguard.Settled, onceguard.T11); !a.Mine || a.Record.State != onceguard.Succeeded {
			t.Errorf("answer %+v", a)
		}
		if n := pgtest.Value[int](t, r.url, "SELECT count(*)::integer FROM app_row"); n != 1 {
			t.Errorf("%d rows of the caller, want 1", n)
		}
		if s := get(t, r.direct, c.ID); s.State != onceguard.Succeeded || string(s.Result.Body) != `"ok"` {
			t.Errorf("the receipt is %s with %q", s.State, s.Result.Body)
		}
	}
	for name, x := range map[string]struct {
		when  func(cutproxy.Frame) bool
		calls int
	}{
		"before": {commitSent, 2},
		"after":  {commitAnswered, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			h := r.Add(cutproxy.Rule{When: x.when, Do: cutproxy.CutBefore(cutproxy.Reset)})
			calls, c := 0, newClaim(t, under(onceguard.Transactional))
			a, err := r.store.Transact(ctx, c, insert(&calls))
			hit(t, h)
			check(t, r, c, a, err)
			if calls != x.calls {
				t.Errorf("the function ran %d times, want %d", calls, x.calls)
			}
		})
	}
	// COMMIT is on its way and arrives long after the client gave up: a read
	// alone would say "not there".
	t.Run("late", func(t *testing.T) {
		r := newRig(t, &pgstore.Options{LockTimeout: 100 * time.Millisecond, Timeout: time.Second})
		h := r.Add(cutproxy.Rule{When: commitSent, Do: cutproxy.Hold()})
		calls, c := 0, newClaim(t, under(onceguard.Transactional))
		type reply struct {
			a   onceguard.Answer
			err error
		}
		done := make(chan reply, 1)
		go func() {
			a, err := r.store.Transact(ctx, c, insert(&calls))
			done <- reply{a, err}
		}()
		hit(t, h)
		// The read back waits for the old session's row.
		pgtest.WaitFor(t, r.url, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
		if err := h.Release(ctx); err != nil {
			t.Fatal(err)
		}
		got := <-done
		check(t, r, c, got.a, got.err)
		if calls != 1 {
			t.Errorf("the function ran %d times, want 1", calls)
		}
	})
	t.Run("never", func(t *testing.T) {
		r := newRig(t, &pgstore.Options{LockTimeout: 50 * time.Millisecond, Timeout: 300 * time.Millisecond})
		r.Add(cutproxy.Rule{When: commitSent, Do: cutproxy.Hold()})
		calls, c := 0, newClaim(t, under(onceguard.Transactional))
		_, err := r.store.Transact(ctx, c, insert(&calls))
		storeError(t, err, false, false)
		if calls != 1 {
			t.Errorf("the function ran %d times, want 1", calls)
		}
	})
	t.Run("the connection breaks before", func(t *testing.T) {
		r := newRig(t, nil)
		c := newClaim(t, under(onceguard.Transactional))
		broken := errors.New("none")
		_, err := r.store.Transact(ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
			r.CutAll(cutproxy.Reset)
			_, broken = tx.(pgx.Tx).Exec(ctx, "SELECT 1")
			return onceguard.Result{}, broken
		})
		if err == nil || !errors.Is(err, broken) {
			t.Errorf("the function's error %v came back as %v", broken, err)
		}
		mustClaim(t, r.direct, another(c), onceguard.Granted, onceguard.T1)
	})
}

// No call of the store ever opens a second connection to cancel a first.
func TestNoCancelRequest(t *testing.T) {
	r := newRig(t, nil)
	cancels := r.Add(cutproxy.Rule{When: cutproxy.Type(cutproxy.ToServer, cutproxy.CancelRequest), Times: -1, Do: cutproxy.Delay(time.Millisecond)})
	swallow := r.Add(cutproxy.Rule{When: cutproxy.Answers("INSERT INTO onceguard_receipt"), Do: cutproxy.BlackHole()})
	before := r.Accepted()
	short, cancel := context.WithCancel(ctx)
	go func() {
		<-swallow.Hit()
		cancel()
	}()
	_, err := only(r.store.Claim(short, []onceguard.Claim{newClaim(t)}))
	storeError(t, err, false, false)
	// A new connection takes at least as long as a cancel request would.
	mustClaim(t, r.store, newClaim(t), onceguard.Granted, onceguard.T1)
	if n := cancels.Count(); n != 0 {
		t.Errorf("%d cancel requests", n)
	}
	if n := r.Accepted() - before; n != 1 {
		t.Errorf("%d connections were opened, want 1", n)
	}
}
