package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/onceguard/onceguard"
)

// filterFlags select receipts, for list and export.
type filterFlags struct {
	Scope     string   `placeholder:"SCOPE" help:"Only of this scope."`
	Action    string   `placeholder:"NAME" help:"Only of this action."`
	Key       []string `sep:"none" placeholder:"KEY" help:"Only with this key, as given to run."`
	RawKey    string   `placeholder:"TEXT" help:"Only with this raw key."`
	State     []string `placeholder:"STATE" help:"Only in these states: claimed, released, uncertain, succeeded, failed. Repeat or separate by commas."`
	OlderThan span     `placeholder:"DURATION" help:"Only those in their state for at least so long, such as 1h or 7d."`
	NewerThan span     `placeholder:"DURATION" help:"Only those in their state for at most so long."`
	Waived    bool     `help:"Only those whose guarantee a person waived."`
}

func (f filterFlags) filter() (onceguard.Filter, error) {
	out := onceguard.Filter{Scope: f.Scope, Action: f.Action, Waived: f.Waived, OlderThan: time.Duration(f.OlderThan), NewerThan: time.Duration(f.NewerThan)}
	if f.OlderThan.forever() || f.NewerThan.forever() {
		return out, usageError("--older-than and --newer-than take a duration such as 24h; leave the flag out for no bound")
	}
	if len(f.Key) > 0 || f.RawKey != "" {
		key, err := keyFlags{keys: f.Key, raw: f.RawKey}.key(nil)
		if err != nil {
			return out, usageError("%w", prefixless{err})
		}
		out.Key = key.Encoded()
	}
	for _, name := range f.State {
		s, err := onceguard.ParseState(name)
		if err != nil || s == onceguard.Absent {
			return out, usageError("--state %q: use claimed, released, uncertain, succeeded or failed", short(name, 20))
		}
		out.States = append(out.States, s)
	}
	return out, nil
}

// receiptsListCmd is `onceguard receipts list`.
type receiptsListCmd struct {
	filterFlags
	Limit  int    `default:"50" placeholder:"N" help:"At most so many, 1 to 1000."`
	Cursor string `placeholder:"CURSOR" help:"Go on where the page before ended; it printed the cursor."`
	All    bool   `help:"All pages."`
	JSON   bool   `help:"Print JSON: {store, receipts, next}."`
}

// Help is shown below the flags.
func (receiptsListCmd) Help() string {
	return `Example: what needs a person, the oldest kind first

  onceguard receipts list --state uncertain --older-than 10m`
}

// listView is the JSON of a listing.
type listView struct {
	Store    string        `json:"store"`
	Receipts []receiptView `json:"receipts"`
	Next     string        `json:"next"` // cursor; empty: the last page
}

// Run is the command.
func (c *receiptsListCmd) Run(a *app) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	if c.Limit < 1 || c.Limit > 1000 {
		return usageError("--limit is %d; use 1 to 1000, and --all for all pages", c.Limit)
	}
	f.Limit, f.Cursor = c.Limit, c.Cursor
	s, err := a.store(mustExist)
	if err != nil {
		return err
	}
	view := listView{Store: a.at.shown, Receipts: []receiptView{}}
	var rows [][]string
	next, err := eachPage(a.ctx, s, f, c.All, func(r onceguard.Record, now time.Time) error {
		view.Receipts = append(view.Receipts, viewOf(r, false))
		rows = append(rows, a.listRow(r, now))
		return nil
	})
	if err != nil {
		return a.storeErr(err)
	}
	view.Next = next
	if c.JSON {
		return a.printJSON(view)
	}
	if len(rows) == 0 {
		a.say("no such receipts in %s", plain(a.at.shown))
		return nil
	}
	if err := a.table([]string{"REQUEST ID", "STATE", "AGE", "TRY", "SCOPE", "ACTION", "KEY"}, rows); err != nil {
		return err
	}
	a.say("%d receipts in %s", len(rows), plain(a.at.shown))
	if next != "" {
		a.say("there are more: --cursor %s, or --all", next)
	}
	return nil
}

func (a *app) listRow(r onceguard.Record, now time.Time) []string {
	state := r.State.String()
	if r.Waived {
		state += "*"
	}
	if a.coloured(a.stdout) {
		state = a.colour(stateColour(r.State), state)
	}
	return []string{r.ID.String(), state, age(now.Sub(r.Since)), strconv.FormatInt(r.Attempt, 10), short(r.Scope, 24), r.Action, short(readableKey(r.Key), 60)}
}

// eachPage calls yield for the records of one page, or of all, and returns the
// cursor of what is left.
func eachPage(ctx context.Context, s onceguard.Store, f onceguard.Filter, all bool, yield func(r onceguard.Record, now time.Time) error) (next string, err error) {
	for {
		page, err := s.List(ctx, f)
		if err != nil {
			return "", err
		}
		for _, r := range page.Records {
			if err := yield(r, page.Now); err != nil {
				return "", err
			}
		}
		if page.Next == "" || !all {
			return page.Next, nil
		}
		if page.Next == f.Cursor {
			return "", fmt.Errorf("the store gave the cursor %s twice", f.Cursor)
		}
		f.Cursor = page.Next
	}
}
