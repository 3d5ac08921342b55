package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/process"
)

// receiptsShowCmd is `onceguard receipts show`.
type receiptsShowCmd struct {
	oneRequest
	JSON   bool `help:"Print JSON: {store, receipt, evidence, owners, advice}."`
	Result bool `help:"Print the recorded result alone, byte for byte: what a replay prints."`
}

// Help is shown below the flags.
func (receiptsShowCmd) Help() string {
	return `Example:

  onceguard receipts show --action refund.create --key order=A-1`
}

// showView is the JSON of one request's story.
type showView struct {
	Store    string         `json:"store"`
	Receipt  receiptView    `json:"receipt"`
	Evidence []evidenceView `json:"evidence"`
	Owners   []ownerView    `json:"owners"` // who holds or held the latest claim
	Advice   []string       `json:"advice"`
}

// ownerView is one process of a claim's owners.
type ownerView struct {
	PID   int    `json:"pid"`
	State string `json:"state"` // alive, dead, or unknown from this host
}

// Run is the command.
func (c *receiptsShowCmd) Run(a *app) error {
	id, err := c.id()
	if err != nil {
		return err
	}
	g, err := a.guard(mustExist, onceguard.Options{})
	if err != nil {
		return err
	}
	answer, err := a.get(g.Store(), id)
	if err != nil {
		return err
	}
	rec := answer.Record
	if c.Result {
		return a.showResult(g, rec)
	}
	evidence, err := g.Store().Evidence(a.ctx, id)
	if err != nil {
		return a.storeErr(err)
	}
	receipt, err := a.openedView(g, rec)
	if err != nil {
		return err
	}
	v := showView{Store: a.at.shown, Receipt: receipt, Evidence: evidenceOf(evidence), Owners: ownersOf(rec), Advice: a.advice(rec, answer.Now)}
	if c.JSON {
		return a.printJSON(v)
	}
	return a.tell(rec, v, answer.Now)
}

// showResult prints what a replay prints, with the exit status of a reading.
func (a *app) showResult(g *onceguard.Guard, rec onceguard.Record) error {
	if !rec.State.Final() {
		return &failure{status: exitNoResult, text: fmt.Sprintf("%s is %s: it has no result", rec.ID, rec.State)}
	}
	body, err := a.openBody(g, rec)
	if err != nil {
		return err
	}
	o, err := decodeOutput(body)
	if err != nil {
		return err
	}
	if o.Left != "" {
		return &failure{status: exitNoResult, text: fmt.Sprintf("%s: the output of %d bytes was not kept (%s)", rec.ID, o.StdoutBytes+o.StderrBytes, o.Left)}
	}
	if _, err := a.stdout.Write(o.Stdout); err != nil {
		return err
	}
	_, err = a.stderr.Write(o.Stderr)
	return err
}

func ownersOf(rec onceguard.Record) []ownerView {
	out := []ownerView{}
	owners, err := process.ParseList(rec.Process)
	if err != nil {
		return out
	}
	for _, o := range owners {
		out = append(out, ownerView{o.PID, o.State().String()})
	}
	return out
}

// tell prints the story for people.
func (a *app) tell(rec onceguard.Record, v showView, now time.Time) error {
	since := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprintf("%s (%s ago)", stamp(t), age(now.Sub(t)))
	}
	state := a.colour(stateColour(rec.State), rec.State.String())
	if rec.Pruned {
		state += ", result pruned"
	}
	if rec.Waived {
		state += ", GUARANTEE WAIVED: a person ordered another run although an attempt was unknown"
	}
	rows := [][2]string{
		{"request ID", rec.ID.String()},
		{"scope", plain(rec.Scope)},
		{"action", plain(rec.Action)},
		{"key", readableKey(rec.Key)},
		{"state", state},
		{"since", since(rec.Since)},
		{"attempt", fmt.Sprintf("%d, claimed %s", rec.Attempt, since(rec.ClaimedAt))},
		{"first claim", since(rec.CreatedAt)},
		{"policy", policyText(rec.Policy)},
	}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, [2]string{name, value})
		}
	}
	if rec.State == onceguard.Claimed {
		add("lease", leaseText(rec.LeaseLeft(now)))
	}
	if rec.UnknownAttempt {
		add("unknown", "an earlier attempt may have happened")
	}
	add("settled by", plain(rec.SettledBy))
	add("reason", plain(rec.Reason))
	if rec.State.Final() {
		add("result", resultText(rec.Result))
	}
	if rec.State == onceguard.Claimed || rec.State == onceguard.Uncertain {
		var owners []string
		for _, o := range v.Owners {
			owners = append(owners, fmt.Sprintf("pid %d %s", o.PID, o.State))
		}
		add("owner", strings.Join(owners, ", "))
	}
	add("fingerprint", fingerprintText(rec.Fingerprint))
	add("store", plain(v.Store))
	if err := a.pairs(rows); err != nil {
		return err
	}
	if len(v.Evidence) > 0 {
		if err := a.print("\nevidence\n"); err != nil {
			return err
		}
		for _, e := range v.Evidence {
			text := plain(e.Detail)
			if len(e.Body) > 0 {
				text += fmt.Sprintf(" [%d bytes: %s]", len(e.Body), short(string(e.Body), 60))
			}
			at := "-"
			if e.At != nil {
				at = stamp(*e.At)
			}
			if err := a.print("  %s  attempt %d  %s, by %s: %s\n", at, e.Attempt, e.Kind, plain(e.By), text); err != nil {
				return err
			}
		}
	}
	if len(v.Advice) == 0 {
		return nil
	}
	return a.print("\nwhat to do\n  %s\n", strings.Join(v.Advice, "\n  "))
}

func leaseText(left time.Duration) string {
	if left <= 0 {
		return fmt.Sprintf("over since %s", age(-left))
	}
	return age(left) + " left"
}

func policyText(p onceguard.Policy) string {
	text := p.Kind.String()
	if p.Kind == onceguard.SafeRetryKind {
		remembers := "remembers refusals"
		if p.Refusals == onceguard.RefusalsForgotten {
			remembers = "forgets refusals"
		}
		text += fmt.Sprintf(", horizon %s, the downstream %s", p.Horizon, remembers)
	}
	if p.MaxAttempts > 0 {
		text += fmt.Sprintf(", at most %d attempts", p.MaxAttempts)
	}
	return text
}

func resultText(r onceguard.Result) string {
	if r.Missing != onceguard.HasBody {
		return r.Missing.String()
	}
	return fmt.Sprintf("%d bytes, %s", len(r.Body), plain(r.Type))
}

// advice says what a person can do about a record.
func (a *app) advice(rec onceguard.Record, now time.Time) []string {
	f := a.at.flag()
	switch {
	case rec.State == onceguard.Uncertain:
		line := func(what string) string {
			return fmt.Sprintf("onceguard receipts resolve %s --attempt %d %s --by NAME --reason TEXT%s", rec.ID, rec.Attempt, what, f)
		}
		return []string{
			"find out what happened (the downstream's dashboard, its API, the receiver), then one of:",
			line("--happened"), line("--did-not-happen"), line("--run-again"),
			fmt.Sprintf("or let a command find out: onceguard receipts reconcile --action %s%s -- CMD", quoteArg(rec.Action), f),
		}
	case rec.State == onceguard.Claimed && rec.LeaseLeft(now) <= 0:
		return []string{"the lease is over: the next call decides by the policy, or `onceguard receipts sweep" + f + "` parks it"}
	case rec.State == onceguard.Claimed:
		return []string{"an attempt is running, or its owner died; a repeated call waits for it"}
	}
	return nil
}
