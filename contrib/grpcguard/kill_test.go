package grpcguard_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/sqlitestore"
)

// The kill tests run the server as a process of its own: this test binary, told its
// role by the environment. The effect is a line in a file that another process keeps.
const (
	roleEnv   = "ONCEGUARD_GRPCGUARD_TEST_ROLE" // "server"
	storeEnv  = "ONCEGUARD_GRPCGUARD_TEST_STORE"
	effectEnv = "ONCEGUARD_GRPCGUARD_TEST_EFFECTS" // address of the one who counts
)

// playRole serves until standard input ends, so that nothing is left over.
func playRole(role string) int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	err := fmt.Errorf("no role %q", role)
	if role == "server" {
		err = runServer(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runServer(ctx context.Context) error {
	store, err := sqlitestore.Open(ctx, os.Getenv(storeEnv), nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		return err
	}
	s, err := grpcguard.NewServer(guard, grpcguard.ServerOptions{Scope: grpcguard.SingleTenant, Methods: map[string]grpcguard.Method{create: {}}})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(s.Unary()))
	service(srv, ask)
	fmt.Println(ln.Addr())
	context.AfterFunc(ctx, srv.Stop)
	if err := srv.Serve(ln); ctx.Err() == nil {
		return err
	}
	return nil
}

// ask has the effect: one line to the counter, and its line back.
func ask(_ context.Context, _ string, in *structpb.Struct) (*structpb.Struct, error) {
	conn, err := net.Dial("tcp", os.Getenv(effectEnv))
	if err != nil {
		return nil, onceguard.NotExecuted(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintln(conn, textOf(in)); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil, err
	}
	return text(strings.TrimSpace(line)), nil
}

// counter is the world outside of the killed process.
type counter struct {
	world
	addr    string
	arrived chan net.Conn // effects whose answer the test gives
}

func newCounter(t *testing.T, hold bool) *counter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	c := &counter{addr: ln.Addr().String(), arrived: make(chan net.Conn, 8)}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil {
				_ = conn.Close()
				continue
			}
			n := c.Add("effect")
			if hold {
				c.arrived <- conn
				continue
			}
			_, _ = fmt.Fprintf(conn, "effect %d of %s", n, line)
			_ = conn.Close()
		}
	}()
	return c
}

type process struct {
	cmd  *exec.Cmd
	addr string
}

func start(t *testing.T, store string, c *counter) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleEnv+"=server", storeEnv+"="+store, effectEnv+"="+c.addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(func() {
		_ = in.Close()
		p.kill()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the server did not start: %v", err)
	}
	p.addr = strings.TrimSpace(line)
	return p
}

// kill is SIGKILL: nothing of the process runs any more.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// TestKill: the server is killed while its handler waits for an answer to an effect
// that took place. It starts again on the same store, and the client retries.
func TestKill(t *testing.T) {
	c := newCounter(t, true)
	store := filepath.Join(t.TempDir(), "receipts.db")
	first := start(t, store, c)
	answered := make(chan got, 1)
	cc := dial(t, first.addr)
	go func() { answered <- call(t.Context(), cc, create, "refund-7", text("order-7")) }()
	conn := <-c.arrived
	first.kill()
	_ = conn.Close()
	if g := <-answered; g.err == nil {
		t.Error("a killed server answered")
	}
	cc = dial(t, start(t, store, c).addr)
	for range 3 {
		if g := call(t.Context(), cc, create, "refund-7", text("order-7")); g.reason() != grpcguard.ReasonOutcomeUnknown {
			t.Errorf("the retry got %v", g.err)
		}
	}
	if g := call(t.Context(), cc, create, "refund-7", text("order-8")); g.reason() != grpcguard.ReasonKeyReused {
		t.Errorf("another message under the key got %v", g.err)
	}
	c.want(t, 1)
}

// TestKillAfterReceipt: the server is killed when the receipt is stored. The retry
// at the next one collects it.
func TestKillAfterReceipt(t *testing.T) {
	c := newCounter(t, false)
	store := filepath.Join(t.TempDir(), "receipts.db")
	first := start(t, store, c)
	before := call(t.Context(), dial(t, first.addr), create, "refund-7", text("order-7"))
	first.kill()
	after := call(t.Context(), dial(t, start(t, store, c).addr), create, "refund-7", text("order-7"))
	if before.err != nil || after.err != nil || after.text != before.text || before.replayed() || !after.replayed() {
		t.Errorf("first %+v, retry %+v", before, after)
	}
	c.want(t, 1)
}
