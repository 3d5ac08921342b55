package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Defaults of Options.
const (
	DefaultBusy    = 10 * time.Second
	DefaultReserve = 16 << 20
)

// quickCheckLimit bounds the check for damage that every Open makes: 16 MiB are
// read in some 20 ms. Larger databases are checked by Check.
const quickCheckLimit = 16 << 20

// Options of Open; nil works.
type Options struct {
	// MustExist refuses to create a store, and refuses a file that is empty or
	// holds no receipts table: for a program that expects its old memory.
	MustExist bool
	// ExpectStoreID, if set, is the StoreInfo.StoreID that the file must have.
	ExpectStoreID string
	// Busy is how long a call waits for the write lock. Default 10 s.
	Busy time.Duration
	// Reserve is the free disk space, in bytes, without which no claim is
	// granted. A ballast file of a quarter of it is kept beside the database.
	// Default 16 MiB; negative: neither check nor ballast.
	Reserve int64
	// SkipFilesystemCheck opens the file on a network file system all the same.
	// Only for one that is used from a single host and is known to honour
	// locks, shared memory maps and sync.
	SkipFilesystemCheck bool
	// Log gets what an operator should know. Default slog.Default().
	Log *slog.Logger

	now func() time.Time // tests
}

func (o *Options) filled() Options {
	var p Options
	if o != nil {
		p = *o
	}
	if p.Busy <= 0 {
		p.Busy = DefaultBusy
	}
	if p.Reserve == 0 {
		p.Reserve = DefaultReserve
	}
	if p.Log == nil {
		p.Log = slog.Default()
	}
	if p.now == nil {
		p.now = time.Now
	}
	return p
}

// opening keeps the Opens of one process apart: between creating a file and
// closing its descriptor nobody else may hold locks on it.
var opening sync.Mutex

// Open opens the store in the file path, creates the file and its folder unless
// Options.MustExist, and migrates the schema forward. The caller's own tables
// may live in the same file, see DB.
//
// A *onceguard.StoreError that is permanent means that the file must not be
// used as it is; nothing is ever recreated or repaired.
func Open(ctx context.Context, path string, o *Options) (*Store, error) {
	const op = "open"
	opt := o.filled()
	if path == "" || path == ":memory:" {
		return nil, refused(op, "%q is not a file: a memory that outlives the process needs a path", path)
	}
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, cleanly(op, err)
	}
	s := &Store{
		path: full, busy: opt.Busy, reserve: opt.Reserve, log: opt.Log, clock: opt.now,
		gate: make(chan struct{}, 1), held: held{}, rows: newReadPool(full, opt.Busy),
	}
	s.group = s.grouped()
	if opt.Reserve > 0 {
		s.ballast = ballast{path: full + "-ballast", size: opt.Reserve / 4}
	}
	opening.Lock()
	defer opening.Unlock()
	if err := s.open(ctx, opt); err != nil {
		return nil, cleanly(op, errors.Join(err, s.shut()))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, opt Options) error {
	kind, err := s.place(opt)
	if err != nil {
		return err
	}
	if s.write, err = pool(s.path, writer, s.busy); err != nil {
		return err
	}
	if s.read, err = pool(s.path, reader, s.busy); err != nil {
		return err
	}
	if s.shared, err = pool(s.path, user, s.busy); err != nil {
		return err
	}
	s.write.SetMaxIdleConns(-1) // only migrations need one, once
	s.read.SetMaxOpenConns(readers)
	s.read.SetMaxIdleConns(readers)
	if err := s.firstConnection(ctx); err != nil {
		return err
	}
	if err := s.file.remember(s.path); err != nil {
		return err
	}
	if s.file.db.Size() <= quickCheckLimit {
		if err := integrity(ctx, s.read, "quick_check"); err != nil {
			return err
		}
	}
	if err := s.migrate(ctx, opt.MustExist); err != nil {
		return err
	}
	if err := s.recognise(ctx, opt.ExpectStoreID, kind); err != nil {
		return err
	}
	// A disk without room is no reason to hide the receipts; Claim says so.
	if err := s.room(); err != nil {
		s.log.WarnContext(ctx, "low on disk space", "store", s.path, "error", err)
	}
	for _, w := range s.warnings {
		s.log.WarnContext(ctx, w, "store", s.path)
	}
	return nil
}

// place finds or makes the file, and looks at what it lies on.
func (s *Store) place(opt Options) (kind fsKind, err error) {
	info, err := os.Stat(s.path)
	missing := notExist(err)
	switch {
	case missing && opt.MustExist:
		return kind, refused("", "the store %s does not exist, and an empty one in its place would remember nothing: check the path, or create it explicitly", s.path)
	case missing:
	case err != nil:
		return kind, err
	case !info.Mode().IsRegular():
		return kind, refused("", "%s is not a regular file", s.path)
	case info.Size() == 0 && opt.MustExist:
		return kind, refused("", "the store %s is an empty file and remembers nothing: put the right file in its place, or create the store explicitly", s.path)
	}
	dir := filepath.Dir(s.path)
	if missing {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return kind, err
		}
	}
	if kind, err = fileSystem(dir); err != nil {
		return kind, err
	}
	if !opt.SkipFilesystemCheck {
		if s.warnings, err = kind.judge(s.path); err != nil {
			return kind, err
		}
	}
	if missing {
		_, err = create(s.path, dir)
	}
	return kind, err
}

// firstConnection turns WAL on. Several processes that open a new file at once
// get in each other's way there, and SQLite does not always wait.
func (s *Store) firstConnection(ctx context.Context) error {
	deadline := time.Now().Add(s.busy)
	for {
		_, err := s.session(ctx)
		if err == nil || !isBusy(err) || time.Now().After(deadline) {
			return err
		}
		pause := time.NewTimer(20 * time.Millisecond)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		}
	}
}

// recognise checks that this is the store it should be, and freezes one that is
// a copy: whatever the original claimed after the copy was made is unknown here.
func (s *Store) recognise(ctx context.Context, expect string, kind fsKind) error {
	var row storeRow
	if err := row.scan(s.read.QueryRowContext(ctx, selectStore)); err != nil {
		return err
	}
	if expect != "" && expect != row.id {
		return refused("", "%s is the store %s, expected was %s: another memory cannot answer for this one", s.path, row.id, expect)
	}
	if err := s.admits(row); err != nil {
		return err
	}
	s.id.Store(&row.id)
	here := inode(s.file.db)
	if here == 0 || kind.moves || here == row.file {
		return nil
	}
	return s.writing(ctx, "open", func(t *txn) error {
		was := t.row.file
		if was == here {
			return nil // another process was faster
		}
		if err := t.changed("UPDATE onceguard_store SET file = ?", here); err != nil {
			return err
		}
		if was == 0 {
			return nil // a new store
		}
		return t.freeze(fmt.Sprintf("the database file is a copy (its inode was %d and is %d now): what was claimed after it was copied is not known here", was, here))
	})
}
