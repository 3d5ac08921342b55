package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/onceguard/onceguard"
)

// answer is the end of a run: it prints a replay, says what is recorded, writes
// the status file, and returns the exit status.
func (r *runner) answer(g *onceguard.Guard, receipt onceguard.Receipt[output], err error) error {
	v := r.verdictOf(receipt, err)
	var lines []string
	switch {
	case r.outcome != nil:
		r.say1(&lines, r.recorded(g, receipt, err, &v))
	default:
		lines = append(lines, r.notRun(receipt, err, &v)...)
	}
	unsettled := errors.Is(err, onceguard.ErrUnsettled)
	if r.outcome != nil {
		r.drainStreams(&lines)
	}
	r.drain(g, unsettled)
	r.speak(lines, v)
	if serr := r.status.write(v); serr != nil {
		r.say("warning: --status-file: %v", serr)
	}
	return silent(v.Exit)
}

func (r *runner) say1(lines *[]string, more []string) { *lines = append(*lines, more...) }

// drainStreams passes on what is left of the command's output. From here on a
// signal ends this process as usual: everything is recorded.
func (r *runner) drainStreams(lines *[]string) {
	r.relay.release()
	if r.outcome.open {
		r.say("the command has ended and something it started still holds its output; passing it on until that ends (^C stops this; the outcome is recorded)")
	}
	r.child.flush()
	for _, s := range []*stream{r.child.out, r.child.err} {
		if err := s.failure(); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, io.ErrClosedPipe) {
			*lines = append(*lines, fmt.Sprintf("warning: passing the output on failed: %v", err))
		}
	}
}

// recorded says what the record is after the command ran in this call.
func (r *runner) recorded(g *onceguard.Guard, receipt onceguard.Receipt[output], err error, v *verdict) []string {
	v.Exit, v.Ran = r.outcome.code, true
	v.ExitCode, v.Signal = &r.outcome.code, r.outcome.signal
	name := r.named()
	var e *onceguard.Error
	if !errors.As(err, &e) && err != nil {
		return []string{fmt.Sprintf("%s: %v", name, err)}
	}
	if receipt.Replayed {
		return []string{fmt.Sprintf("%s: another outcome was recorded first (%s, by %s); the one of this call is kept as evidence", name, receipt.State, plain(receipt.SettledBy))}
	}
	switch {
	case err == nil:
		return append([]string{fmt.Sprintf("recorded: succeeded: %s, attempt %d, %s", name, receipt.Attempt, r.outcome)}, r.cutNote(receipt.Value)...)
	case e.Code == onceguard.ErrRefused:
		return append([]string{fmt.Sprintf("recorded: refused for good: %s, attempt %d, %s; a new try of the business needs a new key", name, e.Attempt, r.outcome)}, r.cutNote(receipt.Value)...)
	case e.Code == onceguard.ErrNotExecuted:
		return []string{fmt.Sprintf("recorded: released: %s, attempt %d, %s, declared as not executed; the same call may try again", name, e.Attempt, r.outcome)}
	case e.Code == onceguard.ErrUncertain && e.State == onceguard.Claimed:
		return append([]string{fmt.Sprintf("recorded: outcome unknown: %s, attempt %d, %s; the next call starts another attempt (policy %s)", name, e.Attempt, r.outcome, r.request.Policy.Kind)}, r.classifyHint())
	case e.Code == onceguard.ErrUncertain:
		return r.afterUnknown(g, e, v)
	case e.Code == onceguard.ErrUnsettled:
		return []string{fmt.Sprintf("%s, attempt %d, %s: the outcome is known and was not stored at once", name, e.Attempt, r.outcome)}
	}
	return []string{fmt.Sprintf("%s: %s", name, e.Error())}
}

// afterUnknown is for an attempt of this call that nobody can classify, after
// the lookup, if there is one.
func (r *runner) afterUnknown(g *onceguard.Guard, e *onceguard.Error, v *verdict) []string {
	if rec, ok := r.read(g); ok && rec.State != onceguard.Uncertain {
		v.State, v.Code, v.MayHaveRun = rec.State.String(), codeOf(rec.State), rec.State.MayHaveRun()
		v.SettledBy, v.Reason = rec.SettledBy, rec.Reason
		return []string{fmt.Sprintf("recorded: %s: %s, attempt %d, %s; settled by %s", rec.State, r.named(), rec.Attempt, r.outcome, plain(rec.SettledBy))}
	}
	lines := []string{fmt.Sprintf("recorded: UNCERTAIN: %s, attempt %d, %s, which does not say whether it happened", r.named(), e.Attempt, r.outcome)}
	lines = append(lines, r.resolveLines(e.Attempt)...)
	return append(lines, r.classifyHint())
}

func (r *runner) read(g *onceguard.Guard) (onceguard.Record, bool) {
	answers, err := g.Store().Get(r.app.ctx, []onceguard.RequestID{r.id})
	if err != nil || answers[0].Err != nil || answers[0].Outcome != onceguard.Found {
		return onceguard.Record{}, false
	}
	return answers[0].Record, true
}

