package pgstore

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceguard/onceguard"
)

// Store keeps receipts in PostgreSQL. Make one with Open; all methods may be
// called concurrently, and several processes may share a database.
type Store struct {
	opt         Options
	pool        *pgxpool.Pool
	sql         statements
	slots       chan struct{} // calls that may not take the last connection
	name        string
	hosts       int
	commitLevel string      // of synchronous_commit: on or remote_apply
	started     atomic.Bool // the schema is known to be there
	groups      groups
	locks       contended
	closing     sync.Once
	closed      atomic.Bool
}

var (
	_ onceguard.Store      = (*Store)(nil)
	_ onceguard.Transactor = (*Store)(nil)
	_ onceguard.Archiver   = (*Store)(nil)
)

// Open connects to the database of storeURL (postgres://, or libpq's keyword
// form; the PG* variables fill what is missing) and checks that it is a primary
// of version 15 or later with the schema that this program knows. The schema is
// found through search_path, which the URL may set. A URL with several hosts
// leads to whichever is the primary.
//
// Errors are *onceguard.StoreError: permanent where somebody must act first (no
// schema, a standby, a wrong password), else worth another try. They never hold
// the password.
func Open(ctx context.Context, storeURL string, options *Options) (*Store, error) {
	s := &Store{}
	opt, err := options.complete()
	if err != nil {
		return nil, s.refuse("open", "%w", err)
	}
	s.opt = opt
	config, err := readConfig(storeURL)
	if err != nil {
		return nil, s.refuse("open", "%w", err)
	}
	s.hosts = countHosts(config.ConnConfig)
	s.name = displayName(config.ConnConfig)
	s.sql = newStatements(opt.NoEpoch)
	s.slots = make(chan struct{}, opt.MaxConns-1)
	s.gather()
	if err := s.configure(config); err != nil {
		return nil, s.refuse("open", "%w", err)
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, s.fail("open", err, false)
	}
	if opt.AutoMigrate {
		err = Migrate(ctx, storeURL)
	}
	if err == nil {
		err = s.with(ctx, "open", common, s.start)
	}
	// Processes that start together take turns at the store's own row, which
	// each holds until a synchronous standby has answered.
	for try := 1; try < tries && code(err) == codeLockTimeout && ctx.Err() == nil; try++ {
		err = s.with(ctx, "open", common, s.start)
	}
	if err != nil {
		s.pool.Close()
		return nil, err
	}
	return s, nil
}

// start checks the schema, gives a new store its first epoch and notes a
// changed one.
func (s *Store) start(ctx context.Context, c *conn) error {
	if _, err := s.schema(ctx, c); err != nil {
		return err
	}
	if s.opt.OnFailover == Continue && !c.standbys {
		return refusal("OnFailover is Continue, and synchronous_standby_names is empty: a failover would forget acknowledged claims; set it on the server, or use Freeze")
	}
	b := &pgx.Batch{}
	s.implicit(b, func() {
		exec(b, s.sql.firstEpoch, c.system)
		switch {
		case s.opt.OnFailover == Continue:
			exec(b, s.sql.synchronous, c.system)
		case !c.standbys:
			exec(b, s.sql.notSynchronous, c.system)
		}
	})
	if err := c.run(ctx, b, true); err != nil {
		return err
	}
	s.started.Store(true)
	return nil
}

// schema reads the schema's version and refuses one that this program does not
// know. It looks before it asks, so that a missing table is no error in the
// server's log.
func (s *Store) schema(ctx context.Context, c *conn) (version int64, err error) {
	var there bool
	if err := c.QueryRow(ctx, `SELECT to_regclass('onceguard_schema') IS NOT NULL AND to_regclass('onceguard_store') IS NOT NULL`).Scan(&there); err != nil {
		return 0, err
	}
	if !there {
		return 0, refusal("database %s has no onceguard schema: run `%s`", s.name, migrateCommand)
	}
	if err := c.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM onceguard_schema`).Scan(&version); err != nil {
		return 0, err
	}
	if version < schemaVersion {
		return version, refusal("the schema of %s has version %d and this program needs %d: run `%s`", s.name, version, schemaVersion, migrateCommand)
	}
	var least int32
	err = c.QueryRow(ctx, `SELECT min_version FROM onceguard_store WHERE id = 1`).Scan(&least)
	switch {
	case none(err):
		return version, errNoIdentity
	case err == nil && least > schemaVersion:
		return version, tooNew(least)
	}
	return version, err
}

// Close implements onceguard.Store. It waits for calls that are running.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.groups.close()
		s.closed.Store(true)
		s.pool.Close()
	})
	return nil
}
