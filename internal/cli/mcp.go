package cli

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/lmittmann/tint"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcppolicy"
	"github.com/onceguard/onceguard/internal/mcpproxy"
)

var _ = addCommands(&mcpCmds{})

// mcpCmds holds `onceguard mcp`.
type mcpCmds struct {
	MCP mcpCmd `cmd:"" name:"mcp" help:"Guard the tools of an MCP server: a transparent proxy in front of it."`
}

type mcpCmd struct {
	Proxy  mcpProxyCmd  `cmd:"" default:"withargs" help:"Stand between client and server. This is what 'onceguard mcp' does by itself."`
	Init   mcpInitCmd   `cmd:"" help:"Draft a policy file from a server's list of tools."`
	Repeat mcpRepeatCmd `cmd:"" help:"Allow, as a person, that a call which happened happens once more."`
}

type mcpProxyCmd struct {
	Config    string `placeholder:"FILE" help:"The policy file, YAML; 'onceguard mcp init' drafts it. Without it tools that say that they only read pass, and every other tool is guarded."`
	Server    string `placeholder:"NAME" help:"Without a policy file: the server's name, part of every receipt's identity. Default: made from the command line or the URL."`
	Strict    bool   `help:"Without a policy file: guard every tool, whatever it says about itself."`
	NoHelpers bool   `help:"Leave the tools onceguard_status and onceguard_open out."`
	Scope     string `placeholder:"SCOPE" help:"Tenant or namespace of all calls. Default on pipes: default. With --listen it declares that all callers are one tenant."`

	CreateStore bool `help:"Make the store where there is none. The default store is made by itself; a missing store that was named is an error, since an empty memory would run everything again."`

	Listen           string        `placeholder:"ADDR" group:"Streamable HTTP" help:"Where clients connect, such as 127.0.0.1:7071."`
	Upstream         string        `placeholder:"URL" group:"Streamable HTTP" help:"The server's endpoint, such as https://mcp.example.com/mcp."`
	ListenAnywhere   bool          `group:"Streamable HTTP" help:"Let --listen be an address that other hosts can reach."`
	ScopeHeader      string        `placeholder:"NAME" group:"Streamable HTTP" help:"The header that holds the caller, set by something in front that has authenticated it."`
	ScopeFromToken   bool          `group:"Streamable HTTP" help:"Tell callers apart by a keyed digest of their bearer token. A new token is a new caller, who shares no memory with the old one."`
	Host             []string      `placeholder:"NAME" group:"Streamable HTTP" help:"A further host name that clients may use in their URL."`
	AllowOrigin      []string      `placeholder:"ORIGIN" group:"Streamable HTTP" help:"A web origin besides this machine's whose pages may call."`
	InsecureUpstream bool          `group:"Streamable HTTP" help:"Let --upstream be plain http on another host: credentials travel in the clear."`
	Drain            time.Duration `default:"30s" placeholder:"DURATION" group:"Streamable HTTP" help:"How long running calls are waited for after SIGTERM or SIGINT. Default: ${default}."`

	PrintPolicy bool `help:"Ask the server for its tools, print which pass and which are guarded, and end. No store is opened."`

	Command []string `arg:"" optional:"" name:"command" help:"The server's command and its arguments, after --."`
}

// Help is shown below the flags.
func (mcpProxyCmd) Help() string {
	return `Put it in front of the command line of any MCP server, in the client's configuration. Everything passes as it is; calls of guarded tools run at most once, whatever dies, is retried or asked again. Standard output carries the protocol alone.

The exit status is the server's. When the client goes, guarded calls that were forwarded are waited for before the server is ended.

Examples:

  onceguard mcp -- npx -y @modelcontextprotocol/server-filesystem ~/notes
  onceguard mcp --config tools.yaml -- ./crm-server
  onceguard mcp --config tools.yaml --scope team --listen 127.0.0.1:7071 --upstream https://mcp.example.com/mcp`
}

