package cli

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/demo"
	"github.com/onceguard/onceguard/sqlitestore"
)

var _ = addCommands(&demoCmds{})

// demoCmds are the demonstration and the processes that it is made of.
type demoCmds struct {
	Demo       demoCmd       `cmd:"" help:"Kill and retry a paying agent, without the guard and with it, and count the payments."`
	DemoLedger demoLedgerCmd `cmd:"" hidden:"" help:"The ledger process of the demonstration."`
	DemoAgent  demoAgentCmd  `cmd:"" hidden:"" help:"The agent process of the demonstration."`
}

type demoCmd struct {
	JSON bool `name:"json" help:"Print the report as JSON."`
	Keep bool `help:"Keep the store and the ledger's file, and say where they are."`
}

// Help is shown below the flags.
func (demoCmd) Help() string {
	return `Starts an effect ledger (a payment tool) and agents as processes of their own, kills agents with
SIGKILL, drops answers, retries, and prints how many payments the ledger counted without the guard
and with it. Uses a temporary SQLite store; needs nothing else, and takes a few seconds.

Example: onceguard demo --keep`
}

// Run plays the demonstration.
func (c demoCmd) Run(a *app) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("the demonstration starts itself as other processes and cannot find its own binary: %w", err)
	}
	dir, err := demo.TempDir()
	if err != nil {
		return err
	}
	if !c.Keep {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	ctx, cancel := a.interruptible()
	defer cancel()
	rep, err := demo.Run(ctx, demo.Config{Self: self, Dir: dir, Stdout: a.stdout, Stderr: a.stderr, Progress: !c.JSON})
	if err != nil {
		return fmt.Errorf("the demonstration did not finish: %w", err)
	}
	if c.JSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(rep)
	} else {
		err = rep.Print(a.stdout)
		if err == nil && c.Keep {
			err = a.print("\nThe receipts:    onceguard receipts list --store sqlite:%s\nThe ledger:      %s\n", rep.Store, rep.Ledger)
		}
	}
	if err != nil {
		return err
	}
	return rep.Check()
}

type demoLedgerCmd struct {
	File string `required:""`
}

// Run serves the ledger until standard input ends.
func (c demoLedgerCmd) Run(a *app) error { return demo.Ledger(a.ctx, c.File, a.stdin, a.stdout) }

type demoAgentCmd struct {
	Ledger    string `required:""`
	Op        string `required:""`
	Order     string `required:""`
	Amount    int    `required:""`
	Stop      string
	Reconcile bool
}

// Run pays one order; --store, one of the global flags, makes it guarded.
func (c demoAgentCmd) Run(a *app) error {
	cfg := demo.AgentConfig{Ledger: c.Ledger, Op: c.Op, Order: c.Order, Amount: c.Amount, Stop: c.Stop, Reconcile: c.Reconcile}
	if path := a.globals.StoreURL; path != "" {
		s, err := sqlitestore.Open(a.ctx, path, nil)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		cfg.Store = onceguard.Store(s)
	}
	return demo.Agent(a.ctx, cfg, a.stdin, a.stdout)
}
