package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/onceguard/onceguard/internal/cli"
	"github.com/onceguard/onceguard/internal/ledger"
)

// The process tests run the program and the provider as processes of their own:
// this test binary, told its role by the environment.
const (
	roleEnv = "ONCEGUARD_PROXY_TEST_ROLE" // "onceguard" or "ledger"
	fileEnv = "ONCEGUARD_PROXY_TEST_FILE"
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "onceguard":
		_ = os.Unsetenv(roleEnv)
		os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
	case "ledger":
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			cancel()
		}()
		if err := ledger.Run(ctx, ledger.Config{File: os.Getenv(fileEnv), Ready: func(a string) { fmt.Println(a) }}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is this binary in a role. Its log is kept, and shown when a test fails.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.Closer
	addr string
	log  strings.Builder
	done chan struct{} // its log has ended
}

func spawn(t *testing.T, role string, env []string, args ...string) (*process, *exec.Cmd) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(append(os.Environ(), roleEnv+"="+role), env...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	return &process{t: t, cmd: cmd, in: in, done: make(chan struct{})}, cmd
}

// startLedger runs a provider that counts its effects.
func startLedger(t *testing.T, file string) (*process, *ledger.Client) {
	t.Helper()
	p, cmd := spawn(t, "ledger", []string{fileEnv + "=" + file})
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.begin()
	close(p.done)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the ledger did not start: %v", err)
	}
	p.addr = strings.TrimSpace(line)
	return p, ledger.NewClient(p.addr)
}

// startProxy runs `onceguard proxy` and returns when it listens.
func startProxy(t *testing.T, config, store, listen string, more ...string) *process {
	t.Helper()
	args := append([]string{"proxy", "--config", config, "--store", "sqlite:" + store, "--create-store", "--listen", listen}, more...)
	p, cmd := spawn(t, "onceguard", nil, args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.begin()
	lines := bufio.NewReader(log)
	for p.addr == "" {
		line, err := lines.ReadString('\n')
		p.log.WriteString(line)
		if err != nil {
			close(p.done)
			t.Fatalf("the proxy did not start: %s", p.log.String())
		}
		if _, after, ok := strings.Cut(line, "listening on http://"); ok {
			p.addr, _, _ = strings.Cut(after, ",")
		}
	}
	go func() {
		defer close(p.done)
		_, _ = io.Copy(&p.log, lines)
	}()
	return p
}

func (p *process) begin() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		p.kill()
		if p.t.Failed() {
			p.t.Logf("log of %v:\n%s", p.cmd.Args[1:], p.log.String())
		}
	})
}

// kill is SIGKILL: nothing of the process runs any more.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
	_ = p.cmd.Wait()
	_ = p.in.Close()
}

// terminate is SIGTERM; it does not wait.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// closed returns when nothing listens any more: the drain has begun.
func (p *process) closed() {
	p.t.Helper()
	for {
		conn, err := new(net.Dialer).DialContext(p.t.Context(), "tcp", p.addr)
		if err != nil {
			return
		}
		_ = conn.Close()
	}
}

// end waits for the process and returns its exit status.
func (p *process) end() int {
	<-p.done
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode()
}

// reply is an answer that was read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends one request on a connection of its own, never again by itself.
func ask(t *testing.T, method, url, body string, headers ...string) reply {
	t.Helper()
	got, err := try(t.Context(), method, url, body, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func try(ctx context.Context, method, url, body string, headers ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(data)}, err
}

// is fails the test unless got has the status, and the text in its body.
func (r reply) is(t *testing.T, status int, text string) {
	t.Helper()
	if r.status != status || !strings.Contains(r.body, text) {
		t.Errorf("answer %d %.300s, want %d with %q", r.status, r.body, status, text)
	}
}
