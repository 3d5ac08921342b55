package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// tries bounds how often a call starts over after the server undid it
// (serialisation failure, deadlock, a row that came or went).
const tries = 10

// lane says whether a call may use the connection that is kept for outcomes.
type lane bool

const (
	common  lane = false // claims, reads and the rest
	outcome lane = true  // settle and renew: the effect has run
)

// conn is a connection during one call.
type conn struct {
	*pgxpool.Conn
	*session
	sent   bool // a commit may have reached the server
	spoilt bool // a caller's function changed the session: not to be used again
}

// with runs fn on a connection, again while the server undoes it, and returns
// a *StoreError. ctx ending makes the call return; the server goes on with what
// it was sent.
func (s *Store) with(ctx context.Context, op string, l lane, fn func(context.Context, *conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	return s.on(ctx, op, l, fn)
}

func (s *Store) on(ctx context.Context, op string, l lane, fn func(context.Context, *conn) error) error {
	if l == common {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return s.fail(op, fmt.Errorf("no free connection (%d are for this kind of call): %w", cap(s.slots), ctx.Err()), false)
		}
	}
	for try := 1; ; try++ {
		sent, lost, err := s.once(ctx, fn)
		if err == nil {
			return nil
		}
		if lost && ctx.Err() == nil {
			// The server went away; the other connections lead to it too.
			s.pool.Reset()
		}
		if !again(err) && (!lost || sent) || try == tries || !wait(ctx, try) {
			return s.fail(op, err, sent)
		}
	}
}

// once is one try. lost says that the connection broke while it was used, by no
// doing of the caller's function.
func (s *Store) once(ctx context.Context, fn func(context.Context, *conn) error) (sent, lost bool, err error) {
	if s.closed.Load() {
		return false, false, refusal("the store is closed")
	}
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, false, err
	}
	c := &conn{Conn: pooled, session: sessionOf(pooled.Conn())}
	c.warning = ""
	finished := false
	defer func() {
		if !finished || c.spoilt || code(err) == codeReadOnly { // a panic; or look for the primary anew
			c.drop()
		}
		c.Release() // closes it unless it is idle
	}()
	err = fn(ctx, c)
	finished = true
	if err != nil {
		var effect *effectError
		lost = c.Conn.Conn().IsClosed() && !errors.As(err, &effect)
		c.abort(ctx)
	}
	return c.sent, lost, err
}

func sessionOf(c *pgx.Conn) *session {
	if v, ok := c.PgConn().CustomData()[sessionName].(*session); ok {
		return v
	}
	return &session{}
}

// wait sleeps a little longer each try, with jitter; false when ctx ended.
func wait(ctx context.Context, try int) bool {
	t := time.NewTimer(time.Duration(1+rand.IntN(4*try)) * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// abort leaves the connection idle after an error. A transaction that cannot
// be rolled back in time goes with its connection.
func (c *conn) abort(ctx context.Context) {
	if c.Conn.Conn().IsClosed() || c.Conn.Conn().PgConn().TxStatus() == 'I' {
		return
	}
	if _, err := c.Exec(ctx, "rollback"); err != nil {
		c.drop()
	}
}

// drop closes the connection at once, without a word to the server.
func (c *conn) drop() {
	done, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.Conn.Conn().Close(done)
}

// run sends the batch in one round trip. commits says that its end commits,
// by a commit statement or as one implicit transaction.
func (c *conn) run(ctx context.Context, b *pgx.Batch, commits bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.Conn.Conn().IsClosed() {
		return pgconn.ErrConnClosed
	}
	if commits {
		c.warning, c.sent = "", true
	}
	err := c.SendBatch(ctx, b).Close()
	if err != nil {
		return err
	}
	if commits && c.warning != "" {
		return fmt.Errorf("%w: %s", errWarned, c.warning)
	}
	return nil
}

// begin queues the start of a transaction at the isolation level that the
// statements are written for, and with the whole of LockTimeout.
func (s *Store) begin(b *pgx.Batch) {
	exec(b, "begin isolation level read committed")
	if s.opt.Pooler {
		s.queueSettings(b, s.opt.Timeout)
		return
	}
	exec(b, "SELECT set_config('lock_timeout', $1::text, true)", fmt.Sprintf("%dms", s.opt.LockTimeout.Milliseconds()))
}

// setSettings sets what a pooled session must run with, for this transaction
// alone, and reads it back.
const setSettings = `SELECT set_config('synchronous_commit', $1::text, true), set_config('lock_timeout', $2::text, true),
		set_config('idle_in_transaction_session_timeout', $3::text, true)`

func (s *Store) queueSettings(b *pgx.Batch, idle time.Duration) {
	b.Queue(setSettings, s.commitLevel, fmt.Sprintf("%dms", s.opt.LockTimeout.Milliseconds()), fmt.Sprintf("%dms", idle.Milliseconds())).
		QueryRow(func(row pgx.Row) error {
			var level, lock, idleText string
			if err := row.Scan(&level, &lock, &idleText); err != nil {
				return err
			}
			return s.checkLevel(level)
		})
}

func (s *Store) checkLevel(level string) error {
	if level != s.commitLevel {
		return refusal("synchronous_commit is %s although the transaction set %s", level, s.commitLevel)
	}
	return nil
}

// implicit queues statements as one transaction: the server's own for a batch,
// or an explicit one where settings must be given.
func (s *Store) implicit(b *pgx.Batch, queue func()) {
	if s.opt.Pooler {
		s.begin(b)
	}
	queue()
	if s.opt.Pooler {
		commit(b)
	}
}

// exec queues a statement without rows. Without a function of its own, pgx may
// lose its error, or put another in its place.
func exec(b *pgx.Batch, sql string, args ...any) {
	b.Queue(sql, args...).Exec(func(tag) error { return nil })
}

// commit queues the end of a transaction. A transaction that has failed is
// rolled back by it, and only the tag tells.
func commit(b *pgx.Batch) {
	b.Queue("commit").Exec(func(t tag) error {
		if t.String() != "COMMIT" {
			return errUndone
		}
		return nil
	})
}

// none reports whether err says that there is no such row.
func none(err error) bool { return errors.Is(err, pgx.ErrNoRows) }
