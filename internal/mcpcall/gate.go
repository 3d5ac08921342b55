package mcpcall

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
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
	// request ID is put after it.
	RepeatCommand string
	// NoHelpers keeps the two helper tools out of tools/list and unanswered.
	NoHelpers bool
	// StatusTool and OpenTool name the helper tools; RepeatArgument names the
	// argument that guarded tools get. Change them where a server uses the names.
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
type Gate struct{}

// New makes a gate. It reads from the store which tool definitions were seen
// before, so that what passes without the guard does not depend on a restart.
func New(ctx context.Context, g *onceguard.Guard, p *mcppolicy.Policy, o Options) (*Gate, error) {
	return &Gate{}, nil
}

// Decide is quick and reads nothing.
func (g *Gate) Decide(tool string) Decision { return Guard }

// Do takes a guarded call through the ladder and returns what to answer. It
// returns when there is an answer or ctx ends; ctx stands for the client's
// presence. A call that was forwarded goes on without its client, and its
// outcome is stored.
func (g *Gate) Do(ctx context.Context, c Call, up Upstream) Reply { return Reply{} }

// Delivered says that the reply was written to the client, whole and without an
// error. It returns when that is durable. Losing it is safe: a repeat of the
// call is then answered with the receipt, as a retry is.
func (g *Gate) Delivered(ctx context.Context, h Handle) error { return nil }

// Acknowledged says that the client whom the reply was written to has sent
// another request since, other than a repeat of the same call.
func (g *Gate) Acknowledged(ctx context.Context, h Handle) error { return nil }

// Tools sees the result of a tools/list and returns it as the client shall see
// it: the same bytes, but for the repeat argument in the schemas of guarded
// tools and the helper tools at the list's end.
func (g *Gate) Tools(ctx context.Context, result json.RawMessage) json.RawMessage { return result }

// Helper answers a call of one of the helper tools; params are those of the
// tools/call. They read, and change nothing.
func (g *Gate) Helper(ctx context.Context, principal string, params json.RawMessage) Reply {
	return Reply{}
}

// Task sees the result of a tasks/get, tasks/result, tasks/update or
// tasks/cancel, with the request's params, and settles the receipt of the call
// whose task has ended.
func (g *Gate) Task(ctx context.Context, principal, method string, params, result json.RawMessage) error {
	return nil
}

// Close waits until forwarded calls are settled or ctx ends. It does not close
// the guard.
func (g *Gate) Close(ctx context.Context) error { return nil }

// Redeem lets the next call that repeats the receipt id happen once more, in
// the name of a person: by and why are kept as evidence and shown. It refuses
// receipts that did not succeed or were repeated already.
func Redeem(ctx context.Context, g *onceguard.Guard, id onceguard.RequestID, by, why string) error {
	return nil
}
