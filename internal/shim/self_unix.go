//go:build unix && !linux

package shim

import "os"

func self() (string, error) { return os.Executable() }
