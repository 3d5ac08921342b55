package mutant_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/mutant"
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

func TestBinaryHasMutantsOnlyByTag(t *testing.T) {
	plain := build(t, "./testdata/prog")
	tagged := build(t, "./testdata/prog", "-tags=mutant")
	for _, text := range []string{mutant.Marker, "fail-open", "ONCEGUARD_MUTANT", "the planted bug runs"} {
		if contains(t, plain, text) {
			t.Errorf("a normal build contains %q", text)
		}
		if !contains(t, tagged, text) {
			t.Errorf("a build with the tag lacks %q: looking for it proves nothing", text)
		}
	}
}

func TestMutantIsSwitchedByTheEnvironment(t *testing.T) {
	tagged := build(t, "./testdata/prog", "-tags=mutant")
	for env, want := range map[string]string{"": "whole\n", "no-fence": "whole\n", "fail-open": "the planted bug runs\n"} {
		cmd := exec.Command(tagged)
		cmd.Env = append(os.Environ(), "ONCEGUARD_MUTANT="+env)
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("ONCEGUARD_MUTANT=%s: %q, %v; want %q", env, out, err, want)
		}
	}
	cmd := exec.Command(tagged)
	cmd.Env = append(os.Environ(), "ONCEGUARD_MUTANT=nobody")
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.ExitCode() != 125 || !bytes.Contains(out, []byte("no mutant is called")) {
		t.Errorf("an unknown mutant: %q, %v", out, err)
	}
}

func TestReleasedCommandHasNoMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the whole command")
	}
	bin := build(t, "../../cmd/onceguard")
	for _, text := range []string{mutant.Marker, "ONCEGUARD_MUTANT"} {
		if contains(t, bin, text) {
			t.Errorf("the command contains %q", text)
		}
	}
}

func TestMutantIsFree(t *testing.T) {
	if mutant.Enabled {
		t.Skip("a build with mutants pays for them")
	}
	if n := testing.AllocsPerRun(100, func() {
		if mutant.On("no-fence") {
			t.Error("a mutant without the tag")
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkOn(b *testing.B) {
	for b.Loop() {
		if mutant.On("no-fence") {
			b.Fatal("a mutant without the tag")
		}
	}
}

var planted = regexp.MustCompile(`mutant\.On\("([^"]*)"\)`)

// TestTableAndCodeAgree: every mutant of the table is planted once, and none
// that it does not list.
func TestTableAndCodeAgree(t *testing.T) {
	found := map[string]int{}
	for _, dir := range []string{"../..", "../../memstore", "../../sqlitestore", "../../pgstore", "../groupcommit"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range planted.FindAllStringSubmatch(string(text), -1) {
				found[m[1]]++
			}
		}
	}
	for i, m := range mutant.Table {
		if found[m.Name] == 0 {
			t.Errorf("%s is in the table and nowhere in the code", m.Name)
		}
		delete(found, m.Name)
		if slices.ContainsFunc(mutant.Table[:i], func(n mutant.Mutant) bool { return n.Name == m.Name }) {
			t.Errorf("%s is in the table twice", m.Name)
		}
	}
	for name := range found {
		t.Errorf("%s is in the code and not in the table", name)
	}
}

// TestDocsHaveTheTable: docs/proof.md lists every mutant as the table has it.
func TestDocsHaveTheTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/proof.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutant.Table {
		if line := m.Row(); !strings.Contains(string(text), line+"\n") {
			t.Errorf("docs/proof.md lacks the line\n%s", line)
		}
	}
	if rows := strings.Count(string(text), "\n| `"); rows != len(mutant.Table) {
		t.Errorf("docs/proof.md has %d rows about mutants, the table %d", rows, len(mutant.Table))
	}
}
