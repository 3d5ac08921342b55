//go:build linux

package mcptest_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/onceguard/onceguard/internal/npmtest"
)

const root = "../.."

// installing keeps npm from running beside itself: two installs at once would
// not be faster.
var installing sync.Mutex

// node22 returns the directory of a Node that the packages here run on. Without
// one the test is skipped, loudly; with CI=true it fails.
func node22(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("other people's code is not asked in a short run")
	}
	installing.Lock()
	defer installing.Unlock()
	cmd := exec.Command("sh", filepath.Join(root, "scripts", "fetch-node22.sh"))
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		missing := t.Skipf
		if os.Getenv("CI") == "true" {
			missing = t.Fatalf
		}
		missing("SKIPPED: other people's MCP peers were NOT asked: fetch-node22.sh: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// packages is a directory with npm packages and a Node to run them.
type packages struct {
	node string // the directory of node
	dir  string
}

// install makes the packages of testdata/NAME/package.json available, and copies
// the scripts of that folder beside them.
func install(t testing.TB, name string) packages {
	t.Helper()
	p := packages{node: node22(t)}
	from := filepath.Join("testdata", name)
	installing.Lock()
	made := npmtest.Install(t, root, "mcp-"+name, from, "package.json")
	installing.Unlock()
	// The scripts change more often than the packages: they lie apart, beside a
	// link to them.
	p.dir = t.TempDir()
	if err := os.Symlink(filepath.Join(made, "node_modules"), filepath.Join(p.dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(filepath.Join(from, "*.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range scripts {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// env puts the right Node before any other. npm's own settings are not for the
// programs that tests run.
func (p packages) env() []string {
	return []string{"PATH=" + p.node + ":" + os.Getenv("PATH"), "NO_COLOR=1", "NODE_NO_WARNINGS=1"}
}

// bin is the command line of a program of the packages.
func (p packages) bin(name string) []string {
	return []string{filepath.Join(p.node, "node"), filepath.Join(p.dir, "node_modules", ".bin", name)}
}

// script is the command line of a script.
func (p packages) script(name string) []string {
	return []string{filepath.Join(p.node, "node"), filepath.Join(p.dir, name)}
}
