package mcpproxy

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// How long the child is given at the end: to exit after its standard input has
// ended, to exit after a signal, and for what is left in its output after it has
// exited. A server started through a wrapper (npx) may leave processes behind
// that hold the output open.
const (
	exitTime   = 10 * time.Second
	signalTime = 5 * time.Second
	outputTime = time.Second
)

// child is the server's process.
type child struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	exited chan struct{} // closed when the process has ended
	ending sync.Once
}

// start starts the command in a process group of its own: a ^C in a terminal
// must not end a server in the middle of a guarded call. Its standard error is
// the caller's.
func start(command, env []string, stderr io.Writer) (*child, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		_, _ = inR.Close(), inW.Close()
		return nil, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, inR, outW, stderr
	cmd.WaitDelay = outputTime // of a standard error that is no file
	ownGroup(cmd)
	err = cmd.Start()
	_, _ = inR.Close(), outW.Close()
	if err != nil {
		_, _ = inW.Close(), outR.Close()
		return nil, err
	}
	c := &child{cmd: cmd, stdin: inW, stdout: outR, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // the state says how it ended
		close(c.exited)
	}()
	return c, nil
}

// end makes the process end, as clients do with servers: its standard input
// ends, and signals follow where that is not enough. It returns when the process
// has ended.
func (c *child) end() { c.ending.Do(c.finish) }

func (c *child) finish() {
	_ = c.stdin.Close()
	for _, step := range []struct {
		wait time.Duration
		then syscall.Signal
	}{{exitTime, syscall.SIGTERM}, {signalTime, syscall.SIGKILL}} {
		if c.exitsWithin(step.wait) {
			return
		}
		c.signal(step.then)
	}
	<-c.exited
}

func (c *child) exitsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.exited:
		return true
	case <-timer.C:
		return false
	}
}

// CannotStart is the error of a command that did not start: nothing was run.
type CannotStart struct{ Err error }

// Error implements error.
func (c *CannotStart) Error() string {
	return "the server's command cannot be started: " + c.Err.Error()
}

// Unwrap returns the system's error.
func (c *CannotStart) Unwrap() error { return c.Err }

// NotFound reports whether there is no such command.
func (c *CannotStart) NotFound() bool {
	return errors.Is(c.Err, exec.ErrNotFound) || errors.Is(c.Err, os.ErrNotExist)
}
