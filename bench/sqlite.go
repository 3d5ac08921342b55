package bench

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver that the store uses

	"github.com/onceguard/onceguard/sqlitestore"
)

// sqlite measures claim and settle on a file beside the naive version with the
// same driver, durability and disk. The naive version has one connection: with
// more they only meet at the write lock, and it is slower.
func (b *Bench) sqlite(t *testing.T) {
	counts := b.callers("sqlite %d", 1, 8, 64, 256, 1024)
	if len(counts) == 0 {
		return
	}
	for _, n := range counts {
		scene := fmt.Sprintf("sqlite %d", n)
		t.Run(scene, func(t *testing.T) {
			dir := t.TempDir()
			store, err := sqlitestore.Open(t.Context(), filepath.Join(dir, "receipts.db"), &sqlitestore.Options{Log: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			})
			plain := naiveSQLite(t, filepath.Join(dir, "naive.db"))
			sides := []Side{
				{"naive", min(n, 64), plain},
				{"onceguard store", n, func() error { return pair(store) }},
			}
			if n == 64 {
				sides = append(sides, Side{"onceguard.Do", n, guarded(newGuard(t, store, 0))})
			}
			rows := b.scene(t, scene, new(meter), sides...)
			switch ratio := rows[1].Ratio(rows[0], rate); n {
			case 64:
				b.reached(16, ratio)
			case 1024:
				b.reached(17, ratio)
			}
		})
	}
}

func naiveSQLite(t testing.TB, path string) func() error {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	ctx := context.Background()
	if _, err := db.ExecContext(ctx, `CREATE TABLE naive (id BLOB PRIMARY KEY, state INTEGER NOT NULL, result BLOB) WITHOUT ROWID`); err != nil {
		t.Fatal(err)
	}
	var synchronous int
	if err := db.QueryRowContext(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
		t.Fatalf("synchronous is %d, not FULL (2): %v", synchronous, err)
	}
	prepare := func(text string) *sql.Stmt {
		st, err := db.PrepareContext(ctx, text)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	claim := prepare("INSERT INTO naive (id, state) VALUES (?, 1)")
	settle := prepare("UPDATE naive SET state = 4, result = ? WHERE id = ? AND state = 1")
	return func() error {
		id := newID()
		if _, err := claim.ExecContext(ctx, id[:]); err != nil {
			return err
		}
		_, err := settle.ExecContext(ctx, body, id[:])
		return err
	}
}
