package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// instant is what a transaction knows of the store, read after the row lock.
type instant struct {
	now          time.Time
	acknowledged string // the epoch that claims are granted in
	live         string // the epoch that the server is in
	synchronous  bool
}

func (at instant) changed() bool { return at.live != at.acknowledged }

var errNoIdentity = refusal("the table onceguard_store is empty: this is not a store, or somebody damaged it")

// queueClock reads the instant, and refuses a schema that is too new.
func (s *Store) queueClock(b *pgx.Batch, system string, at *instant) {
	b.Queue(s.sql.clock, system).QueryRow(func(row pgx.Row) error {
		var least int32
		err := row.Scan(&at.now, &at.acknowledged, &at.live, &least, &at.synchronous)
		switch {
		case none(err):
			return errNoIdentity
		case err != nil:
			return err
		case least > schemaVersion:
			return tooNew(least)
		}
		at.now = at.now.UTC()
		return nil
	})
}

// queueNow is queueClock for reads, which no epoch stops.
func queueNow(b *pgx.Batch, now *time.Time) {
	b.Queue(`SELECT clock_timestamp(), min_version FROM onceguard_store WHERE id = 1`).QueryRow(func(row pgx.Row) error {
		var least int32
		err := row.Scan(now, &least)
		switch {
		case none(err):
			return errNoIdentity
		case err == nil && least > schemaVersion:
			return tooNew(least)
		}
		*now = now.UTC()
		return err
	})
}

func tooNew(least int32) error {
	return refusal("the schema is for programs that know version %d; this one knows %d: use a newer one", least, schemaVersion)
}

// take begins a transaction, locks the row with the statement lock (the zero
// record if there is none) and reads the clock after it.
func (s *Store) take(ctx context.Context, c *conn, lock string, id onceguard.RequestID) (r onceguard.Record, at instant, err error) {
	b := &pgx.Batch{}
	s.begin(b)
	queueLock(b, lock, id, &r)
	s.queueClock(b, c.system, &at)
	err = c.run(ctx, b, false)
	return r, at, err
}

func queueLock(b *pgx.Batch, lock string, id onceguard.RequestID, r *onceguard.Record) {
	b.Queue(lock, id[:]).QueryRow(func(row pgx.Row) (err error) {
		*r, err = scan(row)
		if none(err) {
			*r = onceguard.Record{ID: id}
			return nil
		}
		return err
	})
}

// rule decides about a locked row.
type rule func(onceguard.Record, instant) (onceguard.Step, error)

// locked applies a rule in one transaction: lock, clock, decide, write.
func (s *Store) locked(ctx context.Context, op string, l lane, id onceguard.RequestID, decide rule) (onceguard.Answer, error) {
	return s.lockedBy(ctx, op, l, s.sql.lock, id, decide)
}

// free is locked for work that can wait: a row that another session holds is
// passed by, as if it were not there.
func (s *Store) free(ctx context.Context, op string, id onceguard.RequestID, decide rule) (onceguard.Answer, error) {
	return s.lockedBy(ctx, op, common, s.sql.lockFree, id, decide)
}

func (s *Store) lockedBy(ctx context.Context, op string, l lane, lock string, id onceguard.RequestID, decide rule) (a onceguard.Answer, err error) {
	if err := s.outside(ctx, op, id); err != nil {
		return onceguard.Answer{}, err
	}
	err = s.with(ctx, op, l, func(ctx context.Context, c *conn) error {
		before, at, err := s.take(ctx, c, lock, id)
		if err != nil {
			return err
		}
		step, err := decide(before, at)
		if err != nil {
			return err
		}
		step.Record = stored(step.Record)
		a = step.Answer(at.now)
		if !step.Write && !step.Delete && len(step.Evidence) == 0 {
			c.abort(ctx) // nothing to commit
			return nil
		}
		if err := failpoint(op, "before-commit"); err != nil {
			c.sent = true // its outcome counts as unknown
			return err
		}
		if err := s.write(ctx, c, before, step, true); err != nil {
			return err
		}
		if err := failpoint(op, "after-commit"); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		return onceguard.Answer{}, err
	}
	return a, nil
}

// write stores a step and, if ends, commits, in one round trip.
// The row is locked, so that an update or a delete meets exactly it; an insert
// that meets another's row writes nothing and is told by errRaced.
func (s *Store) write(ctx context.Context, c *conn, before onceguard.Record, step onceguard.Step, ends bool) error {
	b := &pgx.Batch{}
	raced := false
	switch {
	case step.Delete:
		exec(b, s.sql.dropEvidence, before.ID[:])
		exec(b, s.sql.deleteRow, before.ID[:])
	case step.Write:
		sql := s.sql.updateRow
		if before.State == onceguard.Absent {
			sql = s.sql.insertRow
		}
		b.Queue(sql, values(step.Record)...).Exec(func(tag tag) error {
			raced = tag.RowsAffected() != 1
			return nil
		})
		if step.Record.Pruned && !before.Pruned {
			exec(b, s.sql.dropEvidenceBodies, before.ID[:])
		}
	}
	for _, e := range step.Evidence {
		e.ID = before.ID
		s.queueEvidence(b, e)
	}
	if ends {
		commit(b)
	}
	if err := c.run(ctx, b, ends); err != nil {
		return err
	}
	if raced {
		if before.State != onceguard.Absent {
			return fmt.Errorf("request %s: the locked row was not there to be written", before.ID)
		}
		return errRaced
	}
	return nil
}
