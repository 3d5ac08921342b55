package cli

import (
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcpcall"
)

// mcpRepeatCmd is `onceguard mcp repeat`.
type mcpRepeatCmd struct {
	ID     string `arg:"" name:"request-id" help:"The request ID of the call that happened, req_…"`
	By     string `required:"" placeholder:"NAME" help:"Who allows it. Kept as evidence."`
	Reason string `required:"" placeholder:"TEXT" help:"Why. Kept as evidence."`
}

// Help is shown below the flags.
func (mcpRepeatCmd) Help() string {
	return `A tool call that succeeded is not run again because a model asks once more. This lets the next such call run, as a new occurrence that is guarded like the first. The leave is good for an hour, and once.

Example:

  onceguard mcp repeat req_… --by alice --reason "the customer ordered twice"`
}

// Run is the command.
func (c *mcpRepeatCmd) Run(a *app) error {
	id, err := onceguard.ParseRequestID(c.ID)
	if err != nil {
		return usageError("%w", prefixless{err})
	}
	if strings.TrimSpace(c.By) == "" || strings.TrimSpace(c.Reason) == "" {
		return usageError("a person's decision needs --by NAME and --reason TEXT")
	}
	g, err := a.guard(mustExist, onceguard.Options{})
	if err != nil {
		return err
	}
	if err := mcpcall.Redeem(a.ctx, g, id, c.By, c.Reason); err != nil {
		if statusOf(err) == exitUnavailable {
			return unavailable("%w", trimmed(err))
		}
		return &failure{status: exitMismatch, text: trimmed(err).Error(), done: nothing, err: err}
	}
	a.say("the next call that repeats %s runs once more, within the hour", id)
	return nil
}
