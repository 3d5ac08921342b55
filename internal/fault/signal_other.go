//go:build failpoint && !unix

package fault

import "os"

// killSelf does not return: the goroutine waits for the end to arrive.
func killSelf() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		misuse("kill: %v", err)
	}
	select {}
}

func stopSelf() { misuse("stop: this system has no SIGSTOP") }
