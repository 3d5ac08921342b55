//go:build !unix

package pgtest

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

var errNoUnix = errors.New("pgtest needs a Unix system: it stops, freezes and kills servers with signals")

type process struct {
	pid  int
	gone bool
}

func prepare(*exec.Cmd, account) {}

func startProcess(*exec.Cmd, account) (*process, error) { return nil, errNoUnix }

func (p *process) exited() bool                { return true }
func (p *process) wait(time.Duration) bool     { return true }
func (p *process) signal(syscall.Signal) error { return errNoUnix }
func (p *process) stop() ([]int, error)        { return nil, errNoUnix }
func (p *process) resume() error               { return errNoUnix }
func (p *process) kill() error                 { return errNoUnix }
