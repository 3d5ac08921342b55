package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// preview is what --dry-run says.
type preview struct {
	RequestID   string `json:"request_id"`
	Scope       string `json:"scope"`
	Action      string `json:"action"`
	Key         string `json:"key"`
	KeyEncoded  string `json:"key_encoded"`
	Fingerprint string `json:"fingerprint,omitempty"` // empty: the store does not exist yet, so neither does its fingerprint key
	Policy      string `json:"policy"`
	Store       string `json:"store"`
	State       string `json:"state"`
	Attempt     int64  `json:"attempt,omitempty"`
	Would       string `json:"would"` // run, replay, wait, answer-uncertain, refuse-mismatch, refuse-frozen
	Says        string `json:"says"`
}

// dryRun claims nothing, runs nothing and makes no store.
func (r *runner) dryRun() error {
	p := preview{
		RequestID: r.id.String(), Scope: r.cmd.Scope, Action: r.cmd.Action, Key: r.request.Key.String(),
		KeyEncoded: r.request.Key.Encoded(), Policy: r.request.Policy.Kind.String(), State: onceguard.Absent.String(),
	}
	at, err := r.chooseStore()
	if err != nil {
		return r.refused(err)
	}
	p.Store = at.shown
	if at.kind == "sqlite" {
		if _, err := os.Stat(at.path); errors.Is(err, fs.ErrNotExist) {
			p.Would, p.Says = "run", "the store does not exist yet: it would be created, and the command run as attempt 1"
			return r.printPreview(p)
		}
	}
	g, err := r.guard(mustExist, onceguard.Options{Scope: r.cmd.Scope, Codec: runCodec{}})
	if err != nil {
		return r.refused(err)
	}
	seen, err := g.Preview(r.app.ctx, r.request)
	rec := seen.Record
	p.Fingerprint = seen.Fingerprint.String()
	if errors.Is(err, onceguard.ErrMismatch) {
		p.Would, p.Says = "refuse-mismatch", "the key was used with another command line or input: exit 65, nothing runs"
		if err := r.printPreview(p); err != nil {
			return err
		}
		return silent(exitMismatch)
	}
	if err != nil {
		return r.refused(err)
	}
	info, err := g.Store().Info(r.app.ctx)
	if err != nil {
		return r.refused(unavailable("%w", err))
	}
	p.State, p.Attempt = rec.State.String(), rec.Attempt
	p.Would, p.Says = r.would(rec, info)
	return r.printPreview(p)
}

func (r *runner) would(rec onceguard.Record, info onceguard.StoreInfo) (would, says string) {
	switch rec.State {
	case onceguard.Succeeded, onceguard.Failed:
		return "replay", fmt.Sprintf("settled at %s by %s: the recorded outcome is replayed, nothing runs", stamp(rec.Since), plain(rec.SettledBy))
	case onceguard.Uncertain:
		if r.cmd.Reconcile != "" {
			return "reconcile", "uncertain: the --reconcile command is asked, and nothing runs unless it releases the request"
		}
		return "answer-uncertain", "uncertain since " + stamp(rec.Since) + ": exit 76, nothing runs"
	}
	if info.Frozen && r.request.Policy.Kind == onceguard.AtMostOnceKind {
		return "refuse-frozen", "the store is frozen (" + plain(info.FrozenWhy) + "): exit 78, nothing runs"
	}
	if rec.State == onceguard.Claimed {
		return "wait", fmt.Sprintf("attempt %d is claimed since %s: waits up to %s for it, then exit 75; once its lease is over, the policy decides", rec.Attempt, stamp(rec.ClaimedAt), max(r.cmd.Wait.limit(), 0).Round(time.Second))
	}
	return "run", fmt.Sprintf("the command runs as attempt %d", rec.Attempt+1)
}

func (r *runner) printPreview(p preview) error {
	if r.cmd.JSON {
		return r.printJSON(p)
	}
	rows := [][2]string{
		{"request ID", p.RequestID},
		{"scope", plain(p.Scope)},
		{"action", p.Action},
		{"key", p.Key},
		{"command", plain(strings.Join(quoted(r.cmd.Command), " "))},
		{"fingerprint", orElse(p.Fingerprint, "unknown until the store and its fingerprint key exist")},
		{"policy", p.Policy},
		{"store", plain(p.Store)},
		{"state", p.State},
		{"would", p.Would + ": " + p.Says},
	}
	return r.pairs(rows)
}

func quoted(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quoteArg(w)
	}
	return out
}

// pairs prints names and values in two columns.
func (a *app) pairs(rows [][2]string) error {
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	for _, row := range rows {
		if err := a.print("%-*s  %s\n", width, row[0], row[1]); err != nil {
			return err
		}
	}
	return nil
}
