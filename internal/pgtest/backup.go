package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// backupTo copies a running server into the empty data directory of another,
// by the server's own backup protocol: pg_basebackup is not part of the small
// redistributed builds.
func (c *Cluster) backupTo(dst *Cluster) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL("postgres"))
	if err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT pg_backup_start('pgtest', true)"); err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	if err := copyTree(c.dataDir(), dst.dataDir(), skipInBackup); err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	var label, tablespaces string
	if err := conn.QueryRow(ctx, "SELECT labelfile, spcmapfile FROM pg_backup_stop(false)").Scan(&label, &tablespaces); err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	// The log that makes the copy consistent is complete only now.
	if err := copyTree(filepath.Join(c.dataDir(), "pg_wal"), filepath.Join(dst.dataDir(), "pg_wal"), nil); err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	if err := dst.write("backup_label", label); err != nil {
		return fmt.Errorf("base backup: %w", err)
	}
	return dst.as.own(dst.dataDir())
}

// skipInBackup names what a backup must not carry: the lock file, the control
// of the primary's own standbys, and the log, which is copied last.
func skipInBackup(rel string) bool {
	switch rel {
	case "postmaster.pid", "postmaster.opts", "standby.signal":
		return true
	}
	return strings.HasPrefix(rel, "pg_wal/") || strings.HasPrefix(rel, "pg_replslot/")
}

// copyTree copies directories and regular files. Files that vanish on the way
// (temporary ones, dropped tables) are left out, as in any base backup.
func copyTree(src, dst string, skip func(rel string) bool) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil {
			return err
		}
		switch {
		case skip != nil && skip(rel):
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(dst, rel), 0o700)
		case d.Type().IsRegular():
			return copyFile(path, filepath.Join(dst, rel))
		}
		return nil
	})
}

func copyFile(src, dst string) error {
	in, err := os.Open(src)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return errors.Join(err, out.Close())
	}
	return out.Close()
}
