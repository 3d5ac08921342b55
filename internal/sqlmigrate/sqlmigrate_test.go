package sqlmigrate_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	_ "modernc.org/sqlite"

	"github.com/onceguard/onceguard/internal/sqlmigrate"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func two() fstest.MapFS {
	return fstest.MapFS{
		"0001_init.sql": file("-- +goose Up\nCREATE TABLE a (x INTEGER);\n"),
		"0002_more.sql": file("-- +goose Up\nCREATE TABLE b (y INTEGER);\nINSERT INTO a VALUES (7);\n"),
	}
}

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestUp(t *testing.T) {
	ctx := context.Background()
	fsys := two()
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	first := fstest.MapFS{"0001_init.sql": fsys["0001_init.sql"]}

	check := func(what string, fs fstest.MapFS, wantFrom, wantTo int64) {
		t.Helper()
		from, to, err := sqlmigrate.Up(ctx, db, sqlmigrate.SQLite, fs)
		if err != nil || from != wantFrom || to != wantTo {
			t.Fatalf("%s: Up = %d, %d, %v; want %d, %d", what, from, to, err, wantFrom, wantTo)
		}
	}
	if current, target, err := sqlmigrate.Version(ctx, db, sqlmigrate.SQLite, fsys); current != 0 || target != 2 || err != nil {
		t.Fatalf("Version of an empty database = %d, %d, %v; want 0, 2", current, target, err)
	}
	check("first", first, 0, 1)
	check("second", fsys, 1, 2)
	check("again", fsys, 2, 2)
	check("a database ahead of the binary", first, 2, 2)
}

func TestUpLeavesNothingOfAFailedMigration(t *testing.T) {
	ctx := context.Background()
	fsys := two()
	fsys["0002_more.sql"] = file("-- +goose Up\nCREATE TABLE b (y INTEGER);\nINSERT INTO nowhere VALUES (7);\n")
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	from, to, err := sqlmigrate.Up(ctx, db, sqlmigrate.SQLite, fsys)
	if err == nil || from != 0 || to != 1 || !strings.Contains(err.Error(), "nowhere") {
		t.Fatalf("Up = %d, %d, %v; want 0, 1 and the reason", from, to, err)
	}
	var n int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_master WHERE name = 'b'").Scan(&n); err != nil || n != 0 {
		t.Fatalf("table b exists %d times after the rollback (%v)", n, err)
	}
}

func TestUpConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	open(t, path).Exec("PRAGMA journal_mode = WAL")
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		db := open(t, path)
		wg.Go(func() {
			_, to, err := sqlmigrate.Up(context.Background(), db, sqlmigrate.SQLite, two())
			if err == nil && to != 2 {
				err = fmt.Errorf("ended at version %d", to)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("migrator %d: %v", i, err)
		}
	}
	var rows int
	if err := open(t, path).QueryRow("SELECT count(*) FROM a").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("migration 2 left %d rows (%v), want 1", rows, err)
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	if err := sqlmigrate.Print(&b, two()); err != nil {
		t.Fatal(err)
	}
	want := `-- 0001_init.sql (version 1)
-- +goose Up
CREATE TABLE a (x INTEGER);

-- 0002_more.sql (version 2)
-- +goose Up
CREATE TABLE b (y INTEGER);
INSERT INTO a VALUES (7);
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("Print (-want +got):\n%s", diff)
	}
}

func TestRefuses(t *testing.T) {
	for name, fsys := range map[string]fstest.MapFS{
		"no files": {},
		"Down":     {"0001_init.sql": file("-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;\n")},
		"no number": {
			"init.sql": file("-- +goose Up\nSELECT 1;\n"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := sqlmigrate.Print(&strings.Builder{}, fsys); err == nil {
				t.Error("Print accepted it")
			}
			db := open(t, filepath.Join(t.TempDir(), "x.db"))
			if _, _, err := sqlmigrate.Up(context.Background(), db, sqlmigrate.SQLite, fsys); err == nil {
				t.Error("Up accepted it")
			}
		})
	}
}
