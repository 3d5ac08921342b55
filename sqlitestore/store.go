package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/groupcommit"
)

// Store is a SQLite file as an onceguard.Store. Open makes one; it is safe for
// concurrent use, and other processes may use the file at the same time.
type Store struct {
	path    string
	busy    time.Duration
	reserve int64
	log     *slog.Logger
	clock   func() time.Time
	created bool
	from    int64 // schema version before Open

	file     fileIdentity
	ballast  ballast
	warnings []string

	// id is the store's identity as this process knows it; Load replaces it.
	id              atomic.Pointer[string]
	closing, closed atomic.Bool

	// gate holds one token: the right to write, within this process. Queueing
	// here is fair and cheap; queueing in SQLite is polling, without fairness.
	gate    chan struct{}
	owned   *session      // the writer's connection; only with the gate's token
	held    held          // likewise
	commits atomic.Uint64 // of the writer's connection

	look  look
	group *groupcommit.Group[onceguard.RequestID, member]
	rows  *readPool

	write  *sql.DB // migrations
	read   *sql.DB
	shared *sql.DB // Transact and DB
}

var (
	_ onceguard.Store      = (*Store)(nil)
	_ onceguard.Transactor = (*Store)(nil)
	_ onceguard.Archiver   = (*Store)(nil)
)

// readers bounds the connections for plain reads. More than the processors of
// a machine gain nothing: a read is computing, not waiting.
const readers = 8

// now is the only place where the store reads a clock: the machine's, because
// all processes on the file share it. Called with the write lock held wherever
// a lease is written.
func (s *Store) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// Created reports that this Open made the store: it remembers nothing from
// before now, which a command should tell its user once.
func (s *Store) Created() bool { return s.created }

// Path returns the database file's absolute path.
func (s *Store) Path() string { return s.path }

// DB returns connections to the same file for the caller's own tables: their
// schema, and reads outside of Transact. Transactions begin IMMEDIATE, and
// while one is open no claim can be made or settled: keep them short, and never
// call the store inside one. Foreign keys are enforced. Tables whose names
// begin with onceguard_ belong to the store. Close closes it.
func (s *Store) DB() *sql.DB { return s.shared }

// TxType implements onceguard.Transactor.
func (s *Store) TxType() string { return "*sql.Tx" }

// Info implements onceguard.Store.
func (s *Store) Info(ctx context.Context) (onceguard.StoreInfo, error) {
	if err := s.usable(ctx); err != nil {
		return onceguard.StoreInfo{}, cleanly("info", err)
	}
	info := onceguard.StoreInfo{
		Kind: "sqlite", Name: s.path,
		Durability: "survives a crash and, as far as the disk keeps what it synced, a power cut: WAL, synchronous=FULL, read back on every connection",
	}
	var row storeRow
	if err := row.scan(s.read.QueryRowContext(ctx, selectStore)); err != nil {
		return onceguard.StoreInfo{}, cleanly("info", err)
	}
	info.StoreID, info.Epoch = row.id, row.epoch
	info.FrozenWhy, info.Frozen = row.frozenWhy, row.frozenWhy != ""
	err := s.read.QueryRowContext(ctx, "SELECT sqlite_version(), (SELECT max(version_id) FROM onceguard_schema)").Scan(&info.Version, &info.Schema)
	if err != nil {
		return onceguard.StoreInfo{}, cleanly("info", err)
	}
	info.Version = "SQLite " + info.Version
	info.Warnings = append(info.Warnings, s.warnings...)
	if err := s.short(); err != nil {
		info.Warnings = append(info.Warnings, err.Error())
	}
	return info, nil
}

// Check reads the whole database and reports damage; a large one takes a while.
// Open does the same, more cheaply, for files up to 16 MiB.
func (s *Store) Check(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return cleanly("check", err)
	}
	return cleanly("check", integrity(ctx, s.read, "integrity_check"))
}

func integrity(ctx context.Context, db *sql.DB, check string) error {
	var verdict string
	if err := db.QueryRowContext(ctx, "PRAGMA "+check+"(1)").Scan(&verdict); err != nil {
		return err
	}
	if verdict != "ok" {
		return refused("", "the database is damaged, restore it from a backup and do not recreate it empty: %s", verdict)
	}
	return nil
}

// Close implements onceguard.Store. It waits for the calls under way.
func (s *Store) Close() error {
	if s.closing.Swap(true) {
		return nil
	}
	s.group.Close()
	s.closed.Store(true)
	s.gate <- struct{}{}
	defer func() { <-s.gate }()
	return s.shut()
}

// shut closes the writer last: the last connection to leave moves the log into
// the database file, and one that may only query does not.
func (s *Store) shut() error {
	var errs []error
	errs = append(errs, s.rows.close())
	for _, db := range []*sql.DB{s.shared, s.read} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	s.drop()
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	return cleanly("close", errors.Join(errs...))
}

// usable is asked before every call: is the store open, the caller still
// there, and the file still the one that was opened?
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return errClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.file.check()
}

// storeRow is the one row of onceguard_store.
type storeRow struct {
	id, epoch, frozenWhy string
	minVersion, file     int64
}

func (r *storeRow) scan(row scanner) error {
	err := row.Scan(&r.id, &r.epoch, &r.frozenWhy, &r.minVersion, &r.file)
	if errors.Is(err, sql.ErrNoRows) {
		return refused("", "the table onceguard_store is empty: this is no longer a store, restore it from a backup")
	}
	return err
}

// admits refuses a store that changed its identity, or that a newer version
// has made unsafe for this one to write to.
func (s *Store) admits(r storeRow) error {
	if known := s.id.Load(); known != nil && *known != r.id {
		return refused("", "the file holds store %s now, it was %s when it was opened: open it again", r.id, *known)
	}
	if r.minVersion > target {
		return refused("", "the store needs schema version %d or newer and this program knows %d: use a newer version of the program", r.minVersion, target)
	}
	return nil
}

func notExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
