package sqlitestore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
)

// ballast is a file that occupies disk space, to be given back when a receipt
// would not fit otherwise. It lies beside the database, because the space is
// needed for the write-ahead log: free pages inside the database are no help.
// All processes on a database share it.
type ballast struct {
	path string
	size int64 // 0: none is kept
}

// whole reports whether the space is still held back.
func (b ballast) whole() bool {
	if b.size == 0 {
		return true
	}
	info, err := os.Stat(b.path)
	return err == nil && info.Size() >= b.size
}

// fill takes the space. Random bytes, so that no file system stores them in
// less; truncated again if it does not fit.
func (b ballast) fill() error {
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, b.size)
	if err == nil {
		err = f.Sync() // delayed allocation: only now the space is taken
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(0))
	}
	return errors.Join(err, f.Close())
}

// release gives the space back.
func (b ballast) release() error {
	if b.size == 0 {
		return nil
	}
	err := os.Truncate(b.path, 0)
	if notExist(err) {
		return nil
	}
	return err
}

// room says whether a claim may be granted: with the reserve free and the
// ballast in place its receipt can be stored, whatever others do to the disk
// meanwhile. The error says what is missing.
func (s *Store) room() error {
	if err := s.short(); err != nil || s.ballast.whole() {
		return err
	}
	if err := s.ballast.fill(); err != nil {
		return fmt.Errorf("no claim is granted: the ballast file %s cannot be written, so a receipt might not fit: %w", s.ballast.path, err)
	}
	return nil
}

// short says that too little is free, ballast included if it has to be taken
// again. It changes nothing.
func (s *Store) short() error {
	if s.reserve <= 0 {
		return nil
	}
	need := s.reserve
	if !s.ballast.whole() {
		need += s.ballast.size
	}
	free, known := freeSpace(s.path)
	if !known || free >= need {
		return nil
	}
	return fmt.Errorf("no claim is granted, because its receipt might not fit: %d KiB are free at %s and %d KiB must be; free some space. Receipts of running claims are still stored",
		free>>10, s.path, need>>10)
}
