package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Machine is where a run took place, as far as it bears on the numbers.
type Machine struct {
	CPU, Kernel, Disk, Go, Commit string
	Cores                         int
	Sync                          time.Duration // median of a write of 8 KiB with fdatasync
}

func machine(t testing.TB) Machine {
	t.Helper()
	m := Machine{Go: runtime.Version(), Cores: runtime.NumCPU(), CPU: "unknown CPU", Kernel: "unknown kernel", Commit: "unknown"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = "Linux " + strings.TrimSpace(string(text))
	}
	if out, err := exec.Command("git", "describe", "--always", "--dirty").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
	}
	dir := t.TempDir()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	// Magic numbers of statfs(2).
	names := map[int64]string{0xEF53: "ext4", 0x58465342: "xfs", 0x9123683E: "btrfs", 0x01021994: "tmpfs, which syncs nothing", 0x794C7630: "overlay"}
	if m.Disk = names[int64(fs.Type)]; m.Disk == "" {
		m.Disk = fmt.Sprintf("file system %#x", int64(fs.Type))
	}
	m.Sync = syncTime(t, filepath.Join(dir, "sync"))
	return m
}

// syncTime is what a durable write costs here, without any database.
func syncTime(t testing.TB, path string) time.Duration {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 8<<10)
	all := make([]time.Duration, 200)
	for i := range all {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i%64)*int64(len(page))); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		all[i] = time.Since(began)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
