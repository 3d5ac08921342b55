package cli

import (
	"time"

	"github.com/onceguard/onceguard"
)

// receiptsReconcileCmd is `onceguard receipts reconcile`.
type receiptsReconcileCmd struct {
	Action  string        `required:"" placeholder:"NAME" help:"The action whose uncertain requests are asked about, in all scopes."`
	MinAge  span          `placeholder:"DURATION" help:"Only those uncertain for at least so long."`
	Timeout time.Duration `default:"30s" placeholder:"DURATION" help:"After this a lookup is killed and counts as unknown."`
	MaxOut  byteSize      `name:"max-output" default:"1MiB" placeholder:"SIZE" help:"Most output that is kept as the result."`
	JSON    bool          `help:"Print JSON: {store, uncertain, asked, settled, other_actions, failed}."`
	Command []string      `arg:"" name:"command" help:"The lookup and its arguments, after --."`
}

// Help is shown below the flags.
func (receiptsReconcileCmd) Help() string {
	return `The command runs once per uncertain request, with ONCEGUARD_REQUEST_ID, _SCOPE, _ACTION, _KEY, _DOWNSTREAM_KEY, _ATTEMPT, _ATTEMPTS (JSON), _CHECKPOINTS (JSON, base64) and _UNCERTAIN_SECONDS in its environment, and the kept input, if any, on standard input. It answers by its exit code: 0 happened (its output is the result), 10 never will, 11 not seen, anything else unknown. 10 is allowed only if the lookup itself made it impossible: "not found" alone is 11.

Example:

  onceguard receipts reconcile --action refund.create -- ./find-refund.sh`
}

// reconcileView is the JSON of a pass.
type reconcileView struct {
	Store     string `json:"store"`
	Uncertain int    `json:"uncertain"`
	Asked     int    `json:"asked"`
	Settled   int    `json:"settled"`
	Others    int    `json:"other_actions"`
	Failed    int    `json:"failed"`
}

// Run is the command.
func (c *receiptsReconcileCmd) Run(a *app) error {
	if c.Command[0] == "" {
		return usageError("the lookup after -- is empty")
	}
	if c.Timeout <= 0 {
		return usageError("--timeout is %s; it must be positive", c.Timeout)
	}
	if c.MaxOut > maxOutput {
		return usageError("--max-output is %d bytes; at most %d (64MiB) can be kept", c.MaxOut, maxOutput)
	}
	if c.MinAge.forever() {
		return usageError("--min-age takes a duration such as 1h")
	}
	if _, err := a.env.lookPath(c.Command[0]); err != nil {
		return usageError("the lookup %s cannot be started: %w", plain(c.Command[0]), err)
	}
	g, err := a.guard(mustExist, onceguard.Options{Codec: runCodec{}})
	if err != nil {
		return err
	}
	command := lookupCommand{
		app: a, argv: c.Command, timeout: c.Timeout, limit: int64(c.MaxOut),
		say: func(q onceguard.Query, f onceguard.Finding, reason string) {
			a.say("%s %s (%s): %s (%s)", q.Action, q.Key, q.RequestID, f, plain(reason))
		},
	}
	action := onceguard.Action[struct{}, output]{Name: c.Action, Reconcile: command.ask}
	// One at a time: the lookups share standard error, and many are not made to
	// run beside themselves.
	r, err := g.Reconciler(onceguard.ReconcilerOptions{MinAge: time.Duration(c.MinAge), Timeout: c.Timeout + 5*time.Second, Concurrency: 1}, action)
	if err != nil {
		return err
	}
	ctx, stop := a.interruptible()
	defer stop()
	stats, err := r.Once(ctx)
	if err != nil {
		return a.storeErr(err)
	}
	v := reconcileView{a.at.shown, stats.Uncertain, stats.Asked, stats.Settled, stats.Unregistered, stats.Failed}
	if c.JSON {
		if err := a.printJSON(v); err != nil {
			return err
		}
	} else {
		a.say("%d uncertain in %s: asked about %d, settled %d, %d of other actions", v.Uncertain, plain(v.Store), v.Asked, v.Settled, v.Others)
	}
	if stats.Failed > 0 {
		return &failure{status: exitFailed, text: "some lookups failed or could not be stored; those requests stay as they are", quiet: c.JSON}
	}
	return nil
}
