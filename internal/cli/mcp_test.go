package cli

import (
	"net/http"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// A server's name is readable, a legal one, and another for every server.
func TestServerName(t *testing.T) {
	seen := map[string]string{}
	for _, c := range []struct {
		command  []string
		upstream string
		want     string
	}{
		{[]string{"npx", "-y", "@modelcontextprotocol/server-filesystem@1.2", "/a"}, "", "server-filesystem"},
		{[]string{"npx", "-y", "@modelcontextprotocol/server-filesystem@1.2", "/b"}, "", "server-filesystem"},
		{[]string{"/usr/bin/python3", "-m", "Shop_Server"}, "", "shop-server"},
		{[]string{"uv", "run", "shop.py"}, "", "shop-py"},
		{[]string{"./crm-server"}, "", "crm-server"},
		{[]string{"--"}, "", "server"},
		{nil, "https://mcp.example.com/mcp?tenant=" + strings.Repeat("x", 90), "mcp-example-com-mcp-tenant-xxx"},
	} {
		got := serverName(c.command, c.upstream)
		if i := strings.LastIndexByte(got, '-'); i < 0 || got[:i] != c.want {
			t.Errorf("%q %s: %s, want %s-…", c.command, c.upstream, got, c.want)
		}
		if _, err := mcppolicy.Default(got, false); err != nil {
			t.Errorf("%s: %v", got, err)
		}
		if other := seen[got]; other != "" {
			t.Errorf("%q has the name of %s", c.command, other)
		}
		seen[got] = strings.Join(c.command, " ")
	}
}

// Who calls is known, or the call is refused.
func TestMCPPrincipal(t *testing.T) {
	for name, c := range map[string]struct {
		cmd    mcpProxyCmd
		header http.Header
		want   string
		ok     bool
	}{
		"one tenant":    {mcpProxyCmd{Scope: "team"}, nil, "", true},
		"header":        {mcpProxyCmd{ScopeHeader: "x-user"}, http.Header{"X-User": {"ann"}}, "ann", true},
		"no header":     {mcpProxyCmd{ScopeHeader: "x-user"}, nil, "", false},
		"empty header":  {mcpProxyCmd{ScopeHeader: "x-user"}, http.Header{"X-User": {""}}, "", false},
		"two headers":   {mcpProxyCmd{ScopeHeader: "x-user"}, http.Header{"X-User": {"ann", "bob"}}, "", false},
		"token":         {mcpProxyCmd{ScopeFromToken: true}, http.Header{"Authorization": {"bearer abc "}}, "abc", true},
		"no token":      {mcpProxyCmd{ScopeFromToken: true}, nil, "", false},
		"other scheme":  {mcpProxyCmd{ScopeFromToken: true}, http.Header{"Authorization": {"Basic abc"}}, "", false},
		"nothing in it": {mcpProxyCmd{ScopeFromToken: true}, http.Header{"Authorization": {"Bearer "}}, "", false},
	} {
		got, err := c.cmd.principal(&http.Request{Header: c.header})
		if got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "abc") {
			t.Errorf("%s: the error tells the credential: %v", name, err)
		}
	}
}

func TestUpstreamURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://mcp.example.com": "https://mcp.example.com/", "http://127.0.0.1:9/mcp?a=b": "http://127.0.0.1:9/mcp?a=b",
		"http://[::1]:9/mcp": "http://[::1]:9/mcp", "http://localhost/": "http://localhost/",
	} {
		if u, err := upstreamURL(text, false); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
	for _, text := range []string{"", "mcp.example.com", "ftp://x/", "http://mcp.example.com/", "http://10.0.0.1/", "https://me:secret@x/", "https://x/#y", "https://x/%zzsecret"} {
		if u, err := upstreamURL(text, false); err == nil || statusOf(err) != exitUsage || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
	if _, err := upstreamURL("http://10.0.0.1/mcp", true); err != nil {
		t.Error(err)
	}
}
