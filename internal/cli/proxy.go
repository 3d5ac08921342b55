package cli

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/lmittmann/tint"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/proxy"
	"github.com/onceguard/onceguard/memstore"
)

var _ = addCommands(&proxyCmds{})

// proxyCmds holds `onceguard proxy`.
type proxyCmds struct {
	Proxy proxyCmd `cmd:"" help:"Guard the writes of any program to an HTTP API: a reverse proxy in front of it."`
}

type proxyCmd struct {
	Config         string        `required:"" placeholder:"FILE" help:"The configuration, YAML."`
	Listen         string        `default:"127.0.0.1:7070" placeholder:"ADDR" help:"Where callers connect. Default: ${default}."`
	ListenAnywhere bool          `help:"Let --listen and --admin be addresses that other hosts can reach. The proxy asks nobody for credentials."`
	Admin          string        `placeholder:"ADDR" help:"Answer GET /-/health on an address of its own."`
	Drain          time.Duration `default:"30s" placeholder:"DURATION" help:"How long running effects are waited for after SIGTERM or SIGINT. Default: ${default}."`
	CreateStore    bool          `help:"Make the store where there is none. Without it a missing store is an error: an empty memory would run everything again."`
	Check          bool          `help:"Check the configuration and end; no store is opened."`
}

// Help is shown below the flags.
func (proxyCmd) Help() string {
	return `Point a program's base URL at the proxy: writes that the configuration names run at most once per key,
whatever dies meanwhile; retries get the first answer again. Reads pass through. The proxy forwards to
the upstreams of the configuration alone.

Example:

  onceguard proxy --config proxy.yaml --check
  onceguard proxy --config proxy.yaml --create-store --store sqlite:receipts.db`
}

// Run is the command.
func (c *proxyCmd) Run(a *app) (err error) {
	cfg, err := proxy.Load(c.Config)
	if err != nil {
		return usageError("--config: %w", err)
	}
	if c.Drain < 0 {
		return usageError("--drain is negative; write a duration such as 30s")
	}
	for name, addr := range map[string]string{"--listen": c.Listen, "--admin": c.Admin} {
		if err := c.nearby(name, addr); err != nil {
			return err
		}
	}
	if c.Check {
		return c.summary(a, cfg)
	}
	log := slog.New(tint.NewTextHandler(a.stderr, &tint.Options{Level: c.level(a), TimeFormat: time.RFC3339, NoColor: !a.coloured(a.stderr)}))
	how := mustExist
	if c.CreateStore {
		how = mayCreate
	}
	g, err := a.guard(how, onceguard.Options{Observer: onceguard.SlogObserver(log)})
	if err != nil {
		return err
	}
	p, err := proxy.New(g, cfg, log)
	if err != nil {
		return usageError("--config: %s: %w", plain(c.Config), trimmed(err))
	}
	return c.serve(a, p)
}

func (c *proxyCmd) serve(a *app, p *proxy.Proxy) error {
	ln, err := new(net.ListenConfig).Listen(a.ctx, "tcp", c.Listen)
	if err != nil {
		return unavailable("--listen: %w", err)
	}
	if c.Admin != "" {
		admin, err := new(net.ListenConfig).Listen(a.ctx, "tcp", c.Admin)
		if err != nil {
			_ = ln.Close()
			return unavailable("--admin: %w", err)
		}
		srv := &http.Server{Handler: p.Health(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
		go func() { _ = srv.Serve(admin) }()
		defer func() { _ = srv.Close() }()
		a.say("health on http://%s/-/health", admin.Addr())
	}
	ctx, stop := a.interruptible()
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	a.say("proxy listening on http://%s, store %s", ln.Addr(), plain(a.at.shown))
	if err := p.Serve(ctx, ln, c.Drain); err != nil {
		return &failure{status: exitFailed, text: "the proxy did not end cleanly: " + err.Error(), done: "what it had forwarded may have happened, and retries with the same keys tell", err: err}
	}
	a.say("proxy stopped; everything it forwarded is settled or recorded")
	return nil
}

func (c *proxyCmd) level(a *app) slog.Level {
	if a.globals.Verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// nearby refuses addresses that other hosts can reach, unless they are meant.
func (c *proxyCmd) nearby(flag, addr string) error {
	if addr == "" || c.ListenAnywhere {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usageError("%s: %w; write HOST:PORT", flag, err)
	}
	if ip, err := netip.ParseAddr(host); host == "localhost" || err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return usageError("%s %s: other hosts could reach it, and the proxy asks nobody for credentials; use 127.0.0.1, or add --listen-anywhere where something in front does", flag, plain(addr))
}

// summary prints what a configuration would do. What only a guard refuses is
// found with one that remembers nothing.
func (c *proxyCmd) summary(a *app, cfg *proxy.Config) error {
	g, err := onceguard.New(a.ctx, memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		return err
	}
	failed := g.Close(a.ctx)
	if _, err := proxy.New(g, cfg, a.logger()); err != nil {
		return usageError("--config: %s: %w", plain(c.Config), trimmed(err))
	}
	for _, line := range cfg.Summary() {
		failed = errors.Join(failed, a.print("%s\n", line))
	}
	return failed
}
