package sqlitestore

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
)

// A COMMIT of a transaction failed. What became of it is read back, and only
// finding one's own receipt is an answer.
func TestReadBack(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "x.db"), &Options{Reserve: -1, Busy: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := onceguard.KeyOf("order", "1")
	id, err := onceguard.NewRequestID("default", "pay", key)
	if err != nil {
		t.Fatal(err)
	}
	c := onceguard.Claim{
		ID: id, Scope: "default", Action: "pay", Key: key.Encoded(), Owner: onceguard.Token{1}, Policy: onceguard.Transactional,
		Fingerprints: []onceguard.Fingerprint{{Version: 1, KeyID: "k"}}, Lease: time.Minute, ResultRetention: time.Hour, IdentityRetention: time.Hour,
	}
	result := onceguard.NewResult("x", []byte("paid"))
	now := s.now()
	receipt := c.FirstRecord(now).Commit(onceguard.Absent, result, now)
	syncFailed := errors.New("disk I/O error")

	lock, err := s.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	_, busy := s.shared.Begin()
	if !isBusy(busy) {
		t.Fatalf("a second writer got %v", busy)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}

	ask := func(name string, c onceguard.Claim, cause error, answered, clean bool) {
		t.Helper()
		a, err := s.readBack(ctx, "transact", c, receipt, &txn{now: now}, cause)
		var se *onceguard.StoreError
		switch {
		case answered && (err != nil || a.Transition != onceguard.T11 || !a.Mine):
			t.Errorf("%s: answered %s by %s, %v; want one's own receipt", name, a.Outcome, a.Transition, err)
		case !answered && (!errors.As(err, &se) || se.Clean != clean):
			t.Errorf("%s: %v; want an error that is clean: %v", name, err, clean)
		}
	}
	ask("not there", c, syncFailed, false, false)
	ask("busy", c, busy, false, true)
	_, err = s.Transact(ctx, c, func(context.Context, any) (onceguard.Result, error) { return result, nil })
	if err != nil {
		t.Fatal(err)
	}
	ask("there", c, syncFailed, true, false)
	another := c
	another.Owner = onceguard.Token{2}
	ask("there, another's", another, syncFailed, false, false)
}
