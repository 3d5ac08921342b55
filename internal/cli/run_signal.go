package cli

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/onceguard/onceguard/internal/shim"
)

// relay stands between the signals that this process gets and the command.
//
// Before the start a signal ends the wait: nothing runs. While the command runs
// signals are its own; this process stays to record the outcome. After its end
// they are noted until the outcome is stored.
//
// A terminal sends ^C, ^\ and ^Z to the whole foreground group, and the command
// is in it. So these are passed on only where this process is not in a
// terminal's foreground: otherwise the command would have them twice.
type relay struct {
	a      *app
	cancel context.CancelCauseFunc
	caught chan os.Signal
	done   chan struct{}

	mu      sync.Mutex
	phase   phase
	child   *shim.Process // also while it waits to become the command
	pending []os.Signal
	told    bool

	suspending bool // only run's goroutine
}

type phase int

const (
	phaseWaiting  phase = iota // nothing runs
	phaseStarting              // the process becomes the command right now
	phaseRunning
	phaseEnded
)

// interrupted is the cause of a run that a signal ended before the start.
type interrupted struct{ signal syscall.Signal }

func (i *interrupted) Error() string { return fmt.Sprintf("signal %d (%s)", int(i.signal), i.signal) }

func (i *interrupted) status() int { return exitSignal + int(i.signal) }

func newRelay(a *app, cancel context.CancelCauseFunc) *relay {
	r := &relay{a: a, cancel: cancel, caught: make(chan os.Signal, 64), done: make(chan struct{})}
	r.catch()
	go r.run()
	return r
}

func (r *relay) run() {
	for {
		select {
		case s := <-r.caught:
			r.handle(s)
		case <-r.done:
			return
		}
	}
}

// stop gives the signals their usual meaning back.
func (r *relay) stop() {
	r.release()
	close(r.done)
}

// watch names the process that waits to become the command.
func (r *relay) watch(p *shim.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase, r.child = phaseWaiting, p
}

// starting begins the moment in which a signal may reach the process before or
// after it has become the command; such signals are kept and sent afterwards.
func (r *relay) starting() { r.enter(phaseStarting) }

// running says that the process is the command now.
func (r *relay) running() {
	r.enter(phaseRunning)
	r.mu.Lock()
	pending, child := r.pending, r.child
	r.pending = nil
	r.mu.Unlock()
	for _, s := range pending {
		_ = child.Signal(s)
	}
}

// ended says that there is no command any more.
func (r *relay) ended() { r.enter(phaseEnded) }

func (r *relay) enter(p phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = p
	if p == phaseEnded {
		r.child = nil
	}
}

func (r *relay) handle(s os.Signal) {
	r.mu.Lock()
	phase, child := r.phase, r.child
	if phase == phaseStarting && passedOn(s) {
		r.pending = append(r.pending, s)
	}
	r.mu.Unlock()
	switch {
	case suspends(s):
		r.suspend(s, child)
	case phase == phaseWaiting && ends(s):
		r.cancel(&interrupted{s.(syscall.Signal)})
	case phase == phaseRunning && passedOn(s) && !(fromTerminal(s) && foreground()):
		_ = child.Signal(s)
	case phase == phaseEnded && ends(s) && !r.told:
		r.told = true
		r.a.say("the command has ended; its outcome is being stored")
	}
}

// ends says whether a signal asks a program to end.
func ends(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

// fromTerminal says whether a terminal sends the signal to its whole group.
func fromTerminal(s os.Signal) bool { return s == syscall.SIGINT || s == syscall.SIGQUIT }
