package mcpcall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
	"github.com/onceguard/onceguard/internal/underway"
)

// Decision says how a transport treats calls of a tool.
type Decision uint8

// The decisions.
const (
	Guard Decision = iota // give the call to Do
	Pass                  // forward its bytes untouched
	Own                   // answer it with Helper: it never reaches the upstream
)

// Options configure a Gate. The zero value works.
type Options struct {
	// Elicit asks the host's user, not the model, whether a call that happened
	// already shall happen once more (MCP elicitation). Nil, or an error: the
	// answer says how a person allows it on the command line.
	Elicit func(ctx context.Context, c Call, q Question) (bool, error)
	// RepeatCommand is the command line by which a person allows a repeat; the
	// request ID is put after it. Default "onceguard mcp repeat".
	RepeatCommand string
	// NoHelpers keeps the two helper tools out of tools/list and unanswered.
	NoHelpers bool
	// StatusTool and OpenTool name the helper tools; RepeatArgument names the
	// argument that guarded tools get. Change them where a server uses the names.
	// Defaults: onceguard_status, onceguard_open, onceguard_repeat.
	StatusTool, OpenTool, RepeatArgument string
	// Log takes warnings, such as a changed tool definition. Default: slog.Default.
	Log *slog.Logger
}

// Question is what the host's user is asked about a repeat.
type Question struct {
	Tool      string
	RequestID onceguard.RequestID
	Message   string // one sentence, without the call's arguments
}

// Gate is the engine for one MCP server. It is safe for concurrent use.
type Gate struct {
	guard  *onceguard.Guard
	policy *mcppolicy.Policy
	opts   Options
	secret secret
	sealed bool // the store encrypts results
	seen   *seen

	running underway.Count
	telling sync.Map // RequestID to delivery: evidence on its way to the store
}

// New makes a gate. It reads from the store which tool definitions were seen
// before, so that what passes without the guard does not depend on a restart.
func New(ctx context.Context, g *onceguard.Guard, p *mcppolicy.Policy, o Options) (*Gate, error) {
	for _, d := range []struct {
		at    *string
		value string
	}{
		{&o.RepeatCommand, "onceguard mcp repeat"},
		{&o.StatusTool, "onceguard_status"},
		{&o.OpenTool, "onceguard_open"},
		{&o.RepeatArgument, "onceguard_repeat"},
	} {
		if *d.at == "" {
			*d.at = d.value
		}
	}
	if o.StatusTool == o.OpenTool {
		return nil, fmt.Errorf("both helper tools are named %q; give each its own name", o.StatusTool)
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	gate := &Gate{guard: g, policy: p, opts: o}
	if p.Server == "" {
		return nil, fmt.Errorf("the policy has no server name; make it with mcppolicy.Load or mcppolicy.Default")
	}
	key, err := g.DerivedKey(ctx, "mcp/1")
	if err != nil {
		return nil, err
	}
	gate.secret = key
	probe := []byte("probe")
	sealed, err := g.SealResult(ctx, onceguard.RequestID{}, typeJSON, probe)
	if err != nil {
		return nil, err
	}
	gate.sealed = !bytes.Equal(sealed.Body, probe)
	if gate.seen, err = gate.loadSeen(ctx); err != nil {
		return nil, fmt.Errorf("reading the tool definitions seen before: %w", err)
	}
	return gate, nil
}

// Decide is quick and reads nothing.
func (g *Gate) Decide(tool string) Decision {
	if !g.opts.NoHelpers && (tool == g.opts.StatusTool || tool == g.opts.OpenTool) && !g.seen.upstreamHas(tool) {
		return Own
	}
	if g.passes(tool) {
		return Pass
	}
	return Guard
}

// Close waits until forwarded calls are settled or ctx ends. It does not close
// the guard.
func (g *Gate) Close(ctx context.Context) error {
	select {
	case <-g.running.Idle():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("tool calls are still running; they become uncertain if this process ends now: %w", context.Cause(ctx))
	}
}

// scoped is the guard of a principal's receipts.
func (g *Gate) scoped(principal string) *onceguard.Guard {
	if principal == "" {
		return g.guard
	}
	return g.guard.Scoped(g.guard.Scope() + "/" + g.secret.short("principal", principal))
}

// Actions of the gate's rows.
const (
	actionCall = "mcp"      // receipts of calls
	actionName = "mcp-name" // names bound to them
	actionTool = "mcp-tool" // tool definitions seen
)

// action is the action of a tool's receipts: mcp/SERVER/TOOL.
func (g *Gate) action(tool string) string { return g.actionOf(actionCall, tool) }

// actionOf keeps a tool's name where an action can hold it, and else its digest.
func (g *Gate) actionOf(kind, tool string) string {
	action := kind + "/" + g.policy.Server
	if tool == "" {
		return action
	}
	plain := len(action)+1+len(tool) <= onceguard.MaxActionLen
	for i := range len(tool) {
		c := tool[i]
		plain = plain && ('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-' || c == '/')
	}
	if !plain {
		d := sha256.Sum256([]byte(tool))
		tool = "sha256-" + hex.EncodeToString(d[:16])
	}
	return action + "/" + tool
}
