package cli

import (
	"os"
	"time"

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
