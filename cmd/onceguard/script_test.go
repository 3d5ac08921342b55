package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/onceguard/onceguard"
)

// patience bounds every wait for an event; a test that reaches it has failed.
const patience = 20 * time.Second

func await(ts *testscript.TestScript, what string, ok func() bool) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	ts.Fatalf("waited %s for %s", patience, what)
}

// cmdEffects counts what the provider did, from its ledger: effects N [TEXT].
func cmdEffects(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: effects N [TEXT]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	data, err := os.ReadFile(ts.Getenv("LEDGER"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		ts.Check(err)
	}
	got := 0
	for line := range strings.Lines(string(data)) {
		if len(args) == 1 || strings.Contains(line, args[1]) {
			got++
		}
	}
	if got != want {
		ts.Fatalf("%d effects, want %d; the ledger:\n%s", got, want, data)
	}
}

// cmdAppears waits for files to exist: appears FILE…
func cmdAppears(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("unsupported: ! appears")
	}
	for _, f := range args {
		await(ts, f, func() bool { _, err := os.Stat(ts.MkAbs(f)); return err == nil })
	}
}

// pidIn reads the pid that a file holds. A shell makes the file before it writes
// into it, so the line's end is awaited.
func pidIn(ts *testscript.TestScript, file string) int {
	var text string
	await(ts, "a whole pid in "+file, func() bool {
		text = ts.ReadFile(file)
		return strings.HasSuffix(text, "\n")
	})
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	ts.Check(err)
	if pid <= 1 {
		ts.Fatalf("%s holds the pid %d", file, pid)
	}
	return pid
}

// cmdSignal sends a signal to the process whose pid a file holds.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "KILL": syscall.SIGKILL,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH, "STOP": syscall.SIGSTOP, "TSTP": syscall.SIGTSTP, "CONT": syscall.SIGCONT,
	}
	if neg || len(args) != 2 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal NAME PIDFILE")
	}
	ts.Check(syscall.Kill(pidIn(ts, args[1]), signals[args[0]]))
}

// cmdGone waits until the process whose pid a file holds has ended: it is away,
// or a zombie that nobody waits for.
func cmdGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone PIDFILE")
	}
	pid := pidIn(ts, args[0])
	await(ts, fmt.Sprintf("the end of pid %d", pid), func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, "Z")
	})
}

// cmdID sets a variable to a request ID: id NAME ACTION KEYPART=VALUE…
func cmdID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: id NAME ACTION PART=VALUE...")
	}
	var pairs []any
	for _, p := range args[2:] {
		name, value, _ := strings.Cut(p, "=")
		pairs = append(pairs, name, value)
	}
	id, err := onceguard.NewRequestID("default", args[1], onceguard.KeyOf(pairs...))
	ts.Check(err)
	ts.Setenv(args[0], id.String())
}

// cmdJSON compares fields of a JSON file, or of stdout or stderr: the last line
// there is taken if the whole is no document. json FILE PATH=VALUE…, where PATH
// is names and numbers joined by dots, and VALUE the JSON text or a bare string.
// A VALUE of ~TEXT asks that the string contain TEXT.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: json FILE PATH=VALUE...")
	}
	text := ts.ReadFile(args[0])
	var doc any
	if json.Unmarshal([]byte(text), &doc) != nil {
		lines := strings.Split(strings.TrimSpace(text), "\n")
		ts.Check(json.Unmarshal([]byte(lines[len(lines)-1]), &doc))
	}
	for _, want := range args[1:] {
		path, value, _ := strings.Cut(want, "=")
		got := at(doc, path)
		if part, ok := strings.CutPrefix(value, "~"); ok {
			if s, is := got.(string); !is || !strings.Contains(s, part) {
				ts.Fatalf("%s is %v, want it to contain %q", path, got, part)
			}
			continue
		}
		printed, err := json.Marshal(got)
		ts.Check(err)
		if s, is := got.(string); !(is && s == value) && string(printed) != value {
			ts.Fatalf("%s is %s, want %s", path, printed, value)
		}
	}
}

func at(doc any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			if name == "len" {
				return len(v)
			}
			doc = v[name]
		case []any:
			if name == "len" {
				return len(v)
			}
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(v) {
				return nil
			}
			doc = v[i]
		default:
			return nil
		}
	}
	return doc
}

// cmdBytes writes a file from hexadecimal text: bytes FILE HEX.
func cmdBytes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: bytes FILE HEX")
	}
	data, err := hex.DecodeString(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o600))
}

// cmdEdit replaces the first occurrence of a text in a file: edit FILE OLD NEW.
func cmdEdit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(filepath.Clean(ts.MkAbs(args[0])), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// cmdWaits waits until onceguard, whose pid a file holds, has started the process
// that waits to become the command: it is about to claim, or waits for a claim.
func cmdWaits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waits PIDFILE")
	}
	pid := pidIn(ts, args[0])
	await(ts, fmt.Sprintf("pid %d to have a waiting child", pid), func() bool {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // one per thread
		for _, list := range lists {
			if kids, err := os.ReadFile(list); err == nil && len(strings.TrimSpace(string(kids))) > 0 {
				return true
			}
		}
		return false
	})
}

// cmdVictim kills the process that waits to become the command, of the
// background run named "run".
func cmdVictim(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: victim")
	}
	parent := ts.BackgroundCmds()[0].Process.Pid
	await(ts, "a waiting process", func() bool {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
		for _, list := range lists {
			kids, _ := os.ReadFile(list)
			for kid := range strings.FieldsSeq(string(kids)) {
				pid, err := strconv.Atoi(kid)
				if line, rerr := os.ReadFile("/proc/" + kid + "/cmdline"); err == nil && rerr == nil && strings.Contains(string(line), "__become") {
					return syscall.Kill(pid, syscall.SIGKILL) == nil
				}
			}
		}
		return false
	})
}

// cmdState waits until the process whose pid a file holds is in a state of
// proc_pid_stat(5): T stopped, S asleep.
func cmdState(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: state LETTER PIDFILE")
	}
	pid := pidIn(ts, args[1])
	await(ts, fmt.Sprintf("state %s of pid %d", args[0], pid), func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, rest, _ := strings.Cut(string(stat), ") ")
		return strings.HasPrefix(rest, args[0])
	})
}
