//go:build unix

package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a postmaster. It is reaped by us and not by os/exec, so that no
// goroutine waits for it: tests that look for leaked goroutines stay quiet.
type process struct {
	pid    int
	gone   bool
	frozen bool
}

// prepare sets what every child of the harness needs: a session of its own, so
// that Ctrl-C and a kill of the test's process group pass it by, and the account.
func prepare(cmd *exec.Cmd, as account) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if as.other {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
}

func startProcess(cmd *exec.Cmd, as account) (*process, error) {
	prepare(cmd, as)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{pid: cmd.Process.Pid}
	return p, cmd.Process.Release()
}

// exited reports, and reaps, without blocking.
func (p *process) exited() bool {
	if p.gone {
		return true
	}
	for {
		pid, err := syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		p.gone = err != nil || pid == p.pid
		return p.gone
	}
}

// wait reaps the process, for at most the given time.
func (p *process) wait(limit time.Duration) bool {
	return poll(limit, p.exited)
}

func (p *process) signal(sig syscall.Signal) error {
	if p.exited() {
		return nil
	}
	return syscall.Kill(p.pid, sig)
}

// stop freezes the postmaster and its children. When it returns, the postmaster
// is known to be stopped, so the list of children is complete.
func (p *process) stop() (children []int, err error) {
	if p.frozen {
		return childrenOf(p.pid) // a second stop would not be reported
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(p.pid, &status, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !status.Stopped() {
			p.gone = true
			return nil, fmt.Errorf("postmaster %d ended while it was being stopped", p.pid)
		}
		break
	}
	p.frozen = true
	children, err = childrenOf(p.pid)
	if err != nil {
		return nil, err
	}
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGSTOP) // a child that has just ended is as good as stopped
	}
	return children, nil
}

// resume undoes stop.
func (p *process) resume() error {
	children, err := childrenOf(p.pid)
	if err != nil {
		return err
	}
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGCONT)
	}
	p.frozen = false
	return p.signal(syscall.SIGCONT)
}

// kill ends the postmaster and its children at once. The postmaster is stopped
// first: it would answer a killed child with a recovery of its own, and the
// children are sessions of their own, which no signal to a group reaches.
func (p *process) kill() error {
	children, err := p.stop()
	if p.gone {
		return err
	}
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		return err
	}
	for _, child := range children {
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
	if err != nil {
		return err
	}
	if !p.wait(stopLimit) {
		return fmt.Errorf("postmaster %d outlived SIGKILL by %v", p.pid, stopLimit)
	}
	if !poll(stopLimit, func() bool { return !anyRunning(children) }) {
		return fmt.Errorf("backends of postmaster %d outlived SIGKILL by %v", p.pid, stopLimit)
	}
	return nil
}

func anyRunning(pids []int) bool {
	for _, pid := range pids {
		if running(pid) {
			return true
		}
	}
	return false
}

// running is false for a zombie: where init reaps nobody (some containers) an
// orphan stays one for ever, and holds nothing.
func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	if _, state, err := readStat(filepath.Join("/proc", strconv.Itoa(pid), "stat")); err == nil {
		return state != "Z" && state != "X"
	}
	return true
}

// childrenOf lists the direct children of a process: from /proc where there is
// one (a small container may have no ps), from ps elsewhere.
func childrenOf(parent int) ([]int, error) {
	var children []int
	if _, err := os.Stat("/proc/self/stat"); err == nil {
		paths, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			ppid, _, err := readStat(path)
			if err != nil || ppid != parent {
				continue // ended while we looked, or somebody else's
			}
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			children = append(children, pid)
		}
		return children, nil
	}
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		var pid, ppid int
		if _, err := fmt.Sscan(line, &pid, &ppid); err == nil && ppid == parent {
			children = append(children, pid)
		}
	}
	return children, nil
}

// readStat reads parent and state from a /proc stat file. The command name in
// it may hold spaces and brackets, so fields are counted from the last bracket.
func readStat(path string) (ppid int, state string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, "", err
	}
	rest := string(data[strings.LastIndexByte(string(data), ')')+1:])
	_, err = fmt.Sscan(rest, &state, &ppid)
	return ppid, state, err
}
