package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// child is a process of the demonstration. Its standard input is a pipe that
// ends when this process does, so that nothing is left over.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
	said  strings.Builder // standard error
}

func (d *run) start(ctx context.Context, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, d.Self, args...)}
	c.cmd.Stderr = &c.said
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.lines = bufio.NewScanner(out)
	d.processes++
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", args[0], err)
	}
	return c, nil
}

// next returns the process's next line.
func (c *child) next() (string, error) {
	if c.lines.Scan() {
		return c.lines.Text(), nil
	}
	err := c.lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return "", fmt.Errorf("process %d ended without a word: %w: %s", c.cmd.Process.Pid, err, strings.TrimSpace(c.said.String()))
}

// kill sends SIGKILL and waits until the process is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// agent starts an agent for an order.
func (d *run) agent(ctx context.Context, s side, o order, stop string, extra ...string) (*child, error) {
	args := []string{"demo-agent", "--ledger", d.address, "--op", s.op(o), "--order", o.name, "--amount", strconv.Itoa(o.amount), "--stop", stop}
	if s == guardedSide {
		args = append(args, "--store", d.storePath)
	}
	return d.start(ctx, append(args, extra...)...)
}

// finish reads the agent's report and waits for its end.
func (c *child) finish() (told, error) {
	line, err := c.next()
	if err != nil {
		c.kill()
		return told{}, err
	}
	_ = c.in.Close()
	if err := c.cmd.Wait(); err != nil {
		return told{}, fmt.Errorf("agent: %w: %s", err, strings.TrimSpace(c.said.String()))
	}
	var t told
	if err := json.Unmarshal([]byte(line), &t); err != nil {
		return told{}, fmt.Errorf("agent said %q: %w", line, err)
	}
	return t, nil
}

// once runs an agent to its end.
func (d *run) once(ctx context.Context, s side, o order, extra ...string) (told, error) {
	c, err := d.agent(ctx, s, o, "", extra...)
	if err != nil {
		return told{}, err
	}
	return c.finish()
}

// killAt runs an agent until it stops at a point, and kills it there.
func (d *run) killAt(ctx context.Context, s side, o order, point string) error {
	c, err := d.agent(ctx, s, o, point)
	if err != nil {
		return err
	}
	defer c.kill()
	line, err := c.next()
	if err == nil && line != stopped+point {
		err = fmt.Errorf("the agent was to stop at %s and said %q", point, line)
	}
	return err
}
