package cutproxy_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard/internal/cutproxy"
	"github.com/onceguard/onceguard/internal/pgtest"
)

const insert = "INSERT INTO receipt VALUES (1)"

// ways are the ways in which a client commits one row.
var ways = []struct {
	name   string
	commit string // the text that names the committing statement
	run    func(ctx context.Context, conn *pgx.Conn) error
}{
	{"extended protocol", "INSERT INTO receipt", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "INSERT INTO receipt VALUES ($1)", 1)
		return err
	}},
	{"unnamed statement", "INSERT INTO receipt", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "INSERT INTO receipt VALUES ($1)", pgx.QueryExecModeExec, 1)
		return err
	}},
	{"simple protocol", "INSERT INTO receipt", func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, insert, pgx.QueryExecModeSimpleProtocol)
		return err
	}},
	{"pipelined batch", "INSERT INTO receipt", func(ctx context.Context, conn *pgx.Conn) error {
		var b pgx.Batch
		b.Queue("SELECT 1")
		b.Queue("INSERT INTO receipt VALUES ($1)", 1)
		b.Queue("SELECT 2")
		return conn.SendBatch(ctx, &b).Close()
	}},
	{"explicit transaction", "commit", func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO receipt VALUES ($1)", 1)
			return err
		})
	}},
}

// TestBothTruthsOfAnAmbiguousCommit is what the package is for: the client gets
// an error in every case, and the row is there exactly in those where the server
// got the frame.
func TestBothTruthsOfAnAmbiguousCommit(t *testing.T) {
	for _, truth := range []struct {
		name string
		when func(string) func(cutproxy.Frame) bool
		do   cutproxy.Action
		rows int
	}{
		{"cut before the server commits", cutproxy.Commits, cutproxy.CutBefore(cutproxy.Reset), 0},
		{"cut before the server commits, with FIN", cutproxy.Commits, cutproxy.CutBefore(cutproxy.Close), 0},
		{"cut inside the committing frame", cutproxy.Commits, cutproxy.CutInside(4, cutproxy.Reset), 0},
		{"cut after the server committed", cutproxy.Answers, cutproxy.CutBefore(cutproxy.Reset), 1},
		{"cut after the server committed, with FIN", cutproxy.Answers, cutproxy.CutBefore(cutproxy.Close), 1},
		{"cut inside the answer", cutproxy.Answers, cutproxy.CutInside(5, cutproxy.Close), 1},
	} {
		for _, way := range ways {
			t.Run(truth.name+"/"+way.name, func(t *testing.T) {
				r := newRig(t)
				cut := r.Add(cutproxy.Rule{When: truth.when(way.commit), Do: truth.do})
				if err := way.run(withTimeout(t), r.connect(t)); err == nil {
					t.Error("the client saw no error")
				}
				hit(t, cut)
				// The backend of a cut connection may still be ending its work.
				pgtest.WaitFor(t, r.url, `SELECT count(*) = 0 FROM pg_stat_activity
					WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`)
				if got := r.rows(t); got != truth.rows {
					t.Errorf("%d rows, want %d", got, truth.rows)
				}
			})
		}
	}
}

// TestCutAfterReachesTheServer cuts right behind the committing frame. Nobody
// waits for an answer, and the server must still get the frame.
func TestCutAfterReachesTheServer(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			r := newRig(t)
			r.Add(cutproxy.DropCancels())
			cut := r.Add(cutproxy.Rule{When: cutproxy.Commits(way.commit), Do: cutproxy.CutAfter(cutproxy.Reset)})
			if err := way.run(withTimeout(t), r.connect(t)); err == nil {
				t.Error("the client saw no error")
			}
			hit(t, cut)
			pgtest.WaitFor(t, r.url, "SELECT count(*) = 1 FROM receipt")
		})
	}
}

func TestFramesOfAStatementCarryItsSQL(t *testing.T) {
	r := newRig(t)
	const text = "INSERT INTO receipt VALUES ($1) -- carried"
	execute := r.Add(cutproxy.Rule{When: cutproxy.Sends("-- carried"), Do: cutproxy.Delay(0), Times: -1})
	complete := r.Add(cutproxy.Rule{When: cutproxy.Completes("-- carried"), Do: cutproxy.Delay(0), Times: -1})
	conn := r.connect(t)
	for id := range 3 { // the second and third use a prepared statement by name
		if _, err := conn.Exec(withTimeout(t), text, id); err != nil {
			t.Fatal(err)
		}
		if f := hit(t, execute); f.SQL != text || f.Type != 'E' {
			t.Errorf("sent %v, want an Execute of the statement", f)
		}
		if f := hit(t, complete); f.Tag() != "INSERT 0 1" {
			t.Errorf("%v has tag %q, want INSERT 0 1", f, f.Tag())
		}
	}
	if execute.Count() != 3 || complete.Count() != 3 {
		t.Errorf("%d executes and %d answers, want 3 and 3", execute.Count(), complete.Count())
	}
}
