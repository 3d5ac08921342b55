//go:build unix

package shim

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// The inherited descriptors, after standard input, output and error.
const (
	orderFD  = 3
	reportFD = 4
)

// statusNotRun is the shim's own exit status: it never became the command.
const statusNotRun = 70

// Run is the shim: it waits for the order and becomes the command. It returns
// only if it did not.
func Run(_ []string, stderr io.Writer) int {
	if !isPipe(orderFD) || !isPipe(reportFD) {
		fmt.Fprintf(stderr, "onceguard: %s is for onceguard's own use; run `onceguard run`\n", verb)
		return 64
	}
	// The command must inherit neither: an open report pipe would keep the
	// parent waiting for the news that the command started.
	syscall.CloseOnExec(orderFD)
	syscall.CloseOnExec(reportFD)
	caught := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	o, err := readOrder(fd(orderFD))
	if err != nil {
		return statusNotRun // the parent ended or gave up
	}
	err = syscall.Exec(o.Path, o.Argv, o.Env)
	errno, _ := err.(syscall.Errno)
	_, _ = fd(reportFD).Write(binary.BigEndian.AppendUint32(nil, uint32(errno)))
	return statusNotRun
}

func isPipe(n int) bool {
	var st syscall.Stat_t
	return syscall.Fstat(n, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFIFO
}

// fd reads and writes a descriptor in the plain blocking way. os.File would put
// it under the poller, for nothing.
type fd int

func (f fd) Read(p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(f), p)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (f fd) Write(p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(f), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
