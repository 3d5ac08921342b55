package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func addr(p *[128]byte) uintptr { return uintptr(unsafe.Pointer(p)) }

// statLine is a line of proc_pid_stat(5).
func statLine(name, state string, threads int, start string) string {
	return fmt.Sprintf("42 (%s) %s 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 %d 0 %s 0 0\n", name, state, threads, start)
}

func TestState(t *testing.T) {
	gone, hidden := error(syscall.ESRCH), error(syscall.EPERM)
	for name, tc := range map[string]struct {
		stat  string // "" for no entry
		kill  error
		start string
		want  Liveness
	}{
		"runs":                 {statLine("a", "R", 4, "77"), nil, "77", Alive},
		"stopped":              {statLine("a", "T", 1, "77"), nil, "77", Alive},
		"in the kernel":        {statLine("a", "D", 1, "77"), nil, "77", Alive},
		"zombie":               {statLine("a", "Z", 1, "77"), nil, "77", Dead},
		"zombie, threads run":  {statLine("a", "Z", 2, "77"), nil, "77", Alive},
		"being taken down":     {statLine("a", "X", 0, "77"), nil, "77", Dead},
		"name looks like Z":    {statLine("x) Z 1 (y", "S", 1, "77"), nil, "77", Alive},
		"later process":        {statLine("a", "R", 1, "78"), nil, "77", Dead},
		"no entry, no process": {"", gone, "77", Dead},
		"no entry, but exists": {"", nil, "77", Unknown},
		"no entry, of another": {"", hidden, "77", Unknown},
		"start never known":    {statLine("a", "R", 1, "77"), nil, "", Unknown},
		"short line":           {"42 (a) R 1\n", nil, "77", Unknown},
		"no count":             {strings.Replace(statLine("a", "Z", 1, "77"), "20 0 1", "20 0 x", 1), nil, "77", Unknown},
		"empty line":           {"\n", gone, "77", Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.stat != "" {
				write(t, filepath.Join(dir, "42", "stat"), tc.stat)
			}
			k := kernel{proc: dir, signal: func(int) error { return tc.kill }}
			if got := k.state(Identity{PID: 42, Start: tc.start}); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestUnreadableEntryIsUnknown(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "42", "stat", "x"), "") // reading a folder fails
	k := kernel{proc: dir, signal: func(int) error { return syscall.ESRCH }}
	if got := k.state(Identity{PID: 42, Start: "77"}); got != Unknown {
		t.Errorf("got %v, want unknown", got)
	}
}

func TestPlace(t *testing.T) {
	for name, tc := range map[string]struct {
		links map[string]string
		want  string
	}{
		"usual": {
			map[string]string{"self": "7", "7/ns/pid": "pid:[11]", "7/ns/time": "time:[22]"}, "11/22",
		},
		"old kernel": {
			map[string]string{"self": "7", "7/ns/pid": "pid:[11]"}, "11/none",
		},
		"proc of another namespace": {
			map[string]string{"self": "8", "8/ns/pid": "pid:[11]", "8/ns/time": "time:[22]"}, "",
		},
		"no proc": {nil, ""},
		"no pid namespace": {
			map[string]string{"self": "7", "7/ns/time": "time:[22]"}, "",
		},
		"strange link": {
			map[string]string{"self": "7", "7/ns/pid": "pid", "7/ns/time": "time:[22]"}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "sys/kernel/random/boot_id"), "boot-1\n")
			for link, target := range tc.links {
				file := filepath.Join(dir, link)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(target, file); err != nil {
					t.Fatal(err)
				}
			}
			got := kernel{proc: dir}.place(7)
			if got.Boot != "boot-1" || got.PIDNamespace != tc.want {
				t.Errorf("got boot %q, namespace %q, want boot-1, %q", got.Boot, got.PIDNamespace, tc.want)
			}
		})
	}
	if got := (kernel{proc: t.TempDir()}).place(7); got.Boot != "" {
		t.Errorf("boot %q out of nothing", got.Boot)
	}
}

func TestHostID(t *testing.T) {
	dir := t.TempDir()
	empty, a, b := filepath.Join(dir, "empty"), filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, empty, "\n")
	write(t, a, "3d1219c7c4c5404a\n")
	write(t, b, "0000000000000001\n")
	if got := hostID(empty, filepath.Join(dir, "missing")); got != "" {
		t.Errorf("%q out of nothing", got)
	}
	got := hostID(filepath.Join(dir, "missing"), empty, a, b)
	if got != hostID(a) || got == hostID(b) || got == "" {
		t.Errorf("a is %q, b is %q, the first found is %q", hostID(a), hostID(b), got)
	}
	if strings.Contains(got, "3d1219c7") {
		t.Errorf("%q shows the machine id", got)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}
