package mcpguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcppolicy"
	"github.com/onceguard/onceguard/internal/underway"
)

// Options configure the guard of one MCP server, from either side.
type Options struct {
	// Server names the MCP server: up to 40 letters a-z, digits, '-', '_', '.'. It
	// is part of every receipt's identity and never changes. Required without a
	// Policy, which has it otherwise.
	Server string
	// Policy says how each tool is treated. Nil: tools that say that they only
	// read pass, and every other one is guarded.
	Policy *Policy
	// Strict, without a Policy, guards also the tools that say they only read.
	Strict bool

	// Scope returns whose call it is: receipts of one scope are invisible to all
	// others. Required for Receiving, where it must be the principal that the
	// transport authenticated, never something the call says: see TokenUser and
	// SingleTenant. An error, or an empty scope, refuses the call, and nothing
	// runs; "default" is the guard's own scope. Others are stored as keyed digests
	// below it. For Sending, nil is the guard's own: a host of one user.
	Scope func(ctx context.Context, req mcp.Request) (string, error)
	// Ask asks the host's user, never the model, whether a call that happened
	// shall happen once more, for tools with RepeatMoney. False or an error is a
	// no; the model is then told how a person allows it on the command line. Nil:
	// Receiving asks by elicitation where the client can (revisions before
	// 2026-07-28); Sending asks nobody.
	Ask func(ctx context.Context, q Question) (bool, error)

	// NoHelpers leaves out the two read-only tools, onceguard_status and
	// onceguard_open, that a model can ask what became of a call.
	NoHelpers bool
	// Log takes warnings, such as a changed tool definition. Default slog.Default.
	Log *slog.Logger
}

// Question is what a person is asked about a repeat.
type Question struct {
	Tool      string
	RequestID onceguard.RequestID // of the receipt of the call that happened
	Message   string              // one sentence, without the call's arguments
}

// singleTenant is the scope that stands for the guard's own.
const singleTenant = "default"

// SingleTenant is the Scope of a server with one tenant, such as one on stdio:
// its client is the user who started it.
func SingleTenant(context.Context, mcp.Request) (string, error) { return singleTenant, nil }

// TokenUser is the Scope of a server behind the SDK's bearer token middleware:
// the UserID that the verifier put into TokenInfo. A call without one is refused.
func TokenUser(_ context.Context, req mcp.Request) (string, error) {
	if extra := req.GetExtra(); extra != nil && extra.TokenInfo != nil && extra.TokenInfo.UserID != "" {
		return "user:" + extra.TokenInfo.UserID, nil
	}
	return "", errors.New("the request has no token with a user")
}

// Middleware guards the tool calls of one MCP server. It is safe for concurrent
// use, and one serves all sessions of a server or a client.
type Middleware struct {
	side
	gate  *mcpcall.Gate
	opts  Options
	tools learned
	tells underway.Count // evidence of delivery on its way to the store
}

// side is what differs between the two ends.
type side uint8

const (
	receiving side = iota
	sending
)

// Receiving makes the middleware of a server: give its Wrap to
// mcp.Server.AddReceivingMiddleware. What is added later lies further out: add it
// after middleware that changes what a tool does, and before that which refuses
// callers. It reads from the store which tool definitions were seen before; an
// error says what is wrong with the options, or that the store did not answer.
func Receiving(ctx context.Context, g *onceguard.Guard, o Options) (*Middleware, error) {
	if o.Scope == nil {
		return nil, errors.New("mcpguard: no Scope: it returns the principal of the authenticated caller, and without it callers would see each other's answers; a server with one tenant says mcpguard.SingleTenant")
	}
	return open(ctx, g, o, receiving)
}

// Sending makes the middleware of a host: give its Wrap to
// mcp.Client.AddSendingMiddleware. Use one client, and one Middleware, per
// server. The client's own loop over input_required (SEP-2322) lies inside it, so
// that a call with its questions and answers is one call, run at most once.
func Sending(ctx context.Context, g *onceguard.Guard, o Options) (*Middleware, error) {
	return open(ctx, g, o, sending)
}

func open(ctx context.Context, g *onceguard.Guard, o Options, s side) (*Middleware, error) {
	if g == nil {
		return nil, errors.New("mcpguard: no guard")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	var policy *mcppolicy.Policy
	var err error
	switch {
	case o.Policy == nil:
		policy, err = mcppolicy.Default(o.Server, o.Strict)
	case o.Server != "" && o.Server != o.Policy.parsed.Server:
		err = fmt.Errorf("Options.Server is %.60q and the policy's server %q; one name is enough, and two cannot be", o.Server, o.Policy.parsed.Server)
	case o.Strict:
		err = errors.New("the option Strict is for a guard without a policy; the policy says which tools pass")
	default:
		policy = o.Policy.parsed
	}
	if err != nil {
		return nil, fmt.Errorf("mcpguard: %w", err)
	}
	m := &Middleware{side: s, opts: o}
	m.gate, err = mcpcall.New(ctx, g, policy, mcpcall.Options{Elicit: m.ask, NoHelpers: o.NoHelpers, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("mcpguard: %w", err)
	}
	return m, nil
}

// Close waits until running tool calls are settled, or ctx ends: calls that still
// run when the process ends become uncertain. It stops nothing, and closes
// neither the guard nor the store. Call it after the server's or the client's
// sessions have ended.
func (m *Middleware) Close(ctx context.Context) error {
	if err := m.gate.Close(ctx); err != nil {
		return fmt.Errorf("mcpguard: %w", err)
	}
	select {
	case <-m.tells.Idle():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("mcpguard: that answers were delivered is not stored yet: %w", context.Cause(ctx))
	}
}
