//go:build failpoint

package fault

import (
	"os"
	"runtime"
	"time"
)

func (a action) do(point string) error {
	switch a.verb {
	case "kill":
		killSelf()
	case "stop":
		stopSelf()
	case "exit":
		os.Exit(a.code)
	case "delay":
		time.Sleep(a.delay)
	case "error":
		return &InjectedError{Point: point}
	case "panic":
		panic(&InjectedError{Point: point})
	case "goexit":
		runtime.Goexit()
	}
	return nil
}
