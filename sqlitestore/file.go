package sqlitestore

import (
	"errors"
	"os"
	"sync/atomic"
)

// fileIdentity remembers which files were opened. Whoever replaces or removes
// the database under a running process takes its memory away: the process
// would go on in a file that nobody sees, and the next one would start empty.
type fileIdentity struct {
	path string
	db   os.FileInfo
	wal  atomic.Pointer[os.FileInfo] // once it was seen: it cannot go away while we are open
}

// remember takes the files as they are now for the right ones.
func (f *fileIdentity) remember(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	f.path, f.db = path, info
	return nil
}

// check costs two stat calls, about two microseconds.
func (f *fileIdentity) check() error {
	info, err := os.Stat(f.path)
	if notExist(err) {
		return refused("", "the database file %s was removed while it was open: what it remembered is lost to others; nothing is claimed until the store is opened again", f.path)
	}
	if err != nil {
		return err
	}
	if !os.SameFile(info, f.db) {
		return refused("", "the database file %s was replaced while it was open: nothing is claimed until the store is opened again", f.path)
	}
	seen := f.wal.Load()
	wal, err := os.Stat(f.path + "-wal")
	switch {
	case notExist(err) && seen == nil:
		return nil
	case err != nil && !notExist(err):
		return err
	case err != nil || (seen != nil && !os.SameFile(wal, *seen)):
		return refused("", "the write-ahead log %s-wal was removed or replaced while the database was open: what is written now would be lost; stop all programs that use the store and open it again", f.path)
	}
	if seen == nil {
		f.wal.Store(&wal)
	}
	return nil
}

// create makes an empty file that only its owner may read, and its folder. It
// reports false if the file is there already.
func create(path, dir string) (bool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return false, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(f.Sync(), f.Close(), syncDir(dir))
}

// syncFile is for files that SQLite does not hold open: closing any descriptor
// of a database drops the locks that this process has on it.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
