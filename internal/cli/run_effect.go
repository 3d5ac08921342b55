package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/fault"
	"github.com/onceguard/onceguard/internal/process"
	"github.com/onceguard/onceguard/internal/shim"
)

// child is a process that waits to become the command, with its streams.
type child struct {
	process    *shim.Process
	owners     string // identities of this process and the child, for the claim
	used       bool
	outR, errR *os.File
	out, err   *stream
	budget     *budget
}

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

// startChild starts the waiting process; it inherits this run's terminal and
// process group.
func (r *runner) startChild() error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return unavailable("no pipe for the command: %w", err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		_, _ = outR.Close(), outW.Close()
		return unavailable("no pipe for the command: %w", err)
	}
	p, err := shim.Start(r.cmd.Command, shim.Streams{Stdin: r.stdin, Stdout: outW, Stderr: errW})
	_, _ = outW.Close(), errW.Close()
	if err != nil {
		_, _ = outR.Close(), errR.Close()
		return unavailable("no process for the command: %w", err)
	}
	c := &child{process: p, outR: outR, errR: errR}
	if id, err := process.Of(p.PID()); err == nil {
		// A list that cannot be written names nobody, and nobody is then told
		// dead: the lease decides.
		c.owners, _ = process.FormatList([]process.Identity{process.Self(), id})
	}
	r.child = c
	r.relay.watch(p)
	return nil
}

// abandonChild ends a process that was not needed.
func (r *runner) abandonChild() {
	if r.child == nil || r.child.used {
		return
	}
	r.child.used = true
	r.relay.ended()
	r.child.process.Abandon()
	_, _ = r.child.outR.Close(), r.child.errR.Close()
}

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

// childEnv is the command's environment: this one's and what it may pass on.
func (r *runner) childEnv(at *onceguard.Attempt) []string {
	id := at.RequestID().String()
	ancestors := id
	if outer := r.env.get(envAncestors); outer != "" {
		ancestors = outer + ":" + id
	}
	set := []string{
		"ONCEGUARD_REQUEST_ID=" + id,
		"ONCEGUARD_DOWNSTREAM_KEY=" + at.DownstreamKey(),
		"ONCEGUARD_ATTEMPT=" + strconv.FormatInt(at.Number(), 10),
		"ONCEGUARD_SCOPE=" + at.Scope(),
		"ONCEGUARD_ACTION=" + at.Action(),
		"ONCEGUARD_KEY=" + keyText(r.request.Key),
		envAncestors + "=" + ancestors,
	}
	return r.env.with(append(set, r.storeEnv()...)...)
}

// storeEnv keeps a store's password from the command. The variable is replaced
// rather than removed: a nested onceguard without a store would silently use
// the default one, another memory.
func (a *app) storeEnv() []string {
	if u, err := parseStoreURL(a.env.get(envStore)); err == nil && u.secret {
		return []string{envStore + "=" + withheld}
	}
	return nil
}

// keyText is the key as a command wants it: a raw key's own text, and the
// encoded form of named parts.
func keyText(k onceguard.Key) string {
	if parts := k.Parts(); len(parts) == 1 && parts[0].Name == "" {
		return parts[0].Value
	}
	return k.Encoded()
}

// graceForStreams is how long the streams may stay open after the command's
// end. Its own output is in the pipe by then and is read in much less; who
// holds them longer is something that it left behind.
const graceForStreams = 500 * time.Millisecond

// result takes the copy for the receipt.
func (c *child) result(end *commandEnd, declaredOff bool) output {
	c.out.bound(queuedAtEnd)
	c.err.bound(queuedAtEnd)
	grace := time.NewTimer(graceForStreams)
	defer grace.Stop()
	for _, s := range []*stream{c.out, c.err} {
		select {
		case <-s.readAll:
		case <-grace.C:
			end.open = true
			grace.Reset(0)
		}
	}
	o := output{ExitCode: end.code, Open: end.open}
	var outSum, errSum string
	o.Stdout, o.StdoutBytes, outSum = c.out.freeze()
	o.Stderr, o.StderrBytes, errSum = c.err.freeze()
	c.out.bound(queuedWhileRunning)
	c.err.bound(queuedWhileRunning)
	if c.budget.over {
		o.Stdout, o.Stderr, o.Left = nil, nil, leftTooLong
		o.StdoutSHA256, o.StderrSHA256 = outSum, errSum
		if declaredOff {
			o.Left = leftDeclared
		}
	}
	return o
}

// flush waits until everything was passed on.
func (c *child) flush() {
	<-c.out.passedOn
	<-c.err.passedOn
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
