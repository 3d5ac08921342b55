package sqlitestore

import (
	"os"
	"path/filepath"
	"syscall"
)

// fileSystem names what holds path; the zero fsKind is an ordinary disk.
func fileSystem(path string) (fsKind, error) {
	var st syscall.Statfs_t
	if err := retry(func() error { return syscall.Statfs(path, &st) }); err != nil {
		return fsKind{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	// The type is 32 bits wide and signed on some platforms.
	return fsKinds[int64(uint32(st.Type))], nil
}

// freeSpace is what an ordinary user may still write at path, in bytes.
func freeSpace(path string) (free int64, known bool) {
	var st syscall.Statfs_t
	if err := retry(func() error { return syscall.Statfs(filepath.Dir(path), &st) }); err != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}

// inode is the number of the file within its file system, 0 if not known.
func inode(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Ino)
	}
	return 0
}

func retry(call func() error) error {
	for {
		if err := call(); err != syscall.EINTR {
			return err
		}
	}
}
