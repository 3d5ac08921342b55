//go:build !unix

package cli

import "os"

// endOf reads how a process ended.
func endOf(state *os.ProcessState) commandEnd { return commandEnd{code: state.ExitCode()} }
