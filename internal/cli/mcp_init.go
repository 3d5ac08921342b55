package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/onceguard/onceguard/internal/mcppolicy"
	"github.com/onceguard/onceguard/internal/mcpproxy"
)

// mcpInitCmd is `onceguard mcp init`.
type mcpInitCmd struct {
	Out               string        `placeholder:"FILE|-" default:"tools.yaml" help:"Where the policy file goes; - is standard output. Default: ${default}."`
	Force             bool          `help:"Replace the file if it exists."`
	Server            string        `placeholder:"NAME" help:"The server's name, part of every receipt's identity. Default: made from the command line or the URL."`
	Yes               bool          `help:"Ask nothing: tools that say that they only read pass, and isError leaves the outcome unknown."`
	Upstream          string        `placeholder:"URL" help:"The endpoint of a server over streamable HTTP, in place of a command."`
	InsecureUpstream  bool          `help:"Let --upstream be plain http on another host."`
	AuthorizationFile string        `placeholder:"FILE" help:"File with the value of the header Authorization for --upstream, such as: Bearer TOKEN."`
	Timeout           time.Duration `default:"2m" placeholder:"DURATION" help:"How long the server may take to list its tools; npx may have to fetch it first. Default: ${default}."`

	Command []string `arg:"" optional:"" name:"command" help:"The server's command and its arguments, after --."`
}

// Help is shown below the flags.
func (mcpInitCmd) Help() string {
	return `Asks the server for its tools and writes a policy file with their definitions pinned. On a terminal it asks, for each tool, whether it passes, and what an answer with isError means.

Examples:

  onceguard mcp init -- npx -y @modelcontextprotocol/server-filesystem ~/notes
  onceguard mcp init --yes --out crm.yaml --upstream https://mcp.example.com/mcp`
}

// Run is the command.
func (c *mcpInitCmd) Run(a *app) error {
	asks := !c.Yes && terminal(a.stdin) && terminal(a.stderr)
	if !asks && !c.Yes {
		return usageError("there is no terminal to ask on; add --yes for the careful defaults, and edit the file")
	}
	if c.Out != "-" && !c.Force {
		if _, err := os.Lstat(c.Out); !errors.Is(err, fs.ErrNotExist) {
			return usageError("--out %s exists; name another file, or add --force", plain(c.Out))
		}
	}
	name := c.Server
	if name == "" {
		name = serverName(c.Command, c.Upstream)
	}
	lists, err := listTools(a, c.Command, c.Upstream, c.InsecureUpstream, c.AuthorizationFile, c.Timeout)
	if err != nil {
		return err
	}
	answers := mcppolicy.Answers{}
	if asks {
		if answers, err = a.askTools(lists); err != nil {
			return err
		}
	}
	text, err := mcppolicy.Draft(name, answers, lists...)
	if err != nil {
		return usageError("the server's tools make no policy: %w", err)
	}
	if c.Out == "-" {
		_, err := io.WriteString(a.stdout, text)
		return err
	}
	if err := writeNew(c.Out, text, c.Force); err != nil {
		return usageError("--out: %w", err)
	}
	a.say("wrote %s; read it, then start with: onceguard mcp --config %s …", plain(c.Out), quoteArg(c.Out))
	return nil
}

// listTools asks the server of a command or a URL.
func listTools(a *app, command []string, upstream string, insecure bool, authFile string, limit time.Duration) ([]json.RawMessage, error) {
	if (upstream == "") == (len(command) == 0) {
		return nil, usageError("name the server: its command after --, or --upstream URL")
	}
	ctx, stop := a.interruptible()
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var lists []json.RawMessage
	var err error
	if upstream != "" {
		at, uerr := upstreamURL(upstream, insecure)
		if uerr != nil {
			return nil, uerr
		}
		header, uerr := authorization(authFile)
		if uerr != nil {
			return nil, uerr
		}
		lists, err = mcpproxy.ListHTTP(ctx, at, header)
	} else {
		lists, err = mcpproxy.ListStdio(ctx, command, a.env.with(a.storeEnv()...), a.stderr)
	}
	var cannot *mcpproxy.CannotStart
	switch {
	case errors.As(err, &cannot) && cannot.NotFound():
		return nil, &failure{status: exitNotFound, text: err.Error(), done: nothing, err: err}
	case errors.As(err, &cannot):
		return nil, &failure{status: exitCannotStart, text: err.Error(), done: nothing, err: err}
	case err != nil:
		return nil, unavailable("the server's tools cannot be listed: %w", err)
	}
	return lists, nil
}

// askTools asks about each tool. An empty answer is the careful default.
func (a *app) askTools(lists []json.RawMessage) (mcppolicy.Answers, error) {
	tools, err := mcppolicy.Survey(lists...)
	answers := mcppolicy.Answers{Pass: map[string]bool{}, IsError: map[string]mcppolicy.IsError{}}
	if err != nil {
		return answers, usageError("the server's tools cannot be read: %w", err)
	}
	for _, t := range tools {
		usual, why := "guard", "it does not say that it only reads"
		if t.ReadOnly {
			usual, why = "pass", "it says that it only reads"
		}
		a.say("%s: %s", plain(t.Name), plain(short(t.Description, 100)))
		pass, err := a.choose("  pass or guard? "+why, usual, "pass", "guard")
		if err != nil {
			return answers, err
		}
		answers.Pass[t.Name] = pass == "pass"
		if pass == "pass" {
			continue
		}
		isError, err := a.choose("  what does an answer with isError mean? unknown: it may have happened; refused: it did not, for good; not-executed: it did not, try again; success: a result like any other",
			string(mcppolicy.IsErrorUnknown), string(mcppolicy.IsErrorUnknown), string(mcppolicy.IsErrorRefused), string(mcppolicy.IsErrorNotExecuted), string(mcppolicy.IsErrorSuccess))
		if err != nil {
			return answers, err
		}
		answers.IsError[t.Name] = mcppolicy.IsError(isError)
	}
	return answers, nil
}

// choose asks until the answer is one of those offered, or nothing.
func (a *app) choose(question, usual string, offered ...string) (string, error) {
	for {
		typed, err := a.ask("%s [%s]: ", question, usual)
		switch {
		case err != nil:
			return "", usageError("the questions were not answered")
		case typed == "":
			return usual, nil
		}
		for _, o := range offered {
			if typed == o {
				return o, nil
			}
		}
		a.say("  write one of: %s", strings.Join(offered, ", "))
	}
}

// printPolicy prints what a start with these flags would guard.
func (c *mcpProxyCmd) printPolicy(a *app, policy *mcppolicy.Policy) error {
	lists, err := listTools(a, c.Command, c.Upstream, c.InsecureUpstream, "", 2*time.Minute)
	if err != nil {
		return err
	}
	tools, err := mcppolicy.Survey(lists...)
	if err != nil {
		return usageError("the server's tools cannot be read: %w", err)
	}
	failed := a.print("server %s\n", plain(policy.Server))
	for _, t := range tools {
		how := policy.Tool(t.Name)
		mode, why := "guard", ""
		switch {
		case policy.File && !how.Guard:
			mode = "pass"
		case !policy.File && !policy.Strict && t.ReadOnly:
			mode, why = "pass", " (it says that it only reads)"
		case !how.Named && policy.File:
			why = " (not named in the policy file)"
		}
		if how.Pin != "" && how.Pin != t.Pin {
			why += " (its definition is not the pinned one)"
		}
		failed = errors.Join(failed, a.print("%-5s  %s%s\n", mode, plain(t.Name), why))
	}
	return failed
}
