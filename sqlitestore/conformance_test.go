package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/sqlitestore"
	"github.com/onceguard/onceguard/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t) })
}

// clock is the machine's, moved by as much as a test says.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// harness reopens the file while the old handle stays open, as after a kill:
// nothing is flushed, checkpointed or closed on behalf of the next process.
func harness(t testing.TB) storetest.Harness {
	path := filepath.Join(t.TempDir(), "receipts.db")
	var c clock
	options := sqlitestore.WithClock(sqlitestore.Options{Reserve: 1 << 20, Log: slog.New(slog.DiscardHandler)}, c.now)
	s := open(t, path, options)
	if _, err := s.DB().Exec("CREATE TABLE mine (name TEXT PRIMARY KEY, value TEXT)"); err != nil {
		t.Fatal(err)
	}
	again := func(t *testing.T) onceguard.Store { return open(t, path, options) }
	return storetest.Harness{
		Store: s, Reopen: again, Second: again, AdvanceClock: c.advance,
		Failover: func(t *testing.T) {
			if err := s.Failover(context.Background()); err != nil {
				t.Fatal(err)
			}
		},
		WriteRow: func(ctx context.Context, tx any, name, value string) error {
			_, err := tx.(*sql.Tx).ExecContext(ctx, "INSERT INTO mine VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
			return err
		},
		ReadRow: func(t *testing.T, name string) (value string, found bool) {
			err := s.DB().QueryRow("SELECT value FROM mine WHERE name = ?", name).Scan(&value)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				t.Fatal(err)
			}
			return value, err == nil
		},
	}
}

func open(t testing.TB, path string, o *sqlitestore.Options) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(context.Background(), path, o)
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}
