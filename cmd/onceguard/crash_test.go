package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCrash runs the scripts that kill onceguard at failpoints: against a build
// of the program with the tag failpoint, which has them and allows short leases.
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program again, with failpoints")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", filepath.Join(bin, "onceguard"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build -tags failpoint: %v\n%s", err, out)
	}
	testscript.Run(t, params("testdata/crash", func(e *testscript.Env) error {
		e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
		e.Setenv("ONCEGUARD_FAULT_TRACE", filepath.Join(e.WorkDir, "trace"))
		return nil
	}))
}

// TestNoFailpoints checks that the program as it is shipped has none.
func TestNoFailpoints(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program again")
	}
	exe := filepath.Join(t.TempDir(), "onceguard")
	build := exec.Command("go", "build", "-o", exe, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	for _, mark := range []string{"onceguard-failpoints-are-compiled-in", "run.child.before-start", "ONCEGUARD_FAULT"} {
		if strings.Contains(string(data), mark) {
			t.Errorf("the shipped program holds %q", mark)
		}
	}
}
