package sqlitestore_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

func TestOpenCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "onceguard")
	path := filepath.Join(dir, "receipts.db")
	s := open(t, path, quiet())
	if !s.Created() {
		t.Error("a new store does not say that it is new")
	}
	for name, want := range map[string]os.FileMode{dir: 0o700, path: 0o600, path + "-wal": 0o600, path + "-ballast": 0o600} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", name, got, want)
		}
	}
	if again := open(t, path, quiet()); again.Created() {
		t.Error("an existing store says that it is new")
	}
}

func TestOpenHostilePaths(t *testing.T) {
	for _, name := range []string{"with space.db", "a?mode=memory", "100%25.db", "x#y&z=1;", "ünïcode\u202e.db", "'quote\"", "file:x"} {
		path := filepath.Join(t.TempDir(), name)
		grant(t, open(t, path, quiet()), name)
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%q: the store is somewhere else: %v", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := func(content string) func(*testing.T) string {
		return func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "x.db")
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
	must := quiet()
	must.MustExist = true
	other := quiet()
	other.ExpectStoreID = "another"
	for name, c := range map[string]struct {
		path func(*testing.T) string
		o    *sqlitestore.Options
		why  string
	}{
		"no path":                  {func(*testing.T) string { return "" }, quiet(), "not a file"},
		"memory":                   {func(*testing.T) string { return ":memory:" }, quiet(), "not a file"},
		"folder":                   {func(t *testing.T) string { return t.TempDir() }, quiet(), "not a regular file"},
		"missing, must exist":      {func(t *testing.T) string { return filepath.Join(t.TempDir(), "no", "x.db") }, must, "does not exist"},
		"empty, must exist":        {file(""), must, "empty file"},
		"no database":              {file(strings.Repeat("these are my notes\n", 100)), quiet(), "not a SQLite database"},
		"no receipts, must exist":  {foreign, must, "holds no receipts"},
		"another store":            {func(t *testing.T) string { return closedStore(t, "") }, other, "expected was another"},
		"a newer store":            {func(t *testing.T) string { return closedStore(t, "UPDATE onceguard_store SET min_version = 9") }, quiet(), "newer version"},
		"a store without identity": {func(t *testing.T) string { return closedStore(t, "DELETE FROM onceguard_store") }, quiet(), "no longer a store"},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.path(t)
			before := listing(t, filepath.Dir(path))
			s, err := sqlitestore.Open(ctx, path, c.o)
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			if se := storeErr(t, err, true, true); !strings.Contains(se.Error(), c.why) {
				t.Errorf("the error does not say %q: %v", c.why, se)
			}
			if diff := cmp.Diff(before, listing(t, filepath.Dir(path))); path != "" && diff != "" {
				t.Errorf("the refusal changed files (-before +after):\n%s", diff)
			}
		})
	}
}

// foreign is somebody else's database.
func foreign(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "app.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("PRAGMA journal_mode = WAL; CREATE TABLE orders (id)"); err != nil {
		t.Fatal(err)
	}
	return path
}

// closedStore is a store of which one statement made something else.
func closedStore(t *testing.T, change string) string {
	path := filepath.Join(t.TempDir(), "x.db")
	s, err := sqlitestore.Open(ctx, path, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DB().Exec(change); change != "" && err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func listing(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	list := map[string]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			list[e.Name()] = info.Size()
		}
	}
	return list
}

func TestOpenRefusesDamage(t *testing.T) {
	path := closedStore(t, "")
	s := open(t, path, quiet())
	for i := range 200 {
		settle(t, s, success(grant(t, s, fmt.Sprint(i)), bytes.Repeat([]byte("x"), 500)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copy(data[len(data)-4096:], bytes.Repeat([]byte{0xaa}, 64)) // one page, which opening alone does not read
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = sqlitestore.Open(ctx, path, quiet())
	if se := storeErr(t, err, true, true); !strings.Contains(se.Error(), "damaged") {
		t.Errorf("the error does not say what happened: %v", se)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(data, after) {
		t.Error("the damaged file was changed")
	}
}

func TestOpenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var all sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids {
		all.Go(func() {
			s, err := sqlitestore.Open(ctx, path, quiet())
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			defer s.Close()
			info, err := s.Info(ctx)
			if err != nil {
				t.Errorf("info: %v", err)
			}
			ids[i] = info.StoreID
		})
	}
	all.Wait()
	for _, id := range ids[1:] {
		if id != ids[0] {
			t.Fatalf("one file became several stores: %q", ids)
		}
	}
}

func TestInfo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	info, err := open(t, path, quiet()).Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if info.Kind != "sqlite" || info.Name != path || info.Schema != 1 || !strings.Contains(info.Durability, "synchronous=FULL") ||
		!regexp.MustCompile(`^SQLite 3\.\d+\.\d+$`).MatchString(info.Version) {
		t.Errorf("info is %+v", info)
	}
	if info.Frozen {
		t.Error("a new store is frozen")
	}
}

// What is printed for review is what a store has.
func TestPrintMigrations(t *testing.T) {
	var printed strings.Builder
	if err := sqlitestore.PrintMigrations(&printed); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "printed.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(printed.String()); err != nil {
		t.Fatalf("the printed SQL does not run: %v", err)
	}
	s := open(t, filepath.Join(t.TempDir(), "real.db"), quiet())
	if diff := cmp.Diff(schema(t, s.DB()), schema(t, db)); diff != "" {
		t.Errorf("schema (-store +printed):\n%s", diff)
	}
}

func schema(t *testing.T, db *sql.DB) (list []string) {
	t.Helper()
	rows, err := db.Query("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'onceguard_schema' AND name NOT LIKE 'sqlite_%' ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		list = append(list, text)
	}
	return list
}

func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for _, want := range []string{"0 1", "1 1"} {
		from, to, err := sqlitestore.Migrate(ctx, path)
		if got := fmt.Sprint(from, " ", to); err != nil || got != want {
			t.Errorf("migrated %s (%v), want %s", got, err, want)
		}
	}
}

// A store in somebody's application database leaves their tables alone.
func TestOpenBesideOtherTables(t *testing.T) {
	path := foreign(t)
	s := open(t, path, quiet())
	if !s.Created() {
		t.Error("the store does not say that it is new")
	}
	settle(t, s, success(grant(t, s, "1"), nil))
	var n int
	if err := s.DB().QueryRow("SELECT count(*) FROM orders").Scan(&n); err != nil {
		t.Error(err)
	}
	var _ onceguard.Transactor = s
}

// A newer program raised min_version while this one runs.
func TestNewerProgramStopsThisOne(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "x.db"), quiet())
	c := grant(t, s, "1")
	if _, err := s.DB().Exec("UPDATE onceguard_store SET min_version = 2"); err != nil {
		t.Fatal(err)
	}
	_, err := s.Claim(ctx, []onceguard.Claim{request(t, "2")})
	storeErr(t, err, true, true)
	_, err = s.Settle(ctx, []onceguard.Settlement{success(c, nil)})
	storeErr(t, err, true, true)
	get(t, s, c.ID) // reading does no harm
}
