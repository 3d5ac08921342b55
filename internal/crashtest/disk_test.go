//go:build linux

package crashtest_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
)

// missing skips a test for want of something, loudly, or fails it where all
// must be there.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI=true wants every case", what)
	}
	t.Skipf("NOT PROVED HERE: %s", what)
}

// smallDisk mounts a disk of its own for the test.
func smallDisk(t testing.TB, options string) string {
	t.Helper()
	notShort(t)
	if os.Geteuid() != 0 {
		missing(t, "mounting a small disk needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		missing(t, "a small disk cannot be mounted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// fill writes a file until nothing more fits.
func fill(t testing.TB, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64 << 10, 4 << 10, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, io.ErrShortWrite) {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDiskFull: on a full disk nothing is started that could not be written
// down, and what has been started is written down.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t, "size=8m")
	m := &memory{kind: sqlite, url: "sqlite:" + filepath.Join(dir, "store.db")}
	m.direct = m.url
	m.reader = m.openReader(t)
	s := newStage(t, m)
	s.change = func(j *crashtest.Job) { j.Reserve, j.StoreTimeout = 2<<20, 300*time.Millisecond }
	junk := filepath.Join(dir, "junk")
	once := crashtest.Call{Policy: crashtest.AtMostOnce, Body: 30_000}
	space := func() {
		if err := os.Remove(junk); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("on claim", func(t *testing.T) {
		s := s.again(t)
		s.tells("a caller while there is room", s.call(once), crashtest.Receipt)
		done := s
		s = s.again(t)
		fill(t, junk)
		s.tells("a caller", s.call(once), "not-run")
		s.ends(crashtest.AtMostOnce, onceguard.Absent, 0)
		done.tells("a retry of what is done", done.call(once), crashtest.Receipt)
		space()
		s.tells("a retry with room again", s.call(once), crashtest.Receipt)
		s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
	})
	t.Run("on settle", func(t *testing.T) {
		s := s.again(t)
		s.books.modes(t, s.op, ledger.Mode{Hold: true})
		w := s.launch("", func() crashtest.Job {
			job := s.job(once)
			job.Lease = 30 * time.Second // no renewal comes in between
			return job
		}())
		s.books.arrived(t, s.op, 1)
		fill(t, junk)
		s.books.release(t, s.op)
		l := w.ok().told()
		s.tells("the caller", l, "no-result")
		if l.Effect == "" {
			t.Error("the caller was not given the value that could not be kept")
		}
		if r := s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1); r.Result.Missing != onceguard.BodyDiskFull {
			t.Errorf("the result is missing because %q, want disk-full", r.Result.Missing)
		}
		s.tells("a retry", s.call(once), "no-result")
		other := s.again(t)
		other.tells("a new request", other.call(once), "not-run")
		other.ends(crashtest.AtMostOnce, onceguard.Absent, 0)
		space()
		other.tells("a new request with room again", other.call(once), crashtest.Receipt)
		s.ends(crashtest.AtMostOnce, onceguard.Succeeded, 1)
	})
}
