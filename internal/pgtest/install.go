package pgtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ErrMissing is wrapped by every error that means "no usable PostgreSQL is
// installed", as opposed to "one is, and it does not start".
var ErrMissing = errors.New("no PostgreSQL server binaries found")

const debianRoot = "/usr/lib/postgresql"

// installation is a directory with initdb and postgres, and their version.
type installation struct {
	bin   string
	major int
}

func (in installation) program(name string) string { return filepath.Join(in.bin, name) }

// searchEnv is what the search for binaries depends on, so that tests of the
// search need no environment of their own.
type searchEnv struct {
	bin     string // ONCEGUARD_PG_BIN
	version string // ONCEGUARD_PG_VERSION
	root    string // where Debian and Ubuntu put one directory per version
	path    string // PATH
}

func currentSearchEnv() searchEnv {
	return searchEnv{
		bin:     os.Getenv("ONCEGUARD_PG_BIN"),
		version: os.Getenv("ONCEGUARD_PG_VERSION"),
		root:    debianRoot,
		path:    os.Getenv("PATH"),
	}
}

// find returns the installation to use. A directory that was asked for by name
// and is not usable is an error: tests must not pass on another version.
func (e searchEnv) find() (installation, error) {
	want := 0
	if e.version != "" {
		n, err := strconv.Atoi(e.version)
		if err != nil {
			return installation{}, fmt.Errorf("%w: ONCEGUARD_PG_VERSION=%q is not a major version such as 15", ErrMissing, e.version)
		}
		want = n
	}
	var looked []string
	for _, dir := range e.candidates() {
		in, err := inspect(dir)
		if err == nil && (want == 0 || in.major == want) {
			return in, nil
		}
		if err == nil {
			err = fmt.Errorf("version %d, and ONCEGUARD_PG_VERSION asks for %d", in.major, want)
		}
		looked = append(looked, fmt.Sprintf("%s (%v)", dir, err))
	}
	if len(looked) == 0 {
		looked = append(looked, e.root, "PATH")
	}
	return installation{}, fmt.Errorf("%w; looked in %s; install them (Debian: apt-get install postgresql) or set ONCEGUARD_PG_BIN to a directory that holds initdb and postgres",
		ErrMissing, strings.Join(looked, ", "))
}

// candidates lists directories, best first.
func (e searchEnv) candidates() []string {
	if e.bin != "" {
		return []string{e.bin}
	}
	var dirs []string
	versions, _ := filepath.Glob(filepath.Join(e.root, "*", "bin"))
	best := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		return n
	}
	for len(versions) > 0 {
		top := 0
		for i := range versions {
			if best(versions[i]) > best(versions[top]) {
				top = i
			}
		}
		dirs = append(dirs, versions[top])
		versions = append(versions[:top], versions[top+1:]...)
	}
	for _, dir := range filepath.SplitList(e.path) {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		// A link in PATH may stand alone: the server is beside its target.
		if real, err := filepath.EvalSymlinks(filepath.Join(dir, "initdb")); err == nil {
			dir = filepath.Dir(real)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

func inspect(dir string) (installation, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return installation{}, fmt.Errorf("no %s", name)
		}
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").CombinedOutput()
	if err != nil {
		return installation{}, fmt.Errorf("postgres --version: %w: %s", err, strings.TrimSpace(string(out)))
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return installation{}, fmt.Errorf("postgres --version printed %q", strings.TrimSpace(string(out)))
	}
	major, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return installation{}, fmt.Errorf("postgres --version printed %q", strings.TrimSpace(string(out)))
	}
	return installation{bin: dir, major: major}, nil
}
