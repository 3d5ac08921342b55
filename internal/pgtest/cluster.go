package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startLimit = 60 * time.Second // crash recovery included
	stopLimit  = 30 * time.Second
	superuser  = "postgres"
)

// Options for a server of one's own. The zero value works.
type Options struct {
	// Name becomes cluster_name, and the application_name a standby gives to
	// its primary, so that synchronous_standby_names can ask for it.
	Name string

	// Settings are added to postgresql.conf, so ALTER SYSTEM still overrides them.
	Settings map[string]string

	// Env is added to the server's environment, such as LD_PRELOAD for libfaketime.
	Env []string

	// StandbyOf makes the new server a streaming hot standby of a running one.
	StandbyOf *Cluster

	// CopyOf starts the new server, as a primary of its own, on a base backup
	// of a running one: what a restored backup looks like.
	CopyOf *Cluster
}

// Cluster is one PostgreSQL server and its data directory. It outlives its
// server: after [Cluster.Kill] or [Cluster.Stop] it can be restarted. Methods
// that take a testing.TB fail the test on any error. Methods are safe for
// concurrent use.
type Cluster struct {
	in   installation
	as   account
	dir  string // socket, log and data directory live here
	env  []string
	port int

	dbCount atomic.Int64

	mu        sync.Mutex
	proc      *process // nil while the server is down
	guard     *watchdog
	templates map[string]*templateDatabase
}

// Start starts a server that belongs to this test. It is stopped and removed
// at cleanup; a failed test logs the end of the server's own log.
func Start(t testing.TB, opts Options) *Cluster {
	t.Helper()
	in := require(t)
	c, err := start(in, opts)
	if err != nil {
		t.Fatalf("pgtest: start PostgreSQL %d: %v", in.major, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("pgtest: end of the server's log:\n%s", c.logTail())
		}
		if err := c.close(); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return c
}

// require finds binaries, or skips the test, or fails it where PostgreSQL is
// expected to be there.
func require(t testing.TB) installation {
	t.Helper()
	in, err := currentSearchEnv().find()
	if err == nil {
		return in
	}
	if os.Getenv("CI") != "" || os.Getenv("ONCEGUARD_PG_REQUIRED") != "" {
		t.Fatalf("pgtest: %v", err)
	}
	t.Skipf("SKIPPED, nothing about PostgreSQL was tested: %v", err)
	return installation{}
}

func start(in installation, opts Options) (_ *Cluster, err error) {
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if err := as.reaches(in.bin); err != nil {
		return nil, err
	}
	dir, err := as.workDir()
	if err != nil {
		return nil, err
	}
	guard, err := startWatchdog(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c := &Cluster{in: in, as: as, dir: dir, guard: guard, templates: make(map[string]*templateDatabase)}
	c.env = append(serverEnv(os.Environ()), opts.Env...)
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	switch {
	case opts.StandbyOf != nil:
		err = opts.StandbyOf.backupTo(c)
	case opts.CopyOf != nil:
		err = opts.CopyOf.backupTo(c)
	default:
		err = c.initdb()
	}
	if err != nil {
		return nil, err
	}
	for range 5 {
		if c.port, err = freePort(); err != nil {
			return nil, err
		}
		if err = c.configure(opts); err != nil {
			return nil, err
		}
		if err = c.launch(); !errors.Is(err, errExited) {
			return c, err
		}
		if !strings.Contains(c.logTail(), "could not create any TCP/IP sockets") {
			return nil, err
		}
	}
	return nil, err
}

func (c *Cluster) dataDir() string { return filepath.Join(c.dir, "data") }
func (c *Cluster) logFile() string { return filepath.Join(c.dir, "server.log") }

func (c *Cluster) initdb() error {
	cmd := exec.Command(c.in.program("initdb"), "--pgdata", c.dataDir(), "--username", superuser,
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	cmd.Dir = c.dir
	cmd.Env = c.env
	prepare(cmd, c.as)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd.Path, err, out)
	}
	return nil
}

// errExited means the server ended instead of becoming ready.
var errExited = errors.New("the server ended while it was starting")

// launch starts the server and waits until it accepts connections.
func (c *Cluster) launch() error {
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(c.in.program("postgres"), "-D", c.dataDir())
	cmd.Dir = c.dir
	cmd.Env = c.env
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd, c.as)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.proc = p
	err = c.guard.watch(p.pid)
	c.mu.Unlock()
	if err != nil {
		return err
	}
	var last error
	poll(startLimit, func() bool {
		if p.exited() {
			last = errExited
			return true
		}
		last = c.ping()
		return last == nil
	})
	if errors.Is(last, errExited) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.proc = nil
		last = errors.Join(last, c.guard.watch())
	}
	if last != nil {
		return fmt.Errorf("%w\nend of its log:\n%s", last, c.logTail())
	}
	return nil
}

// ping connects through the socket in our own directory: another server may
// have taken the port, but not that.
func (c *Cluster) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.socketURL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// close stops the server and removes its directory. It works on a half-started
// cluster too, and on a paused one.
func (c *Cluster) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	if c.proc != nil {
		errs = append(errs, c.proc.resume())
		errs = append(errs, c.shutdown(Immediate))
	} else {
		c.freeSharedMemory()
	}
	errs = append(errs, c.guard.finish())
	return errors.Join(errs...)
}

// logTail returns the last part of the server's log.
func (c *Cluster) logTail() string {
	data, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	const most = 8 << 10
	return string(data[max(0, len(data)-most):])
}

// Version returns the server's major version, such as 15.
func (c *Cluster) Version() int { return c.in.major }

// Addr returns the host:port the server listens on. It stays the same over
// restarts.
func (c *Cluster) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port))
}

// URL returns the postgres:// URL of a database, over TCP, as superuser. It
// holds no secret: the server trusts local users.
func (c *Cluster) URL(db string) string {
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Host: c.Addr(), Path: "/" + db, RawQuery: "sslmode=disable"}
	return u.String()
}

func (c *Cluster) socketURL(db string) string {
	query := url.Values{"host": {c.dir}, "port": {strconv.Itoa(c.port)}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", User: url.User(superuser), Path: "/" + db, RawQuery: query.Encode()}
	return u.String()
}
