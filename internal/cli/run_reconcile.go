package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/onceguard/onceguard"
)

// Exit codes of a lookup command.
const (
	lookupHappened  = 0
	lookupNeverWill = 10
	lookupNotSeen   = 11
)

// lookupCommand asks a command what became of an uncertain request.
type lookupCommand struct {
	*app
	argv    []string
	timeout time.Duration
	limit   int64     // of the output that is kept as the result
	input   *document // of this call; used where the store keeps none
	say     func(q onceguard.Query, finding onceguard.Finding, reason string)
}

// attemptJSON is one element of ONCEGUARD_ATTEMPTS.
type attemptJSON struct {
	Number int64   `json:"number"`
	Age    float64 `json:"age_seconds"` // since its claim; 0 where only its number is known
}

// ask runs the command. It gets the query in its environment, the input (if it
// is known) on standard input, and answers by its exit code; its standard error
// passes through.
func (l lookupCommand) ask(ctx context.Context, q onceguard.Query) (onceguard.Verdict[output], error) {
	v, err := l.run(ctx, q)
	reason := v.Reason
	if err != nil {
		reason = err.Error()
	}
	if l.say != nil {
		l.say(q, v.Finding, reason)
	}
	return v, err
}

func (l lookupCommand) run(ctx context.Context, q onceguard.Query) (onceguard.Verdict[output], error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	path, err := l.env.lookPath(l.argv[0])
	if err != nil {
		return onceguard.Verdict[output]{}, fmt.Errorf("the lookup %s cannot be started: %w", plain(l.argv[0]), err)
	}
	env, err := l.queryEnv(q)
	if err != nil {
		return onceguard.Verdict[output]{}, err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Env, cmd.Stderr = l.argv, env, l.stderr
	cmd.Stdin = bytes.NewReader(l.inputOf(q))
	out := &bounded{most: int(l.limit) + 1}
	cmd.Stdout = out
	ownGroup(cmd) // so that the timeout ends what the command started, too
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return onceguard.Verdict[output]{}, fmt.Errorf("the lookup took longer than %s and was killed", l.timeout)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return onceguard.Verdict[output]{}, fmt.Errorf("the lookup failed: %w", err)
	}
	end := endOf(cmd.ProcessState)
	reason := "lookup command: " + end.String()
	switch {
	case end.code == lookupHappened:
		return onceguard.Verdict[output]{Finding: onceguard.Happened, Value: out.output(l.limit), Reason: reason}, nil
	case end.code == lookupNeverWill:
		return onceguard.Verdict[output]{Finding: onceguard.NeverWill, Reason: reason}, nil
	case end.code == lookupNotSeen:
		return onceguard.Verdict[output]{Finding: onceguard.NotSeen, Reason: reason}, nil
	}
	return onceguard.Verdict[output]{Finding: onceguard.Unknown, Reason: reason}, nil
}

func (l lookupCommand) inputOf(q onceguard.Query) []byte {
	if len(q.Input) == 0 && l.input != nil {
		return l.input.raw
	}
	return q.Input
}

func (l lookupCommand) queryEnv(q onceguard.Query) ([]string, error) {
	attempts := []attemptJSON{}
	var latest int64
	for _, at := range q.Attempts {
		attempts = append(attempts, attemptJSON{at.Number, at.Age.Seconds()})
		latest = max(latest, at.Number)
	}
	list, err := json.Marshal(attempts)
	if err != nil {
		return nil, err
	}
	checkpoints := q.Checkpoints
	if checkpoints == nil {
		checkpoints = [][]byte{}
	}
	notes, err := json.Marshal(checkpoints) // base64
	if err != nil {
		return nil, err
	}
	set := []string{
		"ONCEGUARD_REQUEST_ID=" + q.RequestID.String(),
		"ONCEGUARD_DOWNSTREAM_KEY=" + q.DownstreamKey,
		"ONCEGUARD_ATTEMPT=" + strconv.FormatInt(latest, 10),
		"ONCEGUARD_ATTEMPTS=" + string(list),
		"ONCEGUARD_CHECKPOINTS=" + string(notes),
		"ONCEGUARD_SCOPE=" + q.Scope,
		"ONCEGUARD_ACTION=" + q.Action,
		"ONCEGUARD_KEY=" + keyText(q.Key),
		"ONCEGUARD_UNCERTAIN_SECONDS=" + strconv.FormatFloat(q.UncertainFor.Seconds(), 'f', 3, 64),
	}
	return l.env.with(append(set, l.storeEnv()...)...), nil
}

// bounded keeps the first bytes and counts the rest.
type bounded struct {
	most  int
	kept  bytes.Buffer
	total int64
}

func (b *bounded) Write(p []byte) (int, error) {
	b.total += int64(len(p))
	if room := b.most - b.kept.Len(); room > 0 {
		b.kept.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (b *bounded) output(limit int64) output {
	o := plainOutput(b.kept.Bytes(), limit)
	o.StdoutBytes = b.total
	if o.Left != "" {
		o.StdoutSHA256 = "" // of the kept part it would mislead
	}
	return o
}

// lookup asks --reconcile about this request and reports whether anything was
// settled.
func (r *runner) lookup(g *onceguard.Guard) bool {
	command := lookupCommand{
		app: r.app, argv: []string{"/bin/sh", "-c", r.cmd.Reconcile}, timeout: r.cmd.ReconcileTimeout, limit: int64(r.cmd.MaxOutput), input: r.input,
		say: func(_ onceguard.Query, f onceguard.Finding, reason string) {
			if !r.cmd.JSON && !r.cmd.Quiet {
				r.say("asked the lookup: %s (%s)", f, plain(reason))
			}
		},
	}
	action := onceguard.Action[struct{}, output]{Name: r.cmd.Action, Reconcile: command.ask, Limits: r.request.Limits}
	asker, err := g.Reconciler(onceguard.ReconcilerOptions{Timeout: r.cmd.ReconcileTimeout + 5*time.Second}, action)
	if err != nil {
		r.say("the lookup was not asked: %v", prefixless{err})
		return false
	}
	settled, err := asker.Ask(r.app.ctx, r.id)
	if err != nil {
		r.say("the lookup settled nothing: %v", prefixless{err})
	}
	return settled
}
