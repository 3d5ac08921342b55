//go:build unix

package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is a waiting process, and later the command that it became. Its
// methods are for one goroutine, but for PID and Signal.
type Process struct {
	cmd    *exec.Cmd
	order  *os.File
	report *os.File
}

// Streams are the standard streams of the command. Files are inherited as they
// are; a Stdin that is no *os.File is copied through a pipe.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr *os.File
}

// Start starts the waiting process, in the caller's process group, so that a
// terminal's signals reach it. argv is shown in process lists and decides
// nothing. The process must be ended by Wait after Become, or by Abandon.
func Start(argv []string, s Streams) (*Process, error) {
	exe, err := self()
	if err != nil {
		return nil, err
	}
	orderR, orderW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reportR, reportW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, orderR.Close(), orderW.Close())
	}
	cmd := exec.Command(exe)
	cmd.Args = append([]string{os.Args[0], verb, "--"}, argv...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.Stdin, s.Stdout, s.Stderr
	cmd.ExtraFiles = []*os.File{orderR, reportW}
	cmd.WaitDelay = time.Second // for a Stdin that blocks in a read after the command's end
	err = cmd.Start()
	_, _ = orderR.Close(), reportW.Close()
	if err != nil {
		_, _ = orderW.Close(), reportR.Close()
		return nil, fmt.Errorf("shim: %w", err)
	}
	return &Process{cmd: cmd, order: orderW, report: reportR}, nil
}

// PID is the process id, before and after Become.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal; an ended process gets none.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Become makes the process the command. A nil error says that execve took
// place, or that the process ended in the same instant: Wait tells. ErrGone and
// a syscall.Errno say that the command surely did not start.
func (p *Process) Become(path string, argv, env []string) error {
	err := order{path, argv, env}.write(p.order)
	_ = p.order.Close()
	if err != nil {
		// A message that is not whole lets nothing run.
		if errors.Is(err, syscall.EPIPE) {
			return ErrGone
		}
		return err
	}
	var code [4]byte
	n, err := io.ReadFull(p.report, code[:])
	_ = p.report.Close()
	switch {
	case n == 4:
		return syscall.Errno(binary.BigEndian.Uint32(code[:]))
	case err != nil && !errors.Is(err, io.EOF):
		return nil // unclear; Wait says how the process ended, and that counts
	}
	return nil
}

// Wait waits for the command's end.
func (p *Process) Wait() (*os.ProcessState, error) {
	err := p.cmd.Wait()
	if p.cmd.ProcessState == nil {
		return nil, err
	}
	return p.cmd.ProcessState, nil
}

// Abandon ends a process that did not become the command. Closing the pipe is
// enough; the kill is for one that is stopped or that a debugger holds.
func (p *Process) Abandon() {
	_ = p.order.Close()
	_ = p.report.Close()
	kill := time.AfterFunc(2*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait()
}
