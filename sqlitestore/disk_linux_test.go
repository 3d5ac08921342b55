package sqlitestore_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/onceguard/onceguard"
)

// smallDisk mounts a disk of 8 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("CI must test full disks, and mounting one failed: %v", err)
		}
		t.Skipf("FULL DISKS ARE NOT TESTED: mounting a small tmpfs needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill writes until nothing fits any more, and returns the file to remove.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
	return path
}

// Nothing starts that could not be recorded, and what runs is recorded.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t)
	s := open(t, filepath.Join(dir, "x.db"), quiet())
	if info, err := s.Info(ctx); err != nil || len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], "tmpfs") {
		t.Errorf("warnings are %q, %v; want one about the memory disk", info.Warnings, err)
	}
	var running []onceguard.Claim
	for i := range 5 {
		running = append(running, grant(t, s, fmt.Sprint("running", i)))
	}
	filler := fill(t, dir)

	refusal := claim(t, s, request(t, "new"))
	if se := storeErr(t, refusal.Err, true, false); !strings.Contains(se.Error(), "free some space") {
		t.Errorf("the refusal does not say what to do: %v", se)
	}
	if r := get(t, s, request(t, "new").ID); r.State != onceguard.Absent {
		t.Errorf("the refused claim left a record: %s", r.State)
	}
	_, err := s.Transact(ctx, transactional(t, "tx"), nil)
	storeErr(t, err, true, false)

	body := bytes.Repeat([]byte("r"), 30_000)
	for i, c := range running {
		if a := settle(t, s, success(c, body)); a.Err != nil || a.Transition != onceguard.T7 {
			t.Fatalf("receipt %d: %s, %v", i, a.Outcome, a.Err)
		}
		r := get(t, s, c.ID)
		if r.State != onceguard.Succeeded || r.Result.Missing != onceguard.BodyDiskFull || r.Result.Body != nil || r.Result.Digest != onceguard.NewResult("", body).Digest {
			t.Fatalf("receipt %d is %s and its body is missing because %q", i, r.State, r.Result.Missing)
		}
		// The same word again, with its body, is a repeat and no contradiction.
		if a := settle(t, s, success(c, body)); a.Transition != onceguard.NoTransition || !a.Mine {
			t.Errorf("receipt %d again: %s by %s", i, a.Outcome, a.Transition)
		}
	}
	if s.BallastWhole() {
		t.Error("the receipts were stored without giving back the ballast: this test does not test it")
	}
	storeErr(t, claim(t, s, request(t, "new")).Err, true, false)
	if info, err := s.Info(ctx); err != nil || len(info.Warnings) != 2 {
		t.Errorf("warnings are %q, %v; want one about the full disk too", info.Warnings, err)
	}

	must(t, os.Remove(filler))
	c := grant(t, s, "new")
	if !s.BallastWhole() {
		t.Error("a claim was granted without the ballast in place")
	}
	settle(t, s, success(c, body))
	if r := get(t, s, c.ID); !bytes.Equal(r.Result.Body, body) {
		t.Errorf("with space again, the result is missing because %q", r.Result.Missing)
	}
}

// One result that does not fit costs its own body, not those of its neighbours.
func TestDiskFullSplitsABatch(t *testing.T) {
	dir := smallDisk(t)
	s := open(t, filepath.Join(dir, "x.db"), quiet())
	names := []string{"small 0", "small 1", "huge", "small 2", "small 3"}
	running := map[string]onceguard.Claim{}
	for _, name := range names {
		running[name] = grant(t, s, name)
	}
	filler := fill(t, dir)
	must(t, os.Truncate(filler, stat(t, filler).Size()-(400<<10)))

	small, huge := []byte("paid"), bytes.Repeat([]byte("r"), 1<<20)
	var calls []func()
	for _, name := range names {
		body := small
		if name == "huge" {
			body = huge
		}
		calls = append(calls, func() {
			if a := settle(t, s, success(running[name], body)); a.Err != nil || a.Transition != onceguard.T7 {
				t.Errorf("%s: %s, %v", name, a.Outcome, a.Err)
			}
		})
	}
	var refusal onceguard.Answer
	calls = append(calls, func() { refusal = claim(t, s, request(t, "new")) })
	batched(t, s, nil, calls...)
	for _, name := range names {
		want := onceguard.HasBody
		if name == "huge" {
			want = onceguard.BodyDiskFull
		}
		if r := get(t, s, running[name].ID); r.State != onceguard.Succeeded || r.Result.Missing != want {
			t.Errorf("%s is %s, its body is missing because %q, want %q", name, r.State, r.Result.Missing, want)
		}
	}
	storeErr(t, refusal.Err, true, false)
}

// A disk without room is no reason to hide what is known.
func TestOpenOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "x.db")
	s := open(t, path, quiet())
	c := grant(t, s, "1")
	settle(t, s, success(c, []byte("paid")))
	fill(t, dir)
	again := open(t, path, quiet())
	if r := claim(t, again, request(t, "1")).Record; string(r.Result.Body) != "paid" {
		t.Errorf("the replay is %+v", r)
	}
	storeErr(t, claim(t, again, request(t, "2")).Err, true, false)
}
