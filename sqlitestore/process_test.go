package sqlitestore_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/groupcommit"
	"github.com/onceguard/onceguard/sqlitestore"
)

// The environment variable that makes this test binary a child process.
const (
	childRole = "ONCEGUARD_SQLITE_CHILD"
	childPath = "ONCEGUARD_SQLITE_PATH"
)

func TestMain(m *testing.M) {
	role, child := os.LookupEnv(childRole)
	if !child {
		os.Exit(m.Run())
	}
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if err := map[string]func(*sqlitestore.Store) error{"race": raceChild, "kill": killChild}[role](childStore()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childStore() *sqlitestore.Store {
	s, err := sqlitestore.Open(ctx, os.Getenv(childPath), &sqlitestore.Options{Reserve: 1 << 20})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return s
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, role, path string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0])}
	c.Env = append(os.Environ(), childRole+"="+role, childPath+"="+path)
	c.Stderr = os.Stderr
	var err error
	c.in, err = c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	c.out = bufio.NewScanner(out)
	must(t, c.Start())
	t.Cleanup(func() { // after a failure; otherwise it has ended
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	return c
}

func (c *child) says(t *testing.T, want string) {
	t.Helper()
	if !c.out.Scan() || c.out.Text() != want {
		t.Fatalf("the child said %q (%v), want %q", c.out.Text(), c.out.Err(), want)
	}
}

// keys are what all processes race for.
const keys = 200

// raceChild waits for the starting shot, claims every key and names those that
// it won.
func raceChild(s *sqlitestore.Store) error {
	fmt.Println("ready")
	bufio.NewScanner(os.Stdin).Scan()
	t := &testing.T{} // only its Helper is used: a request cannot fail here
	for i := range keys {
		c := request(t, fmt.Sprint(i))
		list, err := s.Claim(ctx, []onceguard.Claim{c})
		if err != nil {
			return fmt.Errorf("claim %d: %w", i, err)
		}
		switch list[0].Outcome {
		case onceguard.Granted:
			fmt.Println("won", i)
		case onceguard.Held:
		default:
			return fmt.Errorf("claim %d: %s, %w", i, list[0].Outcome, list[0].Err)
		}
	}
	fmt.Println("done")
	return s.Close()
}

func TestProcessesShareAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	var children []*child
	for range 4 { // on a file that none of them finds
		children = append(children, start(t, "race", path))
	}
	for _, c := range children {
		c.says(t, "ready")
	}
	for _, c := range children {
		_, err := io.WriteString(c.in, "go\n")
		must(t, err)
	}
	won := map[string]int{}
	for _, c := range children {
		for c.out.Scan() && c.out.Text() != "done" {
			won[c.out.Text()]++
		}
		if err := c.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	}
	for key, times := range won {
		if times != 1 {
			t.Errorf("%q %d times", key, times)
		}
	}
	if len(won) != keys {
		t.Errorf("%d keys were granted, want %d", len(won), keys)
	}
}

// killChild claims, then stops inside a transaction that holds the write lock.
func killChild(s *sqlitestore.Store) error {
	t := &testing.T{}
	if _, err := s.DB().Exec("CREATE TABLE mine (x)"); err != nil {
		return err
	}
	for i := range 5 {
		if _, err := s.Claim(ctx, []onceguard.Claim{request(t, fmt.Sprint(i))}); err != nil {
			return err
		}
	}
	c := request(t, "inside")
	c.Policy = onceguard.Transactional
	_, err := s.Transact(ctx, c, func(ctx context.Context, tx any) (onceguard.Result, error) {
		if _, err := tx.(*sql.Tx).ExecContext(ctx, "INSERT INTO mine VALUES (1)"); err != nil {
			return onceguard.Result{}, err
		}
		fmt.Println("inside")
		_, err := io.Copy(io.Discard, os.Stdin) // until it is killed
		return onceguard.Result{}, fmt.Errorf("nobody killed me: %w", err)
	})
	return err
}

func TestKilledProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	c := start(t, "kill", path)
	c.says(t, "inside")
	o := impatient()
	o.Log = slog.New(slog.DiscardHandler)
	// Reading goes on beside the transaction.
	beside, err := sqlitestore.Open(ctx, path, o)
	must(t, err)
	if a := claim(t, beside, request(t, "0")); a.Outcome != onceguard.Held {
		t.Errorf("beside the transaction: %s", a.Outcome)
	}
	must(t, beside.Close())
	must(t, c.Process.Kill())
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}

	s := open(t, path, o) // recovers the log
	for i := range 5 {
		if a := claim(t, s, request(t, fmt.Sprint(i))); a.Outcome != onceguard.Held {
			t.Errorf("claim %d, acknowledged before the kill, is %s", i, a.Outcome)
		}
	}
	if r := get(t, s, request(t, "inside").ID); r.State != onceguard.Absent {
		t.Errorf("the transaction that never committed left a record: %s", r.State)
	}
	var n int
	must(t, s.DB().QueryRow("SELECT count(*) FROM mine").Scan(&n))
	if n != 0 {
		t.Errorf("%d rows of a transaction that never committed", n)
	}
	grant(t, s, "after") // the lock is free: 50 ms is all the patience there is
}

// The lock is free between batches, and whoever waits for it asks often enough
// to get it from a process that always has more to write.
func TestALoneProcessBesideABusyOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	busy, lone := open(t, path, quiet()), open(t, path, quiet())
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range 64 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					settle(t, busy, success(grant(t, busy, fmt.Sprint("busy ", i, " ", n)), []byte("paid")))
				}
			}
		})
	}
	until(t, busy, "the traffic", func(st groupcommit.Stats) bool { return st.Batches > 10 })
	for i := range 20 { // a busy error would end the test
		settle(t, lone, success(grant(t, lone, fmt.Sprint("lone ", i)), []byte("paid")))
	}
	close(stop)
	all.Wait()
}
