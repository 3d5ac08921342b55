package fault_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/onceguard/onceguard/internal/fault"
)

// build compiles a package of this module, given relative to this folder.
func build(t *testing.T, pkg string, args ...string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "prog.exe")
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, args...), pkg)...)
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %v %s: %v\n%s", args, pkg, err, msg)
	}
	return out
}

func contains(t *testing.T, file, text string) bool {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(data, []byte(text))
}

func TestBinaryHasFailpointsOnlyByTag(t *testing.T) {
	// The name of a point that prog passes: its absence shows that the call
	// itself is gone, not only the machinery behind it.
	const name = "store.settle.after-commit"
	plain := build(t, "./testdata/prog")
	tagged := build(t, "./testdata/prog", "-tags=failpoint")
	for _, text := range []string{fault.Marker, name, "ONCEGUARD_FAULT"} {
		if contains(t, plain, text) {
			t.Errorf("a normal build contains %q", text)
		}
		if !contains(t, tagged, text) {
			t.Errorf("a build with the tag lacks %q: looking for it proves nothing", text)
		}
	}
}

func TestReleasedCommandHasNoFailpoints(t *testing.T) {
	const pkg = "../../cmd/onceguard"
	if testing.Short() {
		t.Skip("builds the whole command")
	}
	if _, err := os.Stat(pkg); os.IsNotExist(err) {
		t.Skip("no command in this tree")
	}
	if bin := build(t, pkg); contains(t, bin, fault.Marker) {
		t.Errorf("the command contains %q", fault.Marker)
	}
}

func TestPointsAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range fault.Points {
		if seen[name] {
			t.Errorf("%s is listed twice", name)
		}
		seen[name] = true
	}
}

func TestPointIsFree(t *testing.T) {
	if fault.Enabled {
		t.Skip("a build with failpoints pays for them")
	}
	if n := testing.AllocsPerRun(100, func() {
		fault.Point("guard.claim.before")
		if fault.PointErr("store.claim.before-commit") != nil {
			t.Error("an error without the tag")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkPoint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		fault.Point("guard.claim.before")
		if err := fault.PointErr("store.claim.before-commit"); err != nil {
			b.Fatal(err)
		}
	}
}