// Run is the command.
func (c *mcpProxyCmd) Run(a *app) error {
	policy, err := c.policy()
	if err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.PrintPolicy {
		return c.printPolicy(a, policy)
	}
	log := slog.New(tint.NewTextHandler(a.stderr, &tint.Options{Level: c.level(a), TimeFormat: time.RFC3339, NoColor: !a.coloured(a.stderr)}))
	scope := c.Scope
	if scope == "" {
		scope = "default"
	}
	how, err := c.opening(a)
	if err != nil {
		return err
	}
	g, err := a.guard(how, onceguard.Options{Scope: scope, Observer: onceguard.SlogObserver(log)})
	if err != nil {
		return err
	}
	gate, err := mcpcall.New(a.ctx, g, policy, mcpcall.Options{NoHelpers: c.NoHelpers, Log: log, Elicit: mcpproxy.Elicit, RepeatCommand: "onceguard mcp repeat" + c.storeFlag(a)})
	if err != nil {
		return errors.Join(unavailable("%s: %w", plain(a.at.shown), trimmed(err)), g.Close(a.ctx))
	}
	stop := sweep(a.ctx, g)
	err = c.serve(a, policy, gate, log)
	stop()
	last, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), settleTime)
	defer cancel()
	if failed := errors.Join(gate.Close(last), g.Close(last)); failed != nil {
		a.say("warning: not everything could be stored at the end: %s", plain(trimmed(failed).Error()))
	}
	return err
}

// opening makes the default store by itself, as run does. One that was named is
// expected to be there.
func (c *mcpProxyCmd) opening(a *app) (opening, error) {
	at, err := a.chooseStore()
	if err != nil {
		return mustExist, err
	}
	if c.CreateStore || at.source == "default" {
		return mayCreate, nil
	}
	return mustExist, nil
}

// settleTime is what storing outcomes may take after the last call has ended.
const settleTime = 15 * time.Second

// sweep parks lost claims until the returned function is called.
func sweep(ctx context.Context, g *onceguard.Guard) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		_ = g.Sweeper(onceguard.SweeperOptions{}).Run(ctx) // it ends with its context
	}()
	return func() {
		cancel()
		<-swept
	}
}

// storeFlag names the store in lines that people copy into a shell, which does
// not have the environment that an MCP client gives to its servers.
func (c *mcpProxyCmd) storeFlag(a *app) string {
	if a.at.source == "default" {
		return ""
	}
	return " --store " + quoteArg(a.at.shown)
}

func (c *mcpProxyCmd) level(a *app) slog.Level {
	if a.globals.Verbose {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

func (c *mcpProxyCmd) serve(a *app, policy *mcppolicy.Policy, gate *mcpcall.Gate, log *slog.Logger) error {
	from := c.Config
	if from == "" {
		from = "no policy file"
	}
	a.say("mcp: guarding %s (%s), store %s", plain(policy.Server), plain(from), plain(a.at.shown))
	var hint func(json.RawMessage)
	if c.Config == "" {
		hint = c.hint(a, policy, gate)
	}
	if c.Listen != "" {
		return c.serveHTTP(a, gate, log, hint)
	}
	return c.serveStdio(a, gate, log, hint)
}

func (c *mcpProxyCmd) serveStdio(a *app, gate *mcpcall.Gate, log *slog.Logger, hint func(json.RawMessage)) error {
	signals, release := caughtSignals()
	defer release()
	status, err := (&mcpproxy.Stdio{
		Gate: gate, Command: c.Command, Env: a.env.with(a.storeEnv()...), Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr,
		Signals: signals, Log: log, Tools: hint,
	}).Run(a.ctx)
	var cannot *mcpproxy.CannotStart
	switch {
	case errors.As(err, &cannot) && cannot.NotFound():
		return &failure{status: exitNotFound, text: err.Error(), done: nothing, err: err}
	case err != nil:
		return &failure{status: exitCannotStart, text: err.Error(), done: nothing, err: err}
	}
	return silent(status)
}

// policy is that of the file, or the defaults.
func (c *mcpProxyCmd) policy() (*mcppolicy.Policy, error) {
	if c.Config != "" {
		if c.Strict || c.Server != "" {
			return nil, usageError("--strict and --server belong to a start without --config; the policy file says both")
		}
		p, err := mcppolicy.Load(c.Config)
		if err != nil {
			return nil, usageError("--config: %w", err)
		}
		return p, nil
	}
	name := c.Server
	if name == "" {
		name = serverName(c.Command, c.Upstream)
	}
	p, err := mcppolicy.Default(name, c.Strict)
	if err != nil {
		return nil, usageError("--server: %w", err)
	}
	return p, nil
}
