//go:build !unix

package mcpproxy

import (
	"os/exec"
	"syscall"
)

func ownGroup(*exec.Cmd) {}

// signal ends the process: there are no signals that ask.
func (c *child) signal(syscall.Signal) { _ = c.cmd.Process.Kill() }

func (c *child) status() int { return c.cmd.ProcessState.ExitCode() }
