//go:build failpoint

package fault

import (
	"fmt"
	"os"
	"slices"
	"sync"
)

// Enabled says whether this build has failpoints.
const Enabled = true

// misuseStatus is the exit status for a rule or a point that cannot be obeyed.
// No command of ours uses it for anything else.
const misuseStatus = 125

var table struct {
	sync.Mutex
	rules []rule
	count map[string]int
	hooks map[string]func() error
	trace *os.File
}

func init() {
	table.count = make(map[string]int)
	table.hooks = make(map[string]func() error)
	rules, err := parse(os.Getenv("ONCEGUARD_FAULT"))
	if err != nil {
		misuse("ONCEGUARD_FAULT: %v", err)
	}
	table.rules = rules
	if path := os.Getenv("ONCEGUARD_FAULT_TRACE"); path != "" {
		table.trace, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			misuse("ONCEGUARD_FAULT_TRACE: %v", err)
		}
	}
}

// Point marks a place where tests may end or hold up the process. The rule for
// it must not be "error", and its hook must return nil.
func Point(name string) {
	if err := reach(name); err != nil {
		misuse("%s cannot return an error, and got %q", name, err)
	}
}

// PointErr marks a place where tests may also inject an error: an
// *InjectedError, or whatever a hook returned. The caller treats it like an
// error of the step beside it whose outcome is not known.
func PointErr(name string) error { return reach(name) }

// SetHook calls fn each time name is reached, before any rule. A non-nil result
// is the point's error. It returns the function that removes the hook. There is
// one hook per point; fn may run on several goroutines at a time.
func SetHook(name string, fn func() error) (remove func()) {
	mustKnow(name)
	table.Lock()
	defer table.Unlock()
	if table.hooks[name] != nil {
		misuse("%s already has a hook", name)
	}
	table.hooks[name] = fn
	return func() {
		table.Lock()
		defer table.Unlock()
		delete(table.hooks, name)
	}
}

// SetRules replaces the rules of ONCEGUARD_FAULT for this process and starts
// all counts again. It returns the function that puts the old rules back.
func SetRules(spec string) (restore func(), err error) {
	rules, err := parse(spec)
	if err != nil {
		return nil, err
	}
	table.Lock()
	defer table.Unlock()
	old := table.rules
	table.rules = rules
	clear(table.count)
	return func() {
		table.Lock()
		defer table.Unlock()
		table.rules = old
		clear(table.count)
	}, nil
}

func reach(name string) error {
	mustKnow(name)
	act, hook := choose(name)
	if hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	return act.do(name)
}

// choose counts the visit, burns the fuse and writes the trace under one lock:
// the trace line is there before a kill is.
func choose(name string) (action, func() error) {
	table.Lock()
	defer table.Unlock()
	table.count[name]++
	n := table.count[name]
	var act action
	for _, r := range table.rules {
		if r.point == name && (r.nth == 0 || r.nth == n) && burn(r.fuse) {
			act = r.action
			break
		}
	}
	if table.trace != nil {
		if _, err := fmt.Fprintf(table.trace, "%d %s %d %s\n", os.Getpid(), name, n, act); err != nil {
			misuse("ONCEGUARD_FAULT_TRACE: %v", err)
		}
	}
	return act, table.hooks[name]
}

// burn says whether the rule with this fuse file may fire, once per file.
func burn(fuse string) bool {
	if fuse == "" {
		return true
	}
	f, err := os.OpenFile(fuse, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if os.IsExist(err) {
		return false
	}
	if err != nil {
		misuse("fuse file: %v", err)
	}
	if err := f.Close(); err != nil {
		misuse("fuse file: %v", err)
	}
	return true
}

func mustKnow(name string) {
	if !slices.Contains(Points, name) {
		misuse("no point is called %q; points.go lists them", name)
	}
}

// misuse ends the process without unwinding: an error or a panic could be
// swallowed as one more injected fault.
func misuse(format string, args ...any) {
	fmt.Fprintf(os.Stderr, Marker+": "+format+"\n", args...)
	os.Exit(misuseStatus)
}
