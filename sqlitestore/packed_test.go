package sqlitestore

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

// Both ways to read a row give what was written, whatever its texts are.
func TestRowsAreReadAlike(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "x.db"), &Options{Reserve: -1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)
	full := onceguard.Record{
		Scope: "ünï\x00 1", Action: "a b", Key: "k=\"1 2 3\"", Fingerprint: onceguard.Fingerprint{Version: 3, KeyID: "k 1", Sum: [32]byte{1, 0, 2}},
		Policy: onceguard.Policy{Kind: onceguard.SafeRetryKind, Horizon: time.Hour, Refusals: onceguard.RefusalsRemembered, MaxAttempts: 7},
		State:  onceguard.Succeeded, Attempt: 1 << 40, Owner: [32]byte{3}, Process: "host/1 2", Generation: 4,
		UnknownAttempt: true, Waived: true, RunAfterNeverWill: true,
		CreatedAt: at, KeyedAt: at.Add(1e3), ClaimedAt: at.Add(2e3), Since: at.Add(3e3), SettledBy: "operator:ada", Reason: "\x00\n'",
		Result:          onceguard.NewResult("refund/1", []byte{0, 1, 2}),
		ResultRetention: onceguard.Forever, IdentityRetention: time.Hour, Input: []byte{0},
	}
	claimed := full
	claimed.State, claimed.LeaseUntil, claimed.Result, claimed.Reason, claimed.Input = onceguard.Claimed, at.Add(time.Hour), onceguard.Result{}, "", nil
	imported := onceguard.Record{
		Scope: "s", Action: "a", Key: "k", State: onceguard.Failed, CreatedAt: at, Since: time.UnixMicro(-1).UTC(), SettledBy: "import:x",
		Result: onceguard.Result{Missing: onceguard.BodyNotKept}, ResultRetention: time.Hour, IdentityRetention: time.Hour,
	}
	tombstone := imported
	tombstone.Pruned, tombstone.Result.Missing = true, onceguard.BodyPruned
	for name, want := range map[string]onceguard.Record{"full": full, "claimed": claimed, "imported": imported, "tombstone": tombstone} {
		t.Run(name, func(t *testing.T) {
			copy(want.ID[:], name)
			if err := s.writing(ctx, "test", func(t *txn) error { return t.changed(insertRow, values(want)...) }); err != nil {
				t.Fatal(err)
			}
			packed, err := s.lookup(ctx, want.ID)
			if err != nil {
				t.Fatal(err)
			}
			plain, err := scanRecord(s.read.QueryRowContext(ctx, selectRow, want.ID[:]))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, packed); diff != "" {
				t.Errorf("packed (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, plain); diff != "" {
				t.Errorf("column by column (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnpackRefusesWhatItDoesNotKnow(t *testing.T) {
	const numbers = "1 0 0 0 0 0 0 0 1 0 0 0 0 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0"
	blobs := make([]byte, 96)
	if err := unpack(new(onceguard.Record), numbers, "s", blobs); err != nil {
		t.Fatalf("a good row: %v", err)
	}
	for name, c := range map[string]struct {
		numbers, texts string
		blobs          []byte
	}{
		"short blobs":      {numbers, "s", blobs[:95]},
		"short texts":      {numbers, "", blobs},
		"long texts":       {numbers, "st", blobs},
		"a number missing": {numbers[:len(numbers)-2], "s", blobs},
		"one too many":     {numbers + " 1", "s", blobs},
		"no number":        {"x" + numbers[1:], "s", blobs},
		"negative length":  {"-" + numbers, "s", blobs},
	} {
		if err := unpack(new(onceguard.Record), c.numbers, c.texts, c.blobs); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
