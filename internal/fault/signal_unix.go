//go:build failpoint && unix

package fault

import (
	"os"
	"os/signal"
	"syscall"
)

// killSelf does not return: the goroutine waits for the signal to arrive.
func killSelf() {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		misuse("kill: %v", err)
	}
	select {}
}

// stopSelf returns after SIGCONT. The stop may be taken by another thread while
// this one runs on, so it waits for the SIGCONT itself.
func stopSelf() {
	cont := make(chan os.Signal, 1)
	signal.Notify(cont, syscall.SIGCONT)
	defer signal.Stop(cont)
	if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
		misuse("stop: %v", err)
	}
	<-cont
}
