package cli

import (
	"bufio"
	"errors"
	"io"
	"time"

	"github.com/onceguard/onceguard"
)

// receiptsExportCmd is `onceguard receipts export`.
type receiptsExportCmd struct {
	filterFlags
	Format  string `default:"jsonl" enum:"jsonl" help:"jsonl: one receipt per line, as in list --json."`
	Results bool   `help:"With the result bodies, decrypted, as base64."`
}

// Help is shown below the flags.
func (receiptsExportCmd) Help() string {
	return `For reading and reporting; ` + "`onceguard store backup`" + ` is what a store can be restored from.

Example:

  onceguard receipts export --action refund.create --newer-than 30d > refunds.jsonl`
}

// Run is the command.
func (c *receiptsExportCmd) Run(a *app) error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	f.Limit, f.Results = 500, c.Results
	g, err := a.guard(mustExist, onceguard.Options{})
	if err != nil {
		return err
	}
	ctx, stop := a.interruptible()
	defer stop()
	w := bufio.NewWriterSize(a.stdout, 64<<10)
	p := a.progress("exported", "receipts")
	_, err = eachPage(ctx, g.Store(), f, true, func(r onceguard.Record, _ time.Time) error {
		v, err := viewOf(r, false), error(nil)
		if c.Results {
			v, err = a.openedView(g, r)
		}
		if err != nil {
			return err
		}
		p.add(1)
		return jsonLine(w, v)
	})
	if err == nil {
		err = w.Flush()
	}
	p.end(err)
	if errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return a.storeErr(err)
}
