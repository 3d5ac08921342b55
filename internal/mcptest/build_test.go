//go:build linux

package mcptest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built holds the programs that tests build, once each, in a directory of this
// run.
var built struct {
	sync.Mutex
	dir  string
	done map[string]*build
}

type build struct {
	sync.Once
	path string
	err  error
}

// program builds a package of this module or of one it depends on. Tags may be
// "".
func program(t testing.TB, pkg, tags string) string {
	t.Helper()
	built.Lock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "onceguard-mcptest-")
		if err != nil {
			built.Unlock()
			t.Fatal(err)
		}
		built.dir, built.done = dir, map[string]*build{}
	}
	b := built.done[pkg+" "+tags]
	if b == nil {
		b = &build{path: filepath.Join(built.dir, fmt.Sprintf("%d-%s", len(built.done), filepath.Base(pkg)))}
		built.done[pkg+" "+tags] = b
	}
	built.Unlock()
	b.Do(func() {
		out, err := exec.Command("go", "build", "-tags", tags, "-o", b.path, pkg).CombinedOutput()
		if err != nil {
			b.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if b.err != nil {
		t.Fatal(b.err)
	}
	return b.path
}

func removeBuilt() {
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
}

const module = "github.com/onceguard/onceguard"

// onceguardPath builds the program as it is shipped.
func onceguardPath(t testing.TB) string { return program(t, module+"/cmd/onceguard", "") }

// faultyPath builds the program with failpoints.
func faultyPath(t testing.TB) string { return program(t, module+"/cmd/onceguard", "failpoint") }
