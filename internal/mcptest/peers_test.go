//go:build linux

package mcptest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// peerTime bounds a visit of one npm client to one npm server.
const peerTime = time.Minute

// TestPeers lets public clients talk to public servers without the proxy and
// through it, started as documented: the server's command line with a prefix.
// The client must meet the same.
func TestPeers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		server string
		args   func(dir string) []string
		client func(p packages, dir string) []string
		env    func(dir string) []string
		steps  int // at least, without the proxy
	}{
		{name: "TypeScript SDK, server-everything", server: "mcp-server-everything", client: tour, steps: 40},
		{name: "TypeScript SDK, server-filesystem", server: "mcp-server-filesystem", args: dirAlone, client: errands("filesystem"), steps: 10},
		{name: "TypeScript SDK, server-memory", server: "mcp-server-memory", client: errands("memory"), env: memoryFile, steps: 8},
		{name: "Inspector, tools/list of server-everything", server: "mcp-server-everything", client: inspect("--method", "tools/list"), steps: 1},
		{name: "Inspector, tools/call of server-everything", server: "mcp-server-everything", client: inspect("--method", "tools/call", "--tool-name", "get-sum", "--tool-arg", "a=2", "b=40"), steps: 1},
		{name: "Inspector, guarded call of server-memory", server: "mcp-server-memory", env: memoryFile, client: inspect("--method", "tools/call", "--tool-name", "delete_entities", "--tool-arg", `entityNames=["x"]`), steps: 1},
		{name: "Inspector, resources of server-everything", server: "mcp-server-everything", client: inspect("--method", "resources/list"), steps: 1},
		{name: "Inspector, tools/list of server-filesystem", server: "mcp-server-filesystem", args: dirAlone, client: inspect("--method", "tools/list"), steps: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := install(t, "peers")
			visit := func(prefix ...string) []step {
				dir := t.TempDir()
				server := append(prefix, p.bin(tc.server)...)
				if tc.args != nil {
					server = append(server, tc.args(dir)...)
				}
				env := append(p.env(), "HOME="+dir, "XDG_STATE_HOME="+t.TempDir())
				if tc.env != nil {
					env = append(env, tc.env(dir)...)
				}
				return visited(t, append(tc.client(p, dir), server...), env, dir)
			}
			direct := visit()
			if len(direct) < tc.steps {
				t.Fatalf("%d steps without the proxy, want %d: %v", len(direct), tc.steps, direct)
			}
			path := onceguardPath(t)
			through := visit(path, "mcp", "--store", storeIn(t, path, t.TempDir()), "--")
			if diff := cmp.Diff(direct, through); diff != "" {
				t.Errorf("(-without the proxy +through it)\n%s", diff)
			}
		})
	}
}

func tour(p packages, _ string) []string { return p.script("tour.mjs") }

func errands(which string) func(packages, string) []string {
	return func(p packages, dir string) []string { return append(p.script("errands.mjs"), which, dir) }
}

func inspect(args ...string) func(packages, string) []string {
	return func(p packages, _ string) []string {
		command := append(append(p.bin("mcp-inspector"), "--cli"), args...)
		// What follows is the server, with flags of its own.
		return append(command, "--")
	}
}

func dirAlone(dir string) []string { return []string{dir} }
func memoryFile(dir string) []string {
	return []string{"MEMORY_FILE_PATH=" + filepath.Join(dir, "memory.jsonl")}
}

// step is one thing that a client did, and what came of it.
type step struct {
	Step   string `json:"step"`
	Result any    `json:"result"`
}

// chance is what differs between two runs of the same server.
var chance = []struct {
	form *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`\d\d?:\d\d:\d\d [AP]M`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "TIME"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "TASK"},
}

// visited runs a client and reads the JSON that it prints.
func visited(t *testing.T, command, env []string, dir string) []step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), peerTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(command, " "), err, out, said.String())
	}
	text := strings.ReplaceAll(string(out), dir, "DIR")
	for _, c := range chance {
		text = c.form.ReplaceAllString(text, c.by)
	}
	var steps []step
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		var s step
		if json.Unmarshal(raw, &s) != nil || s.Step == "" {
			s.Step = "" // the Inspector prints one result as it is
			if err := json.Unmarshal(raw, &s.Result); err != nil {
				t.Fatal(err)
			}
		}
		withoutGuard(s.Result)
		if s.Step == "unknown tool" {
			withoutVerdict(s.Result)
		}
		steps = append(steps, s)
	}
	return steps
}

// withoutGuard takes out of a tools/list what the proxy is documented to add: its
// two helper tools, and the argument for a repeat token.
func withoutGuard(result any) {
	list, ok := result.(map[string]any)
	if !ok {
		return
	}
	tools, ok := list["tools"].([]any)
	if !ok {
		return
	}
	var kept []any
	for _, tool := range tools {
		t, _ := tool.(map[string]any)
		if name, _ := t["name"].(string); strings.HasPrefix(name, "onceguard_") {
			continue
		}
		if schema, ok := t["inputSchema"].(map[string]any); ok {
			if properties, ok := schema["properties"].(map[string]any); ok {
				delete(properties, "onceguard_repeat")
			}
		}
		kept = append(kept, tool)
	}
	list["tools"] = kept
}

// withoutVerdict takes out of a tool's isError what the guard adds to it. This
// server answers a call of an unknown tool so, and not with the error -32602,
// and nobody but the server can know that such a tool did nothing.
func withoutVerdict(result any) {
	r, _ := result.(map[string]any)
	meta, _ := r["_meta"].(map[string]any)
	if said, _ := meta[metaWord].(map[string]any); said["verdict"] != "uncertain" {
		return
	}
	delete(r, "_meta")
	delete(r, "structuredContent")
	if content, _ := r["content"].([]any); len(content) > 0 {
		r["content"] = content[1:]
	}
}
