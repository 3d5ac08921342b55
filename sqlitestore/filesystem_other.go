//go:build !linux

package sqlitestore

import "os"

// Elsewhere the kind of file system is not known, so nothing is refused, and
// neither are free space and inodes. The ballast works everywhere.

func fileSystem(string) (fsKind, error) { return fsKind{}, nil }

func freeSpace(string) (free int64, known bool) { return 0, false }

func inode(os.FileInfo) int64 { return 0 }
