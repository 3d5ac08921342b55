//go:build linux

package mcptest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// suites are what of the official conformance suite is run, the released version
// (revision 2025-11-25) and the coming one (2026-07-28), against the server that
// the Go SDK has for it. Both kinds of server are asked: one that keeps sessions,
// and one that keeps nothing.
//
// Where the server itself fails a check it must fail it through the proxy as
// well: the proxy repairs nothing, and breaks nothing.
var suites = []struct {
	name, packages string
	args           []string
	sessions       bool
	config         string
	passed, failed int // without the proxy: an empty run proves nothing
}{
	{"0.1.16, 2025-11-25, sessions", "conformance-0.1", nil, true, "", 40, 0},
	{"0.2.0-alpha.12, 2026-07-28", "conformance-0.2", []string{"--spec-version", "2026-07-28"}, false, "", 42, 0},
	{"0.2.0-alpha.12, 2025-11-25, sessions", "conformance-0.2", []string{"--spec-version", "2025-11-25"}, true, "", 73, 0},
	{"0.1.16, all, sessions", "conformance-0.1", []string{"--suite", "all"}, true, repeatsAreNew, 44, 0},
	{"0.1.16, all, no sessions", "conformance-0.1", []string{"--suite", "all"}, false, repeatsAreNew, 30, 4},
	{"0.2.0-alpha.12, required by 2026-07-28", "conformance-0.2", []string{"--requirements", "2026-07-28"}, false, repeatsAreNew, 165, 30},
	{"0.2.0-alpha.12, all, no sessions", "conformance-0.2", []string{"--suite", "all"}, false, repeatsAreNew, 182, 34},
}

// repeatsAreNew is the policy file for the suites that go beyond what a revision
// demands. They make one call several times over, with other headers, and mean
// each; without the file the proxy would answer the second from the receipt of
// the first, which is its purpose. And one of their tools ends its stream without
// an answer: guarded, that is an unknown outcome, and told as such.
const repeatsAreNew = `version: 1
server: conformance
defaults:
  repeat: new
tools:
  - name: test_reconnection
    mode: pass
`

// conformanceTime bounds one run of a suite. It takes seconds.
const conformanceTime = 2 * time.Minute

// TestConformance is the gate: through the proxy the official suite gives the
// same verdict in every check.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, suite := range suites {
		t.Run(suite.name, func(t *testing.T) {
			p := install(t, suite.packages)
			for round := 1; ; round++ {
				direct, through := bothWays(t, p, suite.args, suite.sessions, suite.config)
				diff := cmp.Diff(direct.statuses(), through.statuses())
				passed, failed := direct.count("SUCCESS"), direct.count("FAILURE")
				if diff == "" && passed == suite.passed && failed == suite.failed {
					t.Logf("%s: %d passed and %d failed without the proxy, %d and %d through it",
						suite.name, passed, failed, through.count("SUCCESS"), through.count("FAILURE"))
					return
				}
				if round == rounds {
					t.Fatalf("without the proxy %d checks pass and %d fail, want %d and %d; verdicts (-without the proxy +through it)\n%s\nwithout:\n%s\nthrough:\n%s",
						passed, failed, suite.passed, suite.failed, diff, direct, through)
				}
				t.Logf("round %d differs, and is run again:\n%s", round, diff)
			}
		})
	}
}

// rounds is how often a suite is run at most. Some checks wait a fixed time for a
// notification, and on a busy machine it comes later, with the proxy or without.
// What the proxy breaks is broken in every round.
const rounds = 3

// bothWays runs a suite without the proxy and through it, each with a server of
// its own: what one run left behind is not for the other.
func bothWays(t *testing.T, p packages, args []string, sessions bool, config string) (direct, through verdictList) {
	t.Helper()
	direct = verdicts(t, p, "http://"+everythingServer(t, sessions), args)
	dir := t.TempDir()
	command := []string{
		onceguardPath(t), "mcp", "--store", "sqlite:" + filepath.Join(dir, "receipts.db"), "--create-store", "--scope", "test",
		"--listen", "127.0.0.1:0", "--upstream", "http://" + everythingServer(t, sessions),
	}
	if config != "" {
		file := filepath.Join(dir, "tools.yaml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		command = append(command, "--config", file)
	}
	proxy := start(t, []string{"XDG_STATE_HOME=" + dir}, command...)
	return direct, verdicts(t, p, "http://"+listening(proxy), args)
}

// everythingServer starts the Go SDK's conformance server and returns its
// address. It takes a port by number alone, and the number of a free one may be
// taken meanwhile: then another is tried.
func everythingServer(t *testing.T, sessions bool) string {
	t.Helper()
	path := program(t, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server", "")
	for range 5 {
		addr := freeAddr(t)
		p := start(t, nil, path, "-http", addr, fmt.Sprintf("-stateless=%t", !sessions))
		for !p.over() {
			conn, err := net.DialTimeout("tcp", addr, time.Second)
			if err == nil {
				_ = conn.Close()
				return addr
			}
			time.Sleep(2 * time.Millisecond)
		}
		t.Logf("%s: %s", addr, p.errors())
	}
	t.Fatal("the conformance server does not start")
	return ""
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String()
}

// verdict is what the suite says of one check.
type verdict struct{ status, why string }

// verdictList is a suite's verdicts by scenario and check.
type verdictList map[string]verdict

func (l verdictList) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l)) {
		fmt.Fprintf(&b, "%-8s %s", l[name].status, name)
		if l[name].why != "" {
			fmt.Fprintf(&b, ": %.200s", l[name].why)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func (l verdictList) count(status string) int {
	n := 0
	for _, v := range l {
		if v.status == status {
			n++
		}
	}
	return n
}

func (l verdictList) statuses() map[string]string {
	m := make(map[string]string, len(l))
	for name, v := range l {
		m[name] = v.status
	}
	return m
}

var scenarioFolder = regexp.MustCompile(`^server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z$`)

// verdicts runs a suite against a server and reads what it wrote.
func verdicts(t *testing.T, p packages, url string, args []string) verdictList {
	t.Helper()
	out := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), conformanceTime)
	defer cancel()
	command := append(append(p.bin("conformance"), "server", "--url", url, "-o", out), args...)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), p.env()...)
	said, err := cmd.CombinedOutput() // its status says whether all passed; the files say what did
	folders, readErr := os.ReadDir(out)
	if readErr != nil || len(folders) == 0 {
		t.Fatalf("the conformance suite wrote nothing: %v\n%s", err, said)
	}
	list := verdictList{}
	for _, folder := range folders {
		m := scenarioFolder.FindStringSubmatch(folder.Name())
		if m == nil {
			t.Fatalf("%q is no result of a scenario", folder.Name())
		}
		data, err := os.ReadFile(filepath.Join(out, folder.Name(), "checks.json"))
		if err != nil {
			t.Fatal(err)
		}
		var checks []struct {
			ID, Status, ErrorMessage string
		}
		if err := json.Unmarshal(data, &checks); err != nil {
			t.Fatalf("%s: %v", folder.Name(), err)
		}
		for _, c := range checks {
			name := m[1] + "/" + c.ID
			for n := 2; list[name].status != ""; n++ {
				name = fmt.Sprintf("%s/%s#%d", m[1], c.ID, n)
			}
			list[name] = verdict{c.Status, c.ErrorMessage}
		}
	}
	return list
}
