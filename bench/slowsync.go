package bench

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

//go:embed testdata/slowsync.c
var slowSyncSource []byte

// errNoCompiler means that the scenes with a slower disk cannot be had here.
var errNoCompiler = errors.New("no C compiler (cc): the scenes with a slower disk are left out")

// slowSync builds a library for LD_PRELOAD and returns the environment of a
// server each of whose syncs takes so much longer. The directory is one that
// the server's account can reach.
func slowSync(t testing.TB, delay time.Duration) ([]string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return nil, errNoCompiler
	}
	dir, err := os.MkdirTemp("/tmp", "onceguard-bench-")
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Log(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	source, lib := filepath.Join(dir, "slowsync.c"), filepath.Join(dir, "slowsync.so")
	if err := os.WriteFile(source, slowSyncSource, 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-O2", "-o", lib, source, "-ldl").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cc, err, out)
	}
	return []string{"LD_PRELOAD=" + lib, fmt.Sprintf("ONCEGUARD_SYNC_DELAY_US=%d", delay.Microseconds())}, nil
}
