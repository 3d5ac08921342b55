package cutproxy_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
)

func TestForwardsUntouched(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	ctx := withTimeout(t)
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"receipt"}, []string{"id"}, pgx.CopyFromSlice(1000, func(i int) ([]any, error) {
		return []any{i}, nil
	}))
	if err != nil || n != 1000 {
		t.Fatalf("copy: %d rows, %v", n, err)
	}
	if _, err := conn.Exec(ctx, "INSERT INTO receipt VALUES (5)"); err == nil {
		t.Error("the server's error did not arrive")
	}
	big := make([]byte, 3<<20)
	var back []byte
	if err := conn.QueryRow(ctx, "SELECT $1::bytea", big).Scan(&back); err != nil || len(back) != len(big) {
		t.Errorf("3 MiB came back as %d bytes, %v", len(back), err)
	}
	if r.Accepted() != 1 {
		t.Errorf("%d connections, want 1", r.Accepted())
	}
}

func TestSkipAndTimes(t *testing.T) {
	r := newRig(t)
	cut := r.Add(cutproxy.Rule{When: cutproxy.Commits("INSERT"), Skip: 2, Times: 2, Do: cutproxy.CutBefore(cutproxy.Reset)})
	var failed []int
	for id := range 6 {
		conn := r.connect(t)
		if _, err := conn.Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", id); err != nil {
			failed = append(failed, id)
		}
	}
	if len(failed) != 2 || failed[0] != 2 || failed[1] != 3 {
		t.Errorf("inserts %v failed, want [2 3]", failed)
	}
	if got := r.rows(t); got != 4 || cut.Count() != 2 {
		t.Errorf("%d rows and %d cuts, want 4 and 2", got, cut.Count())
	}
	removed := r.Add(cutproxy.Rule{When: cutproxy.Commits("INSERT"), Times: -1, Do: cutproxy.CutBefore(cutproxy.Reset)})
	removed.Remove()
	if _, err := r.connect(t).Exec(withTimeout(t), "INSERT INTO receipt VALUES (9)"); err != nil {
		t.Errorf("after Remove: %v", err)
	}
}

func TestBlackHoleKeepsTheSession(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	session := int64(conn.PgConn().PID())
	hole := r.Add(cutproxy.Rule{When: cutproxy.Sends("INSERT"), Do: cutproxy.BlackHole()})
	ctx, cancel := context.WithCancel(withTimeout(t))
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "INSERT INTO receipt VALUES ($1)", 1)
		answer <- err
	}()
	hit(t, hole)
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the caller's own cancellation", err)
	}
	// The client has closed; the server must not have noticed. Other sessions may
	// be there too: autovacuum, or one of the harness that is still ending.
	if !pgtest.Value[bool](t, r.url, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", session) {
		t.Error("the abandoned session is gone")
	}
	if got := r.rows(t); got != 0 {
		t.Errorf("%d rows, want none", got)
	}
}

// TestHeldRequestArrivesLate is a delayed duplicate: the first request is kept,
// its client gives up and another connection does the work, then it arrives.
func TestHeldRequestArrivesLate(t *testing.T) {
	r := newRig(t)
	r.Add(cutproxy.DropCancels())
	held := r.Add(cutproxy.Rule{When: cutproxy.Type(cutproxy.ToServer, 'Q'), Do: cutproxy.Hold()})
	first := r.connect(t)
	answer := make(chan error, 1)
	go func() {
		_, err := first.Exec(withTimeout(t), "INSERT INTO receipt VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 100", pgx.QueryExecModeSimpleProtocol)
		answer <- err
	}()
	hit(t, held)
	if n := r.CutAll(cutproxy.Reset); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if err := <-answer; err == nil {
		t.Error("the first client saw no error")
	}
	if _, err := r.connect(t).Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", 1); err != nil {
		t.Fatal(err)
	}
	if err := held.Release(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if got := pgtest.Value[int](t, r.url, "SELECT id FROM receipt"); got != 100 {
		t.Errorf("id %d, want 100: the late request had no effect when Release returned", got)
	}
	if err := held.Release(withTimeout(t)); err == nil {
		t.Error("releasing nothing is no error")
	}
}

