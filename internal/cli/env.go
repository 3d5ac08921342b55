package cli

import (
	"os"
	"path/filepath"
	"strings"
)

// Environment variables that onceguard reads.
const (
	envStore     = "ONCEGUARD_STORE"
	envKeyFile   = "ONCEGUARD_KEY_FILE"
	envSpool     = "ONCEGUARD_SPOOL"
	envAncestors = "ONCEGUARD_ANCESTORS" // request IDs of the enclosing runs
)

// environ is the environment of this run, never the process's own, so that
// tests can give another.
type environ struct{ list []string }

func newEnviron(list []string) environ { return environ{list} }

// get returns the last value of name, as exec does, and "" where there is none.
func (e environ) get(name string) string {
	for i := len(e.list) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(e.list[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// with returns a copy in which the given NAME=VALUE entries replace others; an
// entry without '=' removes the variable.
func (e environ) with(set ...string) []string {
	out := make([]string, 0, len(e.list)+len(set))
	replaced := map[string]bool{}
	for _, s := range set {
		name, _, _ := strings.Cut(s, "=")
		replaced[name] = true
	}
	for _, s := range e.list {
		if name, _, _ := strings.Cut(s, "="); !replaced[name] {
			out = append(out, s)
		}
	}
	for _, s := range set {
		if strings.Contains(s, "=") {
			out = append(out, s)
		}
	}
	return out
}

// stateDir is where the default store lives: $XDG_STATE_HOME/onceguard, or
// ~/.local/state/onceguard (XDG Base Directory Specification 0.8). A relative
// XDG_STATE_HOME is ignored, as the specification asks.
func (e environ) stateDir() (string, bool) {
	if d := e.get("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "onceguard"), true
	}
	if home := e.get("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "onceguard"), true
	}
	return "", false
}

// lookPath finds a command as exec would, by the PATH of this environment. The
// error is *os.PathError-like: errors.Is(err, fs.ErrNotExist) where there is
// no such file, fs.ErrPermission where none of those found may be run.
func (e environ) lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, runnable(name)
	}
	err := error(&os.PathError{Op: "exec", Path: name, Err: os.ErrNotExist})
	for _, dir := range filepath.SplitList(e.get("PATH")) {
		if dir == "" {
			dir = "."
		}
		candidate := filepath.Join(dir, name)
		if !filepath.IsAbs(candidate) {
			candidate = "./" + candidate
		}
		cerr := runnable(candidate)
		if cerr == nil {
			return candidate, nil
		}
		if os.IsPermission(cerr) {
			err = cerr
		}
	}
	return "", err
}

func runnable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir() || info.Mode().Perm()&0o111 == 0:
		return &os.PathError{Op: "exec", Path: path, Err: os.ErrPermission}
	}
	return nil
}
