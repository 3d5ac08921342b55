//go:build unix

package fault_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/fault"
)

const passedAll = "passed 1\npassed 2\npassed 3\n"

type outcome struct {
	Out    string
	Status int
	Signal syscall.Signal
}

func run(t *testing.T, bin string, env ...string) (outcome, string) {
	t.Helper()
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	o := outcome{Out: stdout.String(), Status: cmd.ProcessState.ExitCode()}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		o.Signal = ws.Signal()
	}
	return o, stderr.String()
}

func TestActions(t *testing.T) {
	bin := build(t, "./testdata/prog", "-tags=failpoint")
	for name, tc := range map[string]struct {
		spec string
		want outcome
	}{
		"none":        {"", outcome{Out: passedAll + "end\n"}},
		"kill":        {"guard.claim.before=kill", outcome{Status: -1, Signal: syscall.SIGKILL}},
		"kill second": {"guard.claim.before@2=kill", outcome{Out: "passed 1\n", Status: -1, Signal: syscall.SIGKILL}},
		"past the end": {
			"guard.claim.before@4=kill", outcome{Out: passedAll + "end\n"},
		},
		"exit":   {"guard.claim.before@3=exit:7", outcome{Out: "passed 1\npassed 2\n", Status: 7}},
		"delay":  {"guard.claim.before=delay:1ms", outcome{Out: passedAll + "end\n"}},
		"goexit": {"guard.claim.before@2=goexit", outcome{Out: "passed 1\ngoexit\n"}},
		"panic": {
			"guard.claim.before@2=panic",
			outcome{Out: "passed 1\npanic: injected fault at guard.claim.before\n"},
		},
		"error": {
			"store.settle.after-commit=error",
			outcome{Out: passedAll + "error: injected fault at store.settle.after-commit\n"},
		},
		"two rules, the first that applies": {
			"guard.claim.before@2=exit:3; guard.claim.before@1=delay:1ms;", outcome{Out: "passed 1\n", Status: 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, stderr := run(t, bin, "ONCEGUARD_FAULT="+tc.spec)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s%s", diff, stderr)
			}
		})
	}
}

func TestMisuseIsLoud(t *testing.T) {
	bin := build(t, "./testdata/prog", "-tags=failpoint")
	for spec, say := range map[string]string{
		"guard.claimed=kill":                   `no point is called "guard.claimed"`,
		"guard.claim.before":                   "want POINT",
		"guard.claim.before=hang":              `no action is called "hang"`,
		"guard.claim.before@0=kill":            "want a whole number from 1",
		"guard.claim.before@x=kill":            "want a whole number from 1",
		"guard.claim.before%=kill":             "has no name",
		"guard.claim.before=kill:9":            "takes no argument",
		"guard.claim.before=delay:soon":        "want a positive duration",
		"guard.claim.before=delay:-1s":         "want a positive duration",
		"guard.claim.before=exit:256":          "want a status",
		"guard.claim.before=error":             "cannot return an error",
		"guard.claim.before%/none/x/fuse=kill": "fuse file",
	} {
		t.Run(spec, func(t *testing.T) {
			got, stderr := run(t, bin, "ONCEGUARD_FAULT="+spec)
			if diff := cmp.Diff(outcome{Status: 125}, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if !strings.Contains(stderr, fault.Marker) || !strings.Contains(stderr, say) {
				t.Errorf("stderr %q, want it to contain %q", stderr, say)
			}
		})
	}
}

func TestFuseFileSparesTheNextProcess(t *testing.T) {
	bin := build(t, "./testdata/prog", "-tags=failpoint")
	env := "ONCEGUARD_FAULT=guard.claim.before@2%" + filepath.Join(t.TempDir(), "a=fuse") + "=kill"
	first, _ := run(t, bin, env)
	if diff := cmp.Diff(outcome{Out: "passed 1\n", Status: -1, Signal: syscall.SIGKILL}, first); diff != "" {
		t.Errorf("first (-want +got)\n%s", diff)
	}
	second, _ := run(t, bin, env)
	if diff := cmp.Diff(outcome{Out: passedAll + "end\n"}, second); diff != "" {
		t.Errorf("second (-want +got)\n%s", diff)
	}
}

func TestTraceIsWrittenBeforeTheKill(t *testing.T) {
	bin := build(t, "./testdata/prog", "-tags=failpoint")
	file := filepath.Join(t.TempDir(), "trace")
	run(t, bin, "ONCEGUARD_FAULT=guard.claim.before@2=kill", "ONCEGUARD_FAULT_TRACE="+file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(data)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), " ") // the pid comes first
		got = append(got, rest)
	}
	want := []string{"guard.claim.before 1 -", "guard.claim.before 2 kill"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestStopGoesOnAfterCont(t *testing.T) {
	bin := build(t, "./testdata/prog", "-tags=failpoint")
	cmd := exec.Command(bin)
	cmd.Env = append(os.Environ(), "ONCEGUARD_FAULT=guard.claim.before@2=stop")
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &ws, syscall.WUNTRACED, nil); err != nil {
		t.Fatal(err)
	}
	if !ws.Stopped() {
		t.Fatalf("not stopped: %v", ws)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := passedAll + "end\n"; stdout.String() != want {
		t.Errorf("got %q, want %q", stdout.String(), want)
	}
}
