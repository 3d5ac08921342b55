package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/storesuite"
	"github.com/onceguard/onceguard/internal/storeverify"
)

// storeVerifyCmd is `onceguard store verify`.
type storeVerifyCmd struct {
	JSON bool `name:"json" help:"Print the report as JSON."`
}

// Help is shown below the flags.
func (storeVerifyCmd) Help() string {
	return `Reads the settings that decide what an acknowledged write survives, then plays the whole store suite: claim races, late and lost answers, random concurrent histories checked for linearizability, restarts, transactions. Nothing of it touches your receipts: a Postgres server gets schemas of their own beside yours, named onceguard_verify_…, and a SQLite store files of its own in the same directory; both are removed again. It takes a minute or so, and a small part of the server.

On Postgres the role must be allowed to create schemas (GRANT CREATE ON DATABASE …), and the URL must lead to the server itself, not to a pooler.

Exit status: 0 nothing is broken, 1 something is, 69 the store cannot be tried.

Example:

  onceguard store verify --store postgres://owner@db/payments`
}

// storeVerifyView is the JSON of store verify.
type storeVerifyView struct {
	Store      string                `json:"store"`
	Server     string                `json:"server"`
	Durability string                `json:"durability"`
	Warnings   []string              `json:"warnings"`
	Promises   []storeverify.Promise `json:"promises"`
	Unseen     []string              `json:"not_seen"`
	Results    []storeverify.Result  `json:"results"`
}

// Run is the command.
func (c *storeVerifyCmd) Run(a *app) error {
	at, err := a.chooseStore()
	if err != nil {
		return err
	}
	if at.pooler {
		return usageError("%s leads to a pooler (%s=true), which does not carry the settings of a session: name the server itself", plain(at.shown), paramPooler)
	}
	a.at = at
	ctx, stop := a.interruptible()
	defer stop()
	scratch, err := a.scratch(ctx, at)
	if err != nil {
		return err
	}
	defer scratch.remove(a)
	info, err := scratch.info(ctx)
	if err != nil {
		return unavailable("%s cannot be tried: %w", plain(at.shown), err)
	}
	view := storeVerifyView{
		Store: at.shown, Server: info.Version, Durability: info.Durability, Warnings: append([]string{}, info.Warnings...),
		Unseen: storeverify.Unseen(info.Kind),
	}
	if !c.JSON {
		if err := a.printVerifyHead(view); err != nil {
			return err
		}
	}
	p := a.progress("tried", "cases")
	var failed error // of a line that could not be printed
	view.Results, err = storeverify.Run(ctx, scratch.open, func(r storeverify.Result) {
		p.add(1)
		if !c.JSON && r.Verdict == storeverify.Broken && failed == nil {
			failed = a.print("%s  %s: %s\n%s\n", a.colour(red, "broken "), r.Group, r.Case, indented(r.Detail))
		}
	})
	p.end(err)
	if err != nil {
		return &failure{status: exitFailed, text: "the run was ended before its end: what it had found is above", err: err}
	}
	if failed != nil {
		return failed
	}
	view.Promises = storeverify.Promises(view.Results)
	if c.JSON {
		err = a.printJSON(view)
	} else {
		err = a.printVerify(view)
	}
	for _, p := range view.Promises {
		if err == nil && p.Verdict == storeverify.Broken {
			err = silent(exitFailed)
		}
	}
	return err
}

func (a *app) printVerifyHead(v storeVerifyView) error {
	err := a.print("store       %s (%s)\ndurability  %s\n", plain(v.Store), plain(v.Server), plain(v.Durability))
	for _, w := range v.Warnings {
		if err == nil {
			err = a.print("%s     %s\n", a.colour(yellow, "warning"), plain(w))
		}
	}
	if err == nil {
		err = a.print("\n")
	}
	return err
}

var verdictColours = map[storeverify.Verdict]string{
	storeverify.Kept: green, storeverify.Broken: red, storeverify.Skipped: yellow,
}

func (a *app) printVerify(v storeVerifyView) error {
	for _, p := range v.Promises {
		count := fmt.Sprintf("%d cases", p.Kept+p.Broken)
		if p.Broken > 0 {
			count = fmt.Sprintf("%d of %d cases broken", p.Broken, p.Kept+p.Broken)
		}
		if p.Skipped > 0 {
			count += fmt.Sprintf(", %d could not be tried", p.Skipped)
		}
		if err := a.print("%s  %s (%s)\n", a.colour(verdictColours[p.Verdict], fmt.Sprintf("%-7s", p.Verdict)), p.Promise, count); err != nil {
			return err
		}
	}
	if err := a.print("\nNot tried, because the suite cannot bring it about here:\n"); err != nil {
		return err
	}
	for _, r := range v.Results {
		if r.Verdict == storeverify.Skipped {
			if err := a.print("  %s: %s (%s)\n", r.Group, r.Case, plain(r.Detail)); err != nil {
				return err
			}
		}
	}
	if err := a.print("\nNo test from outside can show:\n"); err != nil {
		return err
	}
	for _, text := range v.Unseen {
		if err := a.print("  %s\n", text); err != nil {
			return err
		}
	}
	return nil
}

// indented keeps the lines of a detail apart from the verdicts.
func indented(detail string) string {
	var b strings.Builder
	for line := range strings.Lines(detail) {
		b.WriteString("         " + plain(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// scratch makes empty stores beside a user's own, of the same kind and in the
// same place, and removes them.
type scratch interface {
	open(t storesuite.T) storesuite.Harness
	info(ctx context.Context) (onceguard.StoreInfo, error)
	remove(a *app)
}

func (a *app) scratch(ctx context.Context, at storeURL) (scratch, error) {
	if at.kind == "postgres" {
		return newPostgresScratch(ctx, at)
	}
	return newSQLiteScratch(at)
}
