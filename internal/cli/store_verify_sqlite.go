package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/storesuite"
	"github.com/onceguard/onceguard/sqlitestore"
)

// sqliteScratch is a directory beside the user's file, and so on the same file
// system, which is what decides.
type sqliteScratch struct {
	dir string
	n   int
}

func newSQLiteScratch(at storeURL) (scratch, error) {
	dir, err := os.MkdirTemp(filepath.Dir(at.path), ".onceguard-verify-")
	if err != nil {
		return nil, unavailable("no files can be made beside %s: %w", plain(at.shown), err)
	}
	return &sqliteScratch{dir: dir}, nil
}

func (s *sqliteScratch) remove(a *app) {
	if err := os.RemoveAll(s.dir); err != nil {
		a.say("warning: %s stays and can be deleted: %v", plain(s.dir), err)
	}
}

func (s *sqliteScratch) at(name string) (*sqlitestore.Store, error) {
	return sqlitestore.Open(context.Background(), filepath.Join(s.dir, name), &sqlitestore.Options{Log: slog.New(slog.DiscardHandler), Reserve: -1})
}

func (s *sqliteScratch) info(ctx context.Context) (onceguard.StoreInfo, error) {
	store, err := sqlitestore.Open(ctx, filepath.Join(s.dir, "settings.db"), &sqlitestore.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return onceguard.StoreInfo{}, err
	}
	info, err := store.Info(ctx)
	return info, errors.Join(err, store.Close())
}

func (s *sqliteScratch) open(t storesuite.T) storesuite.Harness {
	s.n++
	name := fmt.Sprintf("%d.db", s.n)
	open := func() *sqlitestore.Store {
		store, err := s.at(name)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	again := func() onceguard.Store { return open() }
	store := open()
	if _, err := store.DB().Exec("CREATE TABLE onceverify (name TEXT PRIMARY KEY, value TEXT)"); err != nil {
		t.Fatalf("a table of the caller's: %v", err)
	}
	return storesuite.Harness{
		// The old handle stays open, as if its process had been killed.
		Store: store, Reopen: again, Second: again,
		WriteRow: func(ctx context.Context, tx any, name, value string) error {
			_, err := tx.(*sql.Tx).ExecContext(ctx, "INSERT INTO onceverify VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
			return err
		},
		ReadRow: func(name string) (value string, found bool) {
			err := store.DB().QueryRow("SELECT value FROM onceverify WHERE name = ?", name).Scan(&value)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				t.Fatal(err)
			}
			return value, err == nil
		},
	}
}
