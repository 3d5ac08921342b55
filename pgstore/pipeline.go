package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// statement is SQL that a connection prepares under a name when it first needs
// it.
type statement struct{ name, sql string }

// pipeline is a batch below pgx: prepared statements with parameters in the
// wire's form, sent in one round trip, one transaction.
type pipeline struct {
	s     *Store
	c     *conn
	raw   pgconn.Batch
	p     params
	reads []func(*wireRow) error // by statement; nil where no rows are expected
	err   error
}

// pipeline begins one. What it asks of the server before it is sent, such as
// preparing a statement, writes nothing.
func (s *Store) pipeline(ctx context.Context, c *conn) *pipeline {
	b := &pipeline{s: s, c: c}
	if s.opt.Pooler {
		b.plain(ctx, "begin isolation level read committed")
		b.p.text(s.commitLevel)
		b.p.text(fmt.Sprintf("%dms", s.opt.batchWait.Milliseconds()))
		b.p.text(fmt.Sprintf("%dms", s.opt.Timeout.Milliseconds()))
		b.queue(ctx, statement{sql: setSettings}, func(r *wireRow) error { return s.checkLevel(string(r.next(-1, false))) })
	}
	return b
}

// plain queues a statement without parameters and rows.
func (b *pipeline) plain(ctx context.Context, sql string) { b.queue(ctx, statement{sql: sql}, nil) }

// queue adds a statement with the parameters in b.p, which it clears.
func (b *pipeline) queue(ctx context.Context, st statement, read func(*wireRow) error) {
	defer b.p.reset()
	if b.err != nil {
		return
	}
	if b.s.opt.Pooler {
		b.raw.ExecParams(st.sql, b.p.list, nil, binaryFormat, binaryFormat)
	} else {
		described, err := b.c.Conn.Conn().Prepare(ctx, st.name, st.sql)
		if err != nil {
			b.err = err
			return
		}
		b.raw.ExecStatement(described, b.p.list, binaryFormat, binaryFormat)
	}
	b.reads = append(b.reads, read)
}

// run sends the batch. commits says that its end commits something.
func (b *pipeline) run(ctx context.Context, commits bool) error {
	if b.err != nil {
		return b.err
	}
	ending := -1
	if b.s.opt.Pooler {
		ending = len(b.reads)
		b.plain(ctx, "commit")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	pg := b.c.Conn.Conn().PgConn()
	if pg.IsClosed() {
		return pgconn.ErrConnClosed
	}
	b.c.warning = ""
	b.c.sent = commits
	answers := pg.ExecBatch(ctx, &b.raw)
	var failed error
	for i := 0; answers.NextResult(); i++ {
		rows := answers.ResultReader()
		for rows.NextRow() {
			if failed == nil && i < len(b.reads) && b.reads[i] != nil {
				failed = b.reads[i](&wireRow{values: rows.Values()})
			}
		}
		done, err := rows.Close()
		if err == nil && i == ending && done.String() != "COMMIT" {
			failed = errUndone
		}
	}
	if err := answers.Close(); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	if commits && b.c.warning != "" {
		return fmt.Errorf("%w: %s", errWarned, b.c.warning)
	}
	return nil
}
