package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/process"
)

// receiptsResolveCmd is `onceguard receipts resolve`.
type receiptsResolveCmd struct {
	oneRequest

	Happened  bool   `group:"Decision" help:"It happened: the receipt is succeeded."`
	Refused   bool   `group:"Decision" help:"The downstream refused it for good: the receipt is failed."`
	NeverWill bool   `group:"Decision" name:"never-will" aliases:"did-not-happen" help:"It did not happen and cannot any more: failed, or released where the action runs again after that. Also spelled --did-not-happen."`
	RunAgain  bool   `group:"Decision" help:"Let it run again although it may have happened. Marks the receipt for good; wants the request ID typed again."`
	Result    string `placeholder:"FILE|-" help:"With --happened: the result that replays give, byte for byte."`

	Attempt int64  `placeholder:"N" help:"The attempt that you looked at: if the record moved on, nothing changes. Asked for on a terminal."`
	By      string `placeholder:"NAME" help:"Who decides. Kept as evidence and shown on every replay. Required."`
	Reason  string `placeholder:"TEXT" help:"Why. Kept as evidence and shown on every replay. Required."`
	Confirm string `placeholder:"REQUEST-ID" help:"With --run-again, in place of typing: the request ID."`
	JSON    bool   `help:"Print the receipt as JSON afterwards."`
}

// Help is shown below the flags.
func (receiptsResolveCmd) Help() string {
	return `Only an uncertain request can be resolved. The decision is bound to the attempt that you looked at.

Example:

  onceguard receipts resolve req_… --attempt 1 --happened --by alice --reason "refund re_81 is in the provider's dashboard"`
}

// verdict is the one decision that was given.
func (c *receiptsResolveCmd) verdict() (onceguard.ResolveVerdict, error) {
	var found []onceguard.ResolveVerdict
	for _, d := range []struct {
		given   bool
		verdict onceguard.ResolveVerdict
	}{
		{c.Happened, onceguard.ResolveHappened},
		{c.Refused, onceguard.ResolveRefused},
		{c.NeverWill, onceguard.ResolveNeverWill},
		{c.RunAgain, onceguard.ResolveRunAgain},
	} {
		if d.given {
			found = append(found, d.verdict)
		}
	}
	switch {
	case len(found) != 1:
		return 0, usageError("give one decision: --happened, --refused, --did-not-happen or --run-again")
	case c.Result != "" && !c.Happened:
		return 0, usageError("--result belongs to --happened")
	case strings.TrimSpace(c.By) == "" || strings.TrimSpace(c.Reason) == "":
		return 0, usageError("a person's decision needs --by NAME and --reason TEXT: both are shown on every replay")
	case c.Attempt < 0:
		return 0, usageError("--attempt is %d; attempts count from 1", c.Attempt)
	}
	return found[0], nil
}

// Run is the command.
func (c *receiptsResolveCmd) Run(a *app) error {
	verdict, err := c.verdict()
	if err != nil {
		return err
	}
	id, err := c.id()
	if err != nil {
		return err
	}
	result, err := c.result(a)
	if err != nil {
		return err
	}
	g, err := a.guard(mustExist, onceguard.Options{})
	if err != nil {
		return err
	}
	rec, err := a.uncertainNow(g, id)
	if err != nil {
		return err
	}
	attempt, err := c.confirm(a, rec, verdict)
	if err != nil {
		return err
	}
	after, err := g.Resolve(a.ctx, onceguard.Resolution{ID: id, Attempt: attempt, Verdict: verdict, By: c.By, Reason: c.Reason, Result: result})
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(viewOf(after, false))
	}
	a.say("%s is %s now, by %s: %s", id, after.State, plain(after.SettledBy), plain(c.Reason))
	if verdict == onceguard.ResolveRunAgain {
		a.say("the next call with this key starts attempt %d", after.Attempt+1)
	}
	return nil
}

func (c *receiptsResolveCmd) result(a *app) (onceguard.Result, error) {
	if c.Result == "" {
		return onceguard.Result{Missing: onceguard.BodyNotKept}, nil
	}
	var body []byte
	var err error
	if c.Result == "-" {
		body, err = readAtMost(a.stdin, maxOutput)
	} else {
		var f *os.File
		if f, err = os.Open(c.Result); err == nil {
			body, err = readAtMost(f, maxOutput)
			_ = f.Close()
		}
	}
	if err != nil {
		return onceguard.Result{}, usageError("--result: %w", err)
	}
	return onceguard.NewResult("given by operator", body), nil
}

