package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/shim"
)

// commandEnd is how the command ended.
type commandEnd struct {
	code   int    // as a shell shows it: 128 + n for signal n
	signal string // name, if it died by one
	open   bool
}

func (e commandEnd) String() string {
	if e.signal != "" {
		return fmt.Sprintf("killed by signal %d (%s)", e.code-exitSignal, e.signal)
	}
	return fmt.Sprintf("exit %d", e.code)
}

// errNeedChild says that the effect has no process to start; the caller starts
// one and asks again. It is always inside a NotExecuted.
var errNeedChild = errors.New("no process waits for this attempt")

// startError is a command that could not be started.
type startError struct {
	status int
	text   string
}

func (e *startError) Error() string { return e.text }

// effect becomes the command and waits for its end. It is called on a granted
// claim; what it returns decides what is recorded.
//
// Crash analysis: until Become has sent the whole message, the death of this
// process ends the waiting one, and nothing runs. After it, the command runs on
// as an owner of the claim, and only its end lets others park it early.
func (r *runner) effect(ctx context.Context, at *onceguard.Attempt) (output, error) {
	c := r.child
	if c == nil || c.used {
		return output{}, onceguard.NotExecuted(errNeedChild)
	}
	fault.Point("run.child.before-start")
	if err := r.ctx.Err(); err != nil {
		return output{}, onceguard.NotExecuted(context.Cause(r.ctx))
	}
	path, err := r.env.lookPath(r.cmd.Command[0])
	if err != nil {
		return output{}, onceguard.NotExecuted(r.cannotStart(err))
	}
	env := r.childEnv(at)
	if err := at.Ready(); err != nil {
		return output{}, err
	}
	c.used = true
	r.relay.starting()
	c.budget = &budget{left: int64(r.cmd.MaxOutput)}
	if err := c.process.Become(path, r.cmd.Command, env); err != nil {
		r.relay.ended()
		c.process.Abandon()
		_, _ = c.outR.Close(), c.errR.Close()
		return output{}, onceguard.NotExecuted(r.cannotStart(err))
	}
	c.out = newStream(c.outR, r.stdout, c.budget)
	c.err = newStream(c.errR, r.stderr, c.budget)
	r.relay.running()
	fault.Point("run.child.after-start")
	stop := context.AfterFunc(ctx, func() { r.overdue(context.Cause(ctx)) })
	defer stop()
	state, err := c.process.Wait()
	r.relay.ended()
	fault.Point("run.child.after-exit")
	if err != nil {
		return output{}, fmt.Errorf("waiting for the command: %w", err)
	}
	end := endOf(state)
	result := c.result(&end, r.cmd.MaxOutput == 0)
	r.outcome = &end
	return result, r.classify(end)
}

// overdue ends a command that ran longer than --max-run. A lost lease is no
// reason to: the command's late outcome still settles the record.
func (r *runner) overdue(cause error) {
	if errors.Is(cause, onceguard.ErrMaxRun) {
		r.say("the command runs longer than --max-run %s: it gets SIGTERM, and its outcome is recorded when it ends", r.cmd.MaxRun)
		_ = r.child.process.Signal(syscall.SIGTERM)
	}
}

func (r *runner) cannotStart(err error) error {
	name := plain(r.cmd.Command[0])
	switch {
	case errors.Is(err, shim.ErrGone):
		return &startError{exitUnavailable, "the process that waited to become the command was killed; nothing was run"}
	case errors.Is(err, fs.ErrNotExist) && runnable(r.cmd.Command[0]) != nil && !r.found():
		return &startError{exitNotFound, fmt.Sprintf("%s: command not found; correct the name or the PATH; nothing was run", name)}
	case errors.Is(err, fs.ErrNotExist):
		return &startError{exitCannotStart, fmt.Sprintf("%s: the interpreter that its first line names does not exist; nothing was run", name)}
	case errors.Is(err, syscall.ENOEXEC):
		return &startError{exitCannotStart, fmt.Sprintf("%s: not a program of this system; a script needs a first line such as #!/bin/sh; nothing was run", name)}
	}
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return &startError{exitCannotStart, fmt.Sprintf("%s: %v; nothing was run", name, err)}
}

func (r *runner) found() bool {
	_, err := r.env.lookPath(r.cmd.Command[0])
	return err == nil
}

// classify says what the command's end means for the record.
func (r *runner) classify(end commandEnd) error {
	c := r.cmd
	err := errors.New(end.String())
	switch {
	case end.code == 0:
		return nil
	case slices.Contains(c.NotExecutedOn, end.code):
		return onceguard.NotExecuted(err)
	case slices.Contains(c.RefusedOn, end.code):
		return onceguard.Refused(err)
	case c.EveryExitIsFinal && end.signal == "":
		return nil
	}
	return err
}
