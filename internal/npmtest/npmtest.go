// Package npmtest installs npm packages for tests that ask other people's
// libraries. It is for tests alone and never reaches the program.
package npmtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// installTime bounds one npm install.
const installTime = 3 * time.Minute

// Install returns a directory with the files of dir that are named, one of them
// package.json, and the packages that it lists. It is made once per content,
// below root/.tools/npm, where root is the module's directory; its name begins
// with name.
//
// Without node, npm or a registry the test is skipped, loudly; with CI=true it
// fails.
func Install(t testing.TB, root, name, dir string, files ...string) string {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing("SKIPPED: the npm packages of %s were NOT asked: no %s here", name, program)
		}
	}
	if !slices.Contains(files, "package.json") {
		t.Fatal("npmtest: package.json is not among the files")
	}
	texts, sum := map[string][]byte{}, sha256.New()
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			t.Fatal(err)
		}
		texts[f] = text
		sum.Write(text)
	}
	tools, err := filepath.Abs(filepath.Join(root, ".tools", "npm"))
	if err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(tools, name+"-"+hex.EncodeToString(sum.Sum(nil)[:6]))
	if _, err := os.Stat(made); err == nil {
		return made
	}
	if err := os.MkdirAll(tools, 0o755); err != nil {
		t.Fatal(err)
	}
	// Built aside and renamed, so that a broken install is never found.
	tmp, err := os.MkdirTemp(tools, "install-*")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	for f, text := range texts {
		if err := os.WriteFile(filepath.Join(tmp, f), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), installTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		missing("SKIPPED: the npm packages of %s were NOT asked: npm install: %v\n%s", name, err, out)
	}
	if err := os.Rename(tmp, made); err != nil {
		if _, there := os.Stat(made); there != nil { // another run was first
			t.Fatal(err)
		}
	}
	return made
}
