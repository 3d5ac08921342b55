package sqlitestore

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"
)

// A connection whose durability is not what was asked for is not used.
func TestConnectionsAreVerified(t *testing.T) {
	for name, c := range map[string]struct{ pragma, why string }{
		"as asked":    {"", ""},
		"extra":       {"&_synchronous=EXTRA", ""},
		"normal":      {"&_synchronous=NORMAL", "synchronous is 1"},
		"off":         {"&_synchronous=OFF", "synchronous is 0"},
		"no log":      {"&_journal_mode=DELETE", "journal_mode is delete"},
		"memory only": {"&_journal_mode=MEMORY", "journal_mode is memory"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, r := range []role{writer, reader, user} {
				path := filepath.Join(t.TempDir(), "x.db")
				if err := os.WriteFile(path, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				base, err := sqlite.NewConnector(strings.Replace(dsn(path, r, time.Second), "&_pragma=query_only%281%29", "", 1) + c.pragma)
				if err != nil {
					t.Fatal(err)
				}
				conn, err := connector{base}.Connect(context.Background())
				if err == nil {
					conn.Close()
				}
				if (err != nil) != (c.why != "") || (err != nil && !strings.Contains(err.Error(), c.why)) {
					t.Errorf("role %d: %v, want an error with %q", r, err, c.why)
				}
			}
		})
	}
}

// SQLite must never create the file by itself.
func TestConnectionsCreateNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	for _, r := range []role{writer, reader, user} {
		db, err := pool(path, r, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); err == nil {
			t.Errorf("role %d opened a file that does not exist", r)
		}
		db.Close()
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a connection created the file: %v", err)
	}
}
