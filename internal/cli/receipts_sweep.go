package cli

import "github.com/onceguard/onceguard"

// receiptsSweepCmd is `onceguard receipts sweep`.
type receiptsSweepCmd struct {
	JSON bool `help:"Print JSON: {store, parked}."`
}

// Help is shown below the flags.
func (receiptsSweepCmd) Help() string {
	return `Without it a lost claim is parked by the next call for it; with it, a listing of uncertain requests is complete.

Example: from cron, so that lost claims are seen

  onceguard receipts sweep && onceguard receipts list --state uncertain`
}

type sweepView struct {
	Store  string `json:"store"`
	Parked int    `json:"parked"`
}

// Run is the command.
func (c *receiptsSweepCmd) Run(a *app) error {
	g, err := a.guard(mustExist, onceguard.Options{})
	if err != nil {
		return err
	}
	ctx, stop := a.interruptible()
	defer stop()
	n, err := g.Sweeper(onceguard.SweeperOptions{}).Sweep(ctx)
	if err != nil {
		return a.storeErr(err)
	}
	if c.JSON {
		return a.printJSON(sweepView{a.at.shown, n})
	}
	a.say("parked %d lost claims as uncertain in %s", n, plain(a.at.shown))
	return nil
}