// TestHeldExtendedRequest holds in the middle of a pipelined batch.
func TestHeldExtendedRequest(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	held := r.Add(cutproxy.Rule{When: cutproxy.Sends("INSERT"), Do: cutproxy.Hold()})
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", 1)
		answer <- err
	}()
	hit(t, held)
	if got := r.rows(t); got != 0 {
		t.Errorf("%d rows while the request is held, want none", got)
	}
	if err := held.Release(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if got := r.rows(t); got != 1 {
		t.Errorf("%d rows after Release, want 1", got)
	}
	if err := <-answer; err != nil {
		t.Errorf("the client, which had waited: %v", err)
	}
	if _, err := conn.Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", 2); err != nil {
		t.Errorf("the connection after Release: %v", err)
	}
}

func TestHeldAnswer(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	held := r.Add(cutproxy.Rule{When: cutproxy.Completes("INSERT"), Do: cutproxy.Hold()})
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", 1)
		answer <- err
	}()
	hit(t, held)
	pgtest.WaitFor(t, r.url, "SELECT count(*) = 1 FROM receipt")
	select {
	case err := <-answer:
		t.Errorf("the client has its answer (%v) while it is held", err)
	default:
	}
	if err := held.Release(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
}

func TestDelay(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	const d = 150 * time.Millisecond
	late := r.Add(cutproxy.Rule{When: cutproxy.Commits("INSERT"), Do: cutproxy.Delay(d)})
	start := time.Now()
	if _, err := conn.Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", 1); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < d || late.Count() != 1 {
		t.Errorf("took %v with %d delays, want at least %v and 1", took, late.Count(), d)
	}
}

func TestRefuseAndAllow(t *testing.T) {
	r := newRig(t)
	open := r.connect(t)
	if err := r.Refuse(); err != nil {
		t.Fatal(err)
	}
	if _, err := pgx.Connect(withTimeout(t), r.proxyd); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v, want ECONNREFUSED", err)
	}
	if err := open.Ping(withTimeout(t)); err != nil {
		t.Errorf("a connection that was open: %v", err)
	}
	if err := r.Allow(); err != nil {
		t.Fatal(err)
	}
	if err := r.connect(t).Ping(withTimeout(t)); err != nil {
		t.Errorf("after Allow: %v", err)
	}
}

func TestPartitionLosesNothing(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	r.Partition()
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(withTimeout(t), "INSERT INTO receipt VALUES ($1)", 1)
		answer <- err
	}()
	select {
	case err := <-answer:
		t.Errorf("an answer (%v) came through the partition", err)
	case <-time.After(200 * time.Millisecond): // silence has no event
	}
	if got := r.rows(t); got != 0 {
		t.Errorf("%d rows, want none", got)
	}
	r.Heal()
	if err := <-answer; err != nil {
		t.Errorf("after Heal: %v", err)
	}
	if got := r.rows(t); got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
}

// TestSeesCancelRequests: a driver that cancels on the server when a caller's
// context ends can be caught at it.
func TestSeesCancelRequests(t *testing.T) {
	r := newRig(t)
	conn := r.connect(t)
	seen := r.Add(cutproxy.Rule{When: cutproxy.Type(cutproxy.ToServer, cutproxy.CancelRequest), Do: cutproxy.Delay(0)})
	sent := r.Add(cutproxy.Rule{When: cutproxy.Sends("pg_sleep"), Do: cutproxy.Delay(0)})
	answer := make(chan error, 1)
	go func() {
		_, err := conn.Exec(withTimeout(t), "SELECT pg_sleep(60)")
		answer <- err
	}()
	hit(t, sent)
	pgtest.WaitFor(t, r.url, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
	if err := conn.PgConn().CancelRequest(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	hit(t, seen)
	if err := <-answer; err == nil {
		t.Error("the query went on")
	}
}
