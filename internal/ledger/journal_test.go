package ledger

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFailedWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger.jsonl")
	j, _, err := openJournal(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.append(Record{N: 1, Op: "op"}); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	// A file opened for reading takes neither a write nor its undoing.
	if j.file, err = os.Open(name); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.close() }()
	for range 2 {
		if err := j.append(Record{N: 2, Op: "op"}); err == nil || j.broken == nil {
			t.Errorf("got %v, broken %v, want an error that stays", err, j.broken)
		}
	}
	if now, _ := os.ReadFile(name); string(now) != string(good) {
		t.Errorf("file is %q, was %q", now, good)
	}
}
