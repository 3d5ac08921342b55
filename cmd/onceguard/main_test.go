package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/onceguard/onceguard/internal/pgtest"
)

var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

// TestMain registers the program itself and a fake provider as commands: each
// runs in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"onceguard": main, "provider": provider})
}

// tests runs the tests and stops the Postgres server that they shared.
type tests struct{ *testing.M }

// Run implements testscript.TestingM. Signals that whoever started the tests had
// ignored (nohup, a background job) would stay ignored in every process of the
// scripts; one that is caught here starts there as usual.
func (t tests) Run() int {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT} {
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
	return pgtest.Main(t.M)
}

// TestScript runs the scripts that need neither failpoints nor Postgres.
func TestScript(t *testing.T) {
	testscript.Run(t, params("testdata/script", nil))
}

func params(dir string, setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir:           dir,
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("LEDGER", filepath.Join(e.WorkDir, "ledger"))
			e.Setenv("DB", filepath.Join(e.WorkDir, "home/.local/state/onceguard/receipts.db"))
			// Under the race detector each process would sleep a second at its end.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			exe, err := exec.LookPath("onceguard")
			if err != nil {
				return err
			}
			e.Setenv("ONCEGUARD", exe)
			if setup != nil {
				return setup(e)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":  cmdStatus,
			"effects": cmdEffects,
			"appears": cmdAppears,
			"signal":  cmdSignal,
			"gone":    cmdGone,
			"id":      cmdID,
			"json":    cmdJSON,
			"bytes":   cmdBytes,
			"mode":    cmdMode,
			"edit":    cmdEdit,
			"shell":   cmdShell,
			"state":   cmdState,
			"victim":  cmdVictim,
			"waits":   cmdWaits,
		},
		RequireUniqueNames: true,
	}
}

// cmdStatus runs a command and compares its exit status: status N COMMAND…
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// cmdShell runs a line with sh, for pipelines and redirections: shell N LINE.
func cmdShell(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: shell N LINE")
	}
	cmdStatus(ts, false, []string{args[0], "sh", "-c", args[1]})
}

// cmdMode compares a file's permission bits: mode 600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// TestPostgres runs the scripts about a Postgres store.
func TestPostgres(t *testing.T) {
	server := pgtest.Server(t)
	testscript.Run(t, params("testdata/postgres", func(e *testscript.Env) error {
		e.Setenv("URL", server.Database(t))
		e.Setenv("EMPTY_URL", server.Database(t))
		return nil
	}))
}
