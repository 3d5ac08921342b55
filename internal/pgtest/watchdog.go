package pgtest

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// watchdogScript reads pids, a line at a time and the last line counts, until
// the pipe closes: the server's, and while it is paused its children's; an empty
// line is none. Then it asks the server for an immediate shutdown, which ends
// the backends and frees shared memory, insists after seven seconds, and removes
// the directory. Frozen children are woken, or the server would wait for them.
const watchdogScript = `
trap '' HUP INT TERM
dir=$1
pids=
while read -r line; do pids=$line; done
set -- $pids
if [ $# -gt 0 ]; then
	kill -QUIT "$1" 2>/dev/null
	kill -CONT "$@" 2>/dev/null
	n=0
	while [ $n -lt 70 ] && kill -0 "$1" 2>/dev/null; do
		sleep 0.1
		n=$((n + 1))
	done
	kill -KILL "$1" 2>/dev/null
fi
rm -rf -- "$dir"
`

// watchdog cleans up behind a cluster even when the test process is killed.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

// startWatchdog runs as the current user, who may remove what the server's
// account wrote.
func startWatchdog(dir string) (*watchdog, error) {
	cmd := exec.Command("sh", "-c", watchdogScript, "onceguard-pg-watchdog", dir)
	cmd.Dir = "/"
	prepare(cmd, account{})
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

// watch names the processes to stop, the server first. Without any there is
// nothing to stop.
func (w *watchdog) watch(pids ...int) error {
	line := strings.Trim(fmt.Sprint(pids), "[]") + "\n"
	if _, err := io.WriteString(w.pipe, line); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}

// finish makes the watchdog do its work now, and waits for it.
func (w *watchdog) finish() error {
	if err := w.pipe.Close(); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	return nil
}
