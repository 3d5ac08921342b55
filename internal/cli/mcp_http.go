package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpproxy"
)

// check refuses flags that do not go together.
func (c *mcpProxyCmd) check() error {
	overHTTP := c.Upstream != "" || c.Listen != ""
	switch {
	case overHTTP && len(c.Command) > 0:
		return usageError("give a command after --, or --listen and --upstream, not both")
	case !overHTTP && len(c.Command) == 0:
		return usageError("name the server: its command after --, or --listen ADDR and --upstream URL")
	case !overHTTP:
		if c.ScopeHeader != "" || c.ScopeFromToken || len(c.Host) > 0 || len(c.AllowOrigin) > 0 || c.ListenAnywhere || c.InsecureUpstream {
			return usageError("the flags of streamable HTTP belong to --listen and --upstream")
		}
		return nil
	}
	if _, err := upstreamURL(c.Upstream, c.InsecureUpstream); err != nil {
		return err
	}
	if c.PrintPolicy {
		return nil
	}
	if c.Listen == "" {
		return usageError("--upstream needs --listen ADDR, such as 127.0.0.1:7071")
	}
	if c.Drain < 0 {
		return usageError("--drain is negative; write a duration such as 30s")
	}
	if !c.ListenAnywhere {
		if err := onLoopback("--listen", c.Listen, "other hosts could reach it"); err != nil {
			return err
		}
	}
	if (c.ScopeHeader != "" || c.ScopeFromToken) == (c.Scope != "") || c.ScopeHeader != "" && c.ScopeFromToken {
		return usageError("say whose calls these are, with one of --scope NAME (all callers are one tenant), --scope-header NAME (something in front authenticates) and --scope-from-token")
	}
	return nil
}

// onLoopback refuses addresses that other hosts can reach.
func onLoopback(flag, addr, why string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usageError("%s: %w; write HOST:PORT", flag, err)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return usageError("%s %s: %s; use 127.0.0.1, or add --listen-anywhere", flag, plain(addr), why)
}

// upstreamURL reads --upstream. Its errors do not repeat what may hold a secret.
func upstreamURL(text string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return nil, usageError("--listen needs --upstream URL, the server's endpoint")
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return nil, usageError("--upstream is no http or https URL; write https://HOST/PATH")
	case u.User != nil:
		return nil, usageError("--upstream holds a user or password; clients send their own credentials")
	case u.Fragment != "":
		return nil, usageError("--upstream has a fragment")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && !insecure && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, usageError("--upstream is plain http on another host, where credentials travel in the clear; use https, or add --insecure-upstream")
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// principal tells callers apart, as the flags say.
func (c *mcpProxyCmd) principal(r *http.Request) (string, error) {
	switch {
	case c.ScopeHeader != "":
		return sole(r.Header, c.ScopeHeader, "which names the caller")
	case c.ScopeFromToken:
		value, err := sole(r.Header, "Authorization", "which tells callers apart")
		if err != nil {
			return "", err
		}
		scheme, token, _ := strings.Cut(value, " ")
		if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
			return "", errors.New("the header Authorization holds no bearer token")
		}
		return strings.TrimSpace(token), nil
	}
	return "", nil
}

func sole(h http.Header, name, what string) (string, error) {
	values := h.Values(name)
	if len(values) != 1 || values[0] == "" {
		return "", fmt.Errorf("the request has %d of the header %s, %s", len(values), http.CanonicalHeaderKey(name), what)
	}
	return values[0], nil
}

func (c *mcpProxyCmd) serveHTTP(a *app, gate *mcpcall.Gate, log *slog.Logger, hint func(json.RawMessage)) error {
	at, err := upstreamURL(c.Upstream, c.InsecureUpstream)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(a.ctx, "tcp", c.Listen)
	if err != nil {
		return unavailable("--listen: %w", err)
	}
	ctx, stop := a.interruptible()
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	hosts := make([]string, len(c.Host))
	for i, h := range c.Host {
		hosts[i] = strings.ToLower(h)
	}
	p := mcpproxy.NewHTTP(mcpproxy.HTTPOptions{
		Gate: gate, Upstream: at, Principal: c.principal, Hosts: hosts, Origins: c.AllowOrigin, Log: log, Tools: hint,
	})
	a.say("mcp: listening on http://%s%s", ln.Addr(), plain(at.EscapedPath()))
	if err := p.Serve(ctx, ln, c.Drain); err != nil {
		return &failure{status: exitFailed, text: "the proxy did not end cleanly: " + err.Error(), done: "what it had forwarded may have happened, and repeats of those calls are told so", err: err}
	}
	a.say("mcp: stopped")
	return nil
}

// authorization reads the value of an Authorization header from a file: on the
// command line every user of the machine could read it.
func authorization(path string) (http.Header, error) {
	h := make(http.Header)
	if path == "" {
		return h, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError("--authorization-file: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := readAtMost(f, 64<<10)
	if err != nil {
		return nil, usageError("--authorization-file: %w", err)
	}
	value := strings.TrimSpace(string(b))
	if value == "" || strings.ContainsAny(value, "\r\n") {
		return nil, usageError("--authorization-file: write one line, the header's value, such as: Bearer TOKEN")
	}
	h.Set("Authorization", value)
	return h, nil
}
