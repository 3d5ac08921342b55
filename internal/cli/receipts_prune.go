package cli

import "github.com/onceguard/onceguard"

// receiptsPruneCmd is `onceguard receipts prune`.
type receiptsPruneCmd struct {
	DryRun bool `help:"Count and change nothing."`
	JSON   bool `help:"Print JSON: {store, looked, results_dropped, identities_dropped, dry_run}."`
}

// Help is shown below the flags.
func (receiptsPruneCmd) Help() string {
	return `Retentions are recorded with each receipt (run --result-retention, --identity-retention). A dropped identity is forgotten: the same key would run again. Claimed and uncertain requests are never pruned.

Example: from cron, once a day

  onceguard receipts prune`
}

type pruneView struct {
	Store      string `json:"store"`
	Looked     int    `json:"looked"`
	Results    int    `json:"results_dropped"`
	Identities int    `json:"identities_dropped"`
	DryRun     bool   `json:"dry_run"`
}

// Run is the command.
func (c *receiptsPruneCmd) Run(a *app) error {
	g, err := a.guard(mustExist, onceguard.Options{})
	if err != nil {
		return err
	}
	ctx, stop := a.interruptible()
	defer stop()
	done, err := g.Sweeper(onceguard.SweeperOptions{}).Prune(ctx, c.DryRun)
	if err != nil {
		return a.storeErr(err)
	}
	if c.JSON {
		return a.printJSON(pruneView{a.at.shown, done.Looked, done.Tombstoned, done.Deleted, c.DryRun})
	}
	verb := "dropped"
	if c.DryRun {
		verb = "would drop"
	}
	a.say("%s %d results and %d identities of %d receipts in %s", verb, done.Tombstoned, done.Deleted, done.Looked, plain(a.at.shown))
	return nil
}
