package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// golden compares with a file in testdata; the diff of a commit is the review of
// a changed output.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update if it is meant:\n%s", path, diff)
	}
}

func goldenJSON(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	golden(t, name, b.Bytes())
}

// goldenRecord is one of each: a settled, a claimed and an uncertain record.
func goldenRecord(state onceguard.State) onceguard.Record {
	at := time.Date(2025, 6, 1, 10, 0, 0, 123456000, time.FixedZone("", 7200))
	key := onceguard.KeyOf("order", "A/1", "note", "line\nbreak")
	id, err := onceguard.NewRequestID("eu", "refund.create", key)
	if err != nil {
		panic(err)
	}
	r := onceguard.Record{
		ID: id, Scope: "eu", Action: "refund.create", Key: key.Encoded(), Fingerprint: onceguard.Fingerprint{Version: 1, KeyID: "0001", Sum: [32]byte{1}},
		Policy: onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsForgotten), State: state, Attempt: 2, Generation: 1, UnknownAttempt: true,
		CreatedAt: at, KeyedAt: at, ClaimedAt: at.Add(time.Minute), Since: at.Add(time.Minute),
		ResultRetention: 30 * 24 * time.Hour, IdentityRetention: onceguard.Forever,
	}
	switch state {
	case onceguard.Claimed:
		r.LeaseUntil = at.Add(2 * time.Minute)
	case onceguard.Uncertain:
		r.Reason = "exit 3"
	case onceguard.Succeeded:
		r.SettledBy, r.Reason, r.Waived = "operator:ann", "seen", true
		r.Result = onceguard.NewResult("onceguard-run/1 cli.output", []byte(`{"onceguard_run":1,"exit_code":0,"stdout":"eA=="}`))
	}
	return r
}

func TestGoldenReceipts(t *testing.T) {
	var views []receiptView
	for _, s := range []onceguard.State{onceguard.Succeeded, onceguard.Claimed, onceguard.Uncertain} {
		views = append(views, viewOf(goldenRecord(s), true))
	}
	goldenJSON(t, "receipts.json", listView{Store: "sqlite:r.db", Receipts: views})
}

// The archive's lines are a format that later releases must read.
func TestGoldenArchive(t *testing.T) {
	rec := goldenRecord(onceguard.Succeeded)
	e := onceguard.Evidence{ID: rec.ID, Kind: onceguard.EvidenceLookup, Attempt: 2, At: rec.Since, By: "reconciler", Detail: "note", Body: []byte{0, 255}}
	var b bytes.Buffer
	for _, l := range []archiveLine{
		{Head: &archiveHead{archiveFormat, "sqlite", "id", "epoch", 1, rec.Since.UTC(), "v0"}},
		{Record: archived(rec, []onceguard.Evidence{e})},
		{Secret: &archiveSecret{"downstream", []byte{1, 2}, true, rec.Since.UTC()}},
		{Foot: &archiveFoot{1, 1, 1, "00"}},
	} {
		if err := jsonLine(&b, l); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, "archive.jsonl", b.Bytes())
}

// What a person reads about one request.
func TestGoldenStory(t *testing.T) {
	var out, errs bytes.Buffer
	a := &app{ctx: context.Background(), stdout: &out, stderr: &errs, globals: &globals{}, at: storeURL{shown: "sqlite:r.db", source: "--store"}}
	rec := goldenRecord(onceguard.Uncertain)
	now := rec.Since.Add(3*time.Hour + 25*time.Minute)
	v := showView{
		Store: a.at.shown, Receipt: viewOf(rec, true), Owners: []ownerView{{4711, "dead"}, {4712, "unknown"}}, Advice: a.advice(rec, now),
		Evidence: evidenceOf([]onceguard.Evidence{{Kind: onceguard.EvidenceCheckpoint, Attempt: 2, At: rec.Since, By: "owner", Detail: "", Body: []byte("re_81\x1b[2J")}}),
	}
	if err := a.tell(rec, v, now); err != nil {
		t.Fatal(err)
	}
	golden(t, "story.txt", out.Bytes())
}
