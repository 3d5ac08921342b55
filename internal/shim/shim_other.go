//go:build !unix

package shim

import (
	"fmt"
	"io"
	"os"
)

// Process is never made on this system.
type Process struct{}

// Streams are the standard streams of the command.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr *os.File
}

// Start returns ErrUnsupported.
func Start([]string, Streams) (*Process, error) { return nil, ErrUnsupported }

// PID is 0.
func (p *Process) PID() int { return 0 }

// Signal returns ErrUnsupported.
func (p *Process) Signal(os.Signal) error { return ErrUnsupported }

// Become returns ErrUnsupported: nothing started.
func (p *Process) Become(string, []string, []string) error { return ErrUnsupported }

// Wait returns ErrUnsupported.
func (p *Process) Wait() (*os.ProcessState, error) { return nil, ErrUnsupported }

// Abandon does nothing.
func (p *Process) Abandon() {}

// Run says that there is no shim here.
func Run(_ []string, stderr io.Writer) int {
	fmt.Fprintln(stderr, ErrUnsupported)
	return 70
}
