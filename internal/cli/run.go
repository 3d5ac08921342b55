package cli

import (
	"time"

	"github.com/onceguard/onceguard"
)

// runCmd is `onceguard run`. Its parts: run_request.go builds the request,
// run_effect.go is the effect, run_stream.go captures, run_result.go is what a
// receipt keeps, run_report.go speaks, run_reconcile.go asks what happened.
type runCmd struct {
	Action  string   `required:"" placeholder:"NAME" help:"The named kind of effect, such as refund.create. It is identity: never rename it."`
	Key     []string `sep:"none" placeholder:"KEY" help:"Which effect: order=A-1 (repeat the flag for further parts), or any other text as it is. The same on every retry."`
	RawKey  string   `placeholder:"TEXT" help:"Which effect, as one text that is never taken apart."`
	KeyFrom []string `sep:"none" placeholder:"[NAME=]POINTER" help:"A key part from the JSON of --input, by RFC 6901 pointer: /order/id is the part order.id."`
	Scope   string   `default:"default" placeholder:"SCOPE" help:"Tenant or namespace."`
	Issued  string   `name:"issued-at" placeholder:"TIME" help:"When the intention arose (RFC 3339), such as a webhook's event time: older than the store's memory is never run."`

	Policy            string        `default:"at-most-once" enum:"at-most-once,safe-retry,rerun" help:"What may follow an attempt of unknown outcome: at-most-once (nothing by itself), safe-retry (another attempt with the same downstream key), rerun (declared harmless to repeat)."`
	Horizon           span          `placeholder:"DURATION" help:"safe-retry: how long the downstream honours a key; its documentation says."`
	RemembersRefusals string        `enum:"true,false," default:"" placeholder:"true|false" help:"safe-retry: whether the downstream keeps refusing a key that it refused once."`
	MaxAttempts       int           `placeholder:"N" help:"safe-retry, rerun: attempts before the request is parked as uncertain (default 5)."`
	RunAfterNeverWill bool          `help:"A lookup's 'never will' releases the request for a fresh run under a new downstream key, instead of settling it."`
	Lease             time.Duration `default:"60s" placeholder:"DURATION" help:"How long others leave the claim alone if this process vanishes; renewed while the command runs. At least 10s."`
	MaxRun            time.Duration `default:"24h" placeholder:"DURATION" help:"After this the command gets SIGTERM and the request is parked; a late outcome still counts."`
	Wait              *waitFlag     `placeholder:"DURATION" help:"How long a duplicate waits for the first call (default 30s); 0s answers at once with 75."`

	NotExecutedOn    []int `placeholder:"CODES" help:"Exit codes that mean: surely nothing was done, try again freely. As the shell shows them: a signal is 128 more than its number."`
	RefusedOn        []int `placeholder:"CODES" help:"Exit codes that mean: refused for good, nothing was done. The refusal is replayed."`
	EveryExitIsFinal bool  `help:"Each exit code is a result to replay. A death by signal stays unknown."`

	Input     string   `placeholder:"FILE|-" help:"JSON that says what the request means; it counts for a mismatch, with the command line. From standard input (-) it is also passed to the command."`
	KeepInput bool     `help:"Keep the input in the store, for 'receipts reconcile' in another process."`
	MaxOutput byteSize `default:"1MiB" placeholder:"SIZE" help:"Most output that the receipt keeps. More is streamed and not kept, and a replay then exits with 78; 0 declares that replays need no output."`

	Reconcile        string        `placeholder:"CMD" help:"Shell command that finds out what became of an uncertain request: exit 0 happened (its output is the result), 10 never will, 11 not seen, else unknown."`
	ReconcileTimeout time.Duration `default:"30s" placeholder:"DURATION" help:"After this the lookup is killed and counts as unknown."`

	ResultRetention   span `default:"30d" placeholder:"DURATION" help:"How long the output is kept, from the settle; or forever."`
	IdentityRetention span `default:"400d" placeholder:"DURATION" help:"How long the request is remembered, from the settle; or forever."`

	DryRun     bool   `help:"Print the request ID, the fingerprint and what would happen. Claims nothing, runs nothing, makes no store."`
	StatusFile string `placeholder:"PATH" help:"Write the verdict as JSON, for callers whose command uses 64 to 78 itself."`
	Spool      string `placeholder:"DIR" help:"Keep outcomes that the store did not take, and send them at the next run. Default: $$ONCEGUARD_SPOOL, else none."`
	JSON       bool   `help:"Say the verdict as one JSON line on standard error, in place of text; with --dry-run on standard output."`
	Quiet      bool   `short:"q" help:"Say nothing about a success or its replay."`

	Command []string `arg:"" name:"command" help:"The command and its arguments, after --."`
}

// Help is shown below the flags.
func (runCmd) Help() string {
	return `The command's own exit status is the first caller's, and a replay's. onceguard's own conditions exit with 64 (usage), 65 (the key belongs to another command or input), 69 (store unavailable, nothing ran), 75 (in progress), 76 (uncertain), 78 (no result, expired or frozen).

Exit 0 is a success. Any other exit, and a death by signal, is unknown unless declared: the request is then uncertain and is not run again by itself.

Example:

  onceguard run --action refund.create --key order=A-1 --not-executed-on 75 -- ./refund.sh A-1`
}

// waitFlag is --wait: 0s is a value of its own.
type waitFlag time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *waitFlag) UnmarshalText(text []byte) error {
	var s span
	if err := s.UnmarshalText(text); err != nil {
		return err
	}
	if s.forever() {
		return usageError("a wait must end; write 30s or 5m")
	}
	*w = waitFlag(s)
	return nil
}

func (w *waitFlag) limit() time.Duration {
	switch {
	case w == nil:
		return onceguard.DefaultWait
	case *w == 0:
		return -1
	}
	return time.Duration(*w)
}

// Run is the command.
func (c *runCmd) Run(a *app) error {
	status, err := openStatusFile(c.StatusFile)
	if err != nil {
		return err
	}
	defer status.discard()
	r := &runner{app: a, cmd: c, status: status}
	if err := r.prepare(); err != nil {
		return r.refused(err)
	}
	if c.DryRun {
		return r.dryRun()
	}
	return r.run()
}
