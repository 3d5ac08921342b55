package cli

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/shim"
)

// TestMain lets this test program be the shim of runs in this process.
func TestMain(m *testing.M) {
	if shim.Asked(os.Args[1:]) {
		os.Exit(shim.Run(os.Args[1:], os.Stderr))
	}
	os.Exit(m.Run())
}

// result is what a call of the whole program gave.
type result struct {
	status      int
	out, errOut string
}

// call runs the program in this process with a home of its own.
func call(t *testing.T, home string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	env := []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}
	status := Main(context.Background(), args, strings.NewReader(""), &out, &errs, env)
	return result{status, out.String(), errs.String()}
}

func TestWholeProgramInProcess(t *testing.T) {
	home := t.TempDir()
	run := []string{"run", "--action", "a", "--key", "k=1", "--", "sh", "-c", "echo ran; echo x >>" + home + "/effects"}
	first := call(t, home, run...)
	if first.status != 0 || first.out != "ran\n" || !strings.Contains(first.errOut, "recorded: succeeded") {
		t.Fatalf("first run: %+v", first)
	}
	second := call(t, home, run...)
	if second.status != 0 || second.out != first.out || !strings.Contains(second.errOut, "replayed") {
		t.Fatalf("second run: %+v", second)
	}
	effects, err := os.ReadFile(home + "/effects")
	if err != nil || string(effects) != "x\n" {
		t.Errorf("effects %q, %v; want one", effects, err)
	}
}

// A context that has ended starts nothing.
func TestEndedContext(t *testing.T) {
	home := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	status := Main(ctx, []string{"run", "--action", "a", "--key", "k=1", "--", "sh", "-c", "echo x >" + home + "/effects"},
		strings.NewReader(""), &out, &errs, []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")})
	if status == 0 {
		t.Errorf("status 0 and %q", errs.String())
	}
	if _, err := os.Stat(home + "/effects"); err == nil {
		t.Error("the command ran")
	}
}

func TestRunsShareNothing(t *testing.T) {
	home := t.TempDir()
	a := call(t, home, "receipts", "list", "--json", "--store", "sqlite:"+home+"/none.db")
	b := call(t, home, "version")
	if a.status != exitUnavailable || b.status != 0 || b.out == "" {
		t.Errorf("got %+v and %+v", a, b)
	}
}
