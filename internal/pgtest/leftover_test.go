//go:build unix

package pgtest_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/pgtest"
)

// TestNothingIsLeftOver kills a test process that has a server with a busy
// client, and one whose server is paused, and wants server, files and watchdog
// to be gone.
func TestNothingIsLeftOver(t *testing.T) {
	pgtest.Server(t) // skips where there is no PostgreSQL
	for _, kind := range []string{"busy", "paused"} {
		t.Run(kind, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
			cmd.Env = append(os.Environ(), childVariable+"="+kind)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait() // it was killed: the error says so
			defer cmd.Process.Kill()
			var pid int
			var dir string
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if n, _ := fmt.Sscanf(strings.TrimSpace(lines.Text()), "READY %d %s", &pid, &dir); n == 2 {
					break
				}
			}
			if dir == "" {
				t.Fatalf("the child did not say READY: %v", lines.Err())
			}
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			deadline := time.Now().Add(30 * time.Second)
			for {
				_, err := os.Stat(dir)
				if os.IsNotExist(err) {
					// Files last: a server whose files vanish ends too, some time later.
					if alive(pid) {
						t.Error("the directory is gone and the server is not")
					}
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("30 s after its test process was killed: server alive %v, stat %s: %v", alive(pid), dir, err)
				}
				time.Sleep(20 * time.Millisecond) // another process ends: nothing to wait on
			}
		})
	}
}

func TestChild(t *testing.T) {
	kind := os.Getenv(childVariable)
	if kind == "" {
		t.Skip("runs in the child of TestNothingIsLeftOver alone")
	}
	c := pgtest.Server(t)
	url := c.URL("postgres")
	data := pgtest.Value[string](t, url, "SHOW data_directory")
	var pid int
	lock := pgtest.Value[string](t, url, "SELECT pg_read_file('postmaster.pid')")
	if _, err := fmt.Sscan(lock, &pid); err != nil {
		t.Fatal(err)
	}
	go pgtest.Exec(t, url, "SELECT pg_sleep(60)")
	pgtest.WaitFor(t, url, "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
	if kind == "paused" {
		c.Pause(t)
	}
	fmt.Printf("READY %d %s\n", pid, strings.TrimSuffix(data, "/data"))
	time.Sleep(time.Minute) // the parent kills us long before
}

// alive is false for a zombie, which a container's init may leave for ever.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