// uncertainNow reads the record, and parks a claim that may be parked: its lease
// is over, or its owner is dead on this host.
func (a *app) uncertainNow(g *onceguard.Guard, id onceguard.RequestID) (onceguard.Record, error) {
	answer, err := a.get(g.Store(), id)
	if err != nil {
		return onceguard.Record{}, err
	}
	rec := answer.Record
	if rec.State == onceguard.Claimed {
		if rec.LeaseLeft(answer.Now) <= 0 {
			_, err = g.Sweeper(onceguard.SweeperOptions{}).Sweep(a.ctx)
		} else if owners, perr := process.ParseList(rec.Process); perr == nil && process.AllDead(owners) {
			_, err = g.Store().Resolve(a.ctx, onceguard.Resolution{
				ID: id, Attempt: rec.Attempt, Verdict: onceguard.ResolvePark, Who: onceguard.BySweeper, Reason: "the owner's process is dead on this host",
			})
		}
		if err != nil {
			return rec, a.storeErr(err)
		}
		if answer, err = a.get(g.Store(), id); err != nil {
			return rec, err
		}
		rec = answer.Record
	}
	switch {
	case rec.State == onceguard.Uncertain:
		return rec, nil
	case rec.State == onceguard.Claimed && rec.LeaseLeft(answer.Now) <= 0:
		return rec, &failure{status: exitInProgress, done: nothing, text: fmt.Sprintf("%s: attempt %d is lost and the policy %s lets the next call start another: repeat the call in place of resolving", id, rec.Attempt, rec.Policy.Kind)}
	case rec.State == onceguard.Claimed:
		return rec, &failure{status: exitInProgress, done: nothing, text: fmt.Sprintf("%s: attempt %d may be running, its lease has %s left: wait for it, then resolve", id, rec.Attempt, age(rec.LeaseLeft(answer.Now)))}
	case rec.State == onceguard.Released:
		return rec, &failure{status: exitMismatch, done: nothing, text: fmt.Sprintf("%s is released: nothing happened, and a call with its key may run it", id)}
	}
	return rec, &failure{status: exitMismatch, done: nothing, text: fmt.Sprintf("%s is %s already, by %s at %s: final receipts never change", id, rec.State, plain(rec.SettledBy), stamp(rec.Since))}
}

// confirm binds the decision to the attempt that the person saw.
func (c *receiptsResolveCmd) confirm(a *app, rec onceguard.Record, verdict onceguard.ResolveVerdict) (int64, error) {
	onTerminal := terminal(a.stdin) && terminal(a.stderr)
	if c.Attempt != 0 && c.Attempt != rec.Attempt {
		return 0, &failure{status: exitMismatch, done: nothing, text: fmt.Sprintf("you looked at attempt %d and the record is at attempt %d: look again with `onceguard receipts show %s%s`, then decide", c.Attempt, rec.Attempt, rec.ID, a.at.flag())}
	}
	if c.Attempt == 0 && !onTerminal {
		return 0, usageError("give --attempt N, the attempt that you looked at; `onceguard receipts show %s%s` says it", rec.ID, a.at.flag())
	}
	if c.Attempt == 0 {
		a.say("%s %s (%s): uncertain since %s, attempt %d: %s", rec.Action, readableKey(rec.Key), rec.ID, stamp(rec.Since), rec.Attempt, plain(rec.Reason))
	}
	if verdict == onceguard.ResolveRunAgain {
		return rec.Attempt, c.confirmRunAgain(a, rec, onTerminal)
	}
	if c.Attempt == 0 {
		typed, err := a.ask("record %s for attempt %d? Type yes: ", verdict, rec.Attempt)
		if err != nil || typed != "yes" {
			return 0, usageError("not confirmed")
		}
	}
	return rec.Attempt, nil
}

func (c *receiptsResolveCmd) confirmRunAgain(a *app, rec onceguard.Record, onTerminal bool) error {
	a.say("run again: attempt %d may have happened. This waives the guarantee for %s %s, for good and on record:", rec.Attempt, rec.Action, readableKey(rec.Key))
	a.say("a second effect is possible. An owner that is only paused can still send, whatever is decided here.")
	typed := c.Confirm
	if typed == "" {
		if !onTerminal {
			return usageError("--run-again wants the request ID again: --confirm %s", rec.ID)
		}
		var err error
		if typed, err = a.ask("type the request ID to confirm: "); err != nil {
			return usageError("not confirmed: %w", err)
		}
	}
	if typed != rec.ID.String() {
		return usageError("not confirmed: %q is not the request ID", short(typed, 60))
	}
	return nil
}

// ask prompts on standard error and reads one line.
func (a *app) ask(format string, args ...any) (string, error) {
	fmt.Fprintf(a.stderr, "onceguard: "+format, args...)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if errors.Is(err, io.EOF) && line != "" {
		err = nil
	}
	return strings.TrimSpace(line), err
}