// resolveLines are for copying.
func (r *runner) resolveLines(attempt int64) []string {
	line := func(what string) string {
		return fmt.Sprintf("  onceguard receipts resolve %s --attempt %d %s --by NAME --reason TEXT%s", r.id, attempt, what, r.at.flag())
	}
	return []string{
		"it is not run again by itself. Find out what happened, then settle it with one of:",
		line("--happened"),
		line("--did-not-happen"),
		line("--run-again"),
		"store " + plain(r.at.shown),
	}
}

// classifyHint names the flags that would have classified this exit.
func (r *runner) classifyHint() string {
	code := r.outcome.code
	hint := fmt.Sprintf("--not-executed-on %d (surely nothing was done) or --refused-on %d (refused for good)", code, code)
	if r.outcome.signal == "" {
		hint += " or --every-exit-is-final (each exit code is a result)"
	}
	return "what would have classified this exit, if it is so documented: " + hint
}

func (r *runner) cutNote(o output) []string {
	if o.Left == leftTooLong {
		return []string{fmt.Sprintf("its output of %d bytes is more than --max-output %d and is not kept: a replay exits with %d and prints none", o.StdoutBytes+o.StderrBytes, r.cmd.MaxOutput, exitNoResult)}
	}
	if o.Open {
		return []string{"something that the command started still held its output at its end; what that writes is passed on and not kept"}
	}
	return nil
}

// notRun says why this call ran nothing; for a receipt it prints the replay.
func (r *runner) notRun(receipt onceguard.Receipt[output], err error, v *verdict) []string {
	name := r.named()
	var e *onceguard.Error
	var cause *interrupted
	var start *startError
	switch {
	case err == nil:
		return r.replay(receipt, v)
	case errors.As(err, &cause):
		v.Code, v.Exit = "interrupted", cause.status()
		return []string{fmt.Sprintf("%s: ended by %v before the command started; nothing was run", name, cause)}
	case errors.As(err, &start):
		v.Code, v.Exit = "not-started", start.status
		return []string{start.text, fmt.Sprintf("recorded: released: %s; the same call may try again", name)}
	case !errors.As(err, &e):
		v.Exit = statusOf(err)
		return []string{fmt.Sprintf("%s: %v", name, err)}
	}
	v.Exit = statusOfCode(e.Code)
	switch e.Code {
	case onceguard.ErrRefused:
		return r.replayRefusal(receipt, e, v)
	case onceguard.ErrUncertain:
		lines := []string{fmt.Sprintf("UNCERTAIN: %s, attempt %d, since %s: %s; nothing was run by this call", name, e.Attempt, stamp(e.Since), plain(orElse(e.Reason, "the outcome is unknown")))}
		return append(lines, r.resolveLines(e.Attempt)...)
	case onceguard.ErrMismatch:
		return []string{fmt.Sprintf("mismatch: %s was used with another command line or input; nothing was run by this call; give a new intention a new key, or repeat the first call exactly (store %s)", name, plain(r.at.shown))}
	case onceguard.ErrInProgress:
		return []string{fmt.Sprintf("in progress: %s, attempt %d is running; nothing was run by this call; ask again in %s with the same key", name, e.Attempt, e.RetryAfter.Round(time.Second))}
	case onceguard.ErrFrozen:
		return []string{
			fmt.Sprintf("frozen: %s: the store may have forgotten claims (failover, restore or copy); nothing was run", name),
			fmt.Sprintf("look at it with `onceguard doctor%s`, then `onceguard store acknowledge --epoch EPOCH --by NAME --reason TEXT%s`", r.at.flag(), r.at.flag()),
		}
	case onceguard.ErrNoResult:
		return []string{fmt.Sprintf("no result: %s is %s since %s and %s; nothing was run by this call", name, e.State, stamp(e.Since), plain(e.Reason))}
	}
	return []string{plain(strings.TrimPrefix(e.Error(), "onceguard: "))}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// named is the request for people.
func (r *runner) named() string {
	return fmt.Sprintf("%s %s (%s)", r.request.Action, r.request.Key, r.id)
}

// speak prints the lines, or the verdict as JSON in their place.
func (r *runner) speak(lines []string, v verdict) {
	if r.cmd.JSON {
		v.Message = strings.Join(lines, "\n")
		_ = jsonLine(r.stderr, v)
		return
	}
	if r.cmd.Quiet && v.Code == codeOK {
		return
	}
	for _, l := range lines {
		r.say("%s", l)
	}
}

// refused ends a run before the guard was asked.
func (r *runner) refused(err error) error {
	v := r.verdictOf(onceguard.Receipt[output]{}, err)
	v.Exit = statusOf(err)
	v.Message = strings.TrimPrefix(err.Error(), "onceguard: ")
	if serr := r.status.write(v); serr != nil {
		r.say("warning: --status-file: %v", serr)
	}
	if r.cmd.JSON {
		_ = jsonLine(r.stderr, v)
		return silent(v.Exit)
	}
	return err
}
