package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// kernel is where answers come from; tests put a made-up tree in place of /proc.
type kernel struct {
	proc   string
	signal func(pid int) error // sends nothing, see kill(2) on signal 0
}

var host = kernel{proc: "/proc", signal: func(pid int) error { return syscall.Kill(pid, 0) }}

func readPlace() Identity       { return host.place(os.Getpid()) }
func probe(i Identity) Liveness { return host.state(i) }

func readStart(pid int) (string, error) {
	if place().PIDNamespace == "" {
		return "", errors.New("/proc is missing, or shows another pid namespace than ours")
	}
	s, err := readStat(host.path(strconv.Itoa(pid), "stat"))
	return s.start, err
}

func (k kernel) path(p ...string) string { return filepath.Join(append([]string{k.proc}, p...)...) }

// place reads boot, namespaces and host. A /proc mounted in another pid
// namespace would give answers about other processes, so its "self" must be us.
// The time namespace counts because it shifts the start times that we read.
func (k kernel) place(pid int) Identity {
	var id Identity
	if boot, err := os.ReadFile(k.path("sys/kernel/random/boot_id")); err == nil {
		id.Boot = strings.TrimSpace(string(boot))
	}
	id.Host = hostID("/etc/machine-id", "/var/lib/dbus/machine-id")
	if me, err := os.Readlink(k.path("self")); err != nil || me != strconv.Itoa(pid) {
		return id
	}
	pids, err := k.namespace("pid")
	if err != nil {
		return id
	}
	times, err := k.namespace("time")
	if errors.Is(err, fs.ErrNotExist) {
		times = "none" // before Linux 5.6, or built without
	} else if err != nil {
		return id
	}
	id.PIDNamespace = pids + "/" + times
	return id
}

// namespace returns the inode number out of a link like "pid:[4026531836]".
func (k kernel) namespace(kind string) (string, error) {
	link, err := os.Readlink(k.path("self/ns", kind))
	if err != nil {
		return "", err
	}
	inode, ok := strings.CutPrefix(link, kind+":[")
	inode, ok2 := strings.CutSuffix(inode, "]")
	if !ok || !ok2 {
		return "", fmt.Errorf("namespace link %q", link)
	}
	return inode, nil
}

// state asks twice before it says Dead of a missing entry: /proc hides other
// users' processes under hidepid, kill(2) does not.
func (k kernel) state(i Identity) Liveness {
	s, err := readStat(k.path(strconv.Itoa(i.PID), "stat"))
	switch {
	case gone(err):
		if errors.Is(k.signal(i.PID), syscall.ESRCH) {
			return Dead
		}
		return Unknown
	case err != nil || i.Start == "":
		return Unknown
	case s.start != i.Start:
		return Dead
	case s.ended() && s.threads <= 1:
		return Dead
	}
	return Alive
}

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) }

// stat is what we use of proc_pid_stat(5).
type stat struct {
	state   string // field 3, of the first thread
	threads int    // field 20, the first one included until the parent has waited
	start   string // field 22, clock ticks since boot
}

// ended is for zombies and for what is being taken down. It speaks of the first
// thread alone: that one may end while others run. The kernel reads the state
// before the count, so an ended first thread with a count of one is the end.
func (s stat) ended() bool { return s.state == "Z" || s.state == "X" || s.state == "x" }

func readStat(path string) (stat, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return stat{}, err
	}
	// Field 2, the name in parentheses, may itself hold blanks and parentheses.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("%s: want 22 fields or more, got %q", path, text)
	}
	threads, err := strconv.Atoi(fields[17])
	if err != nil {
		return stat{}, fmt.Errorf("%s: number of threads: %w", path, err)
	}
	return stat{state: fields[0], threads: threads, start: fields[19]}, nil
}
