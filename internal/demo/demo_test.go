package demo_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/demo"
	"github.com/onceguard/onceguard/sqlitestore"
)

// TestMain makes the test binary the demonstration's ledger and agents, so that
// they are real processes here as well.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "demo-") {
		if err := part(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func part(name string, args []string) error {
	ctx := context.Background()
	var c demo.AgentConfig
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	file := fs.String("file", "", "")
	store := fs.String("store", "", "")
	fs.StringVar(&c.Ledger, "ledger", "", "")
	fs.StringVar(&c.Op, "op", "", "")
	fs.StringVar(&c.Order, "order", "", "")
	fs.IntVar(&c.Amount, "amount", 0, "")
	fs.StringVar(&c.Stop, "stop", "", "")
	fs.BoolVar(&c.Reconcile, "reconcile", false, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if name == "demo-ledger" {
		return demo.Ledger(ctx, *file, os.Stdin, os.Stdout)
	}
	if *store != "" {
		s, err := sqlitestore.Open(ctx, *store, nil)
		if err != nil {
			return err
		}
		defer func() { _ = s.Close() }()
		c.Store = s
	}
	return demo.Agent(ctx, c, os.Stdin, os.Stdout)
}

func TestDemo(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rep, err := demo.Run(t.Context(), demo.Config{Self: self, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := rep.Check(); err != nil {
		t.Error(err)
	}
	unguarded, uncertain := map[string]int{}, 0
	for _, row := range rep.Rows {
		unguarded[row.Scenario] = row.Unguarded.Payments
		if strings.HasPrefix(row.Guarded.Retry, "uncertain → lookup: ") && row.Guarded.State == "succeeded" {
			uncertain++
		}
	}
	// The point of the show: without the guard these orders are paid twice.
	for _, name := range []string{
		"killed while the request is on its way", "killed after the payment", "the answer is lost",
		"killed before the caller is told", "delivered again after success", "two agents at the same time",
	} {
		if unguarded[name] != 2 {
			t.Errorf("unguarded, %s: %d payments, want 2", name, unguarded[name])
		}
	}
	if unguarded["nothing goes wrong"] != 1 {
		t.Errorf("unguarded without a fault: %d payments, want 1", unguarded["nothing goes wrong"])
	}
	if uncertain < 3 {
		t.Errorf("%d uncertain operations were settled by the lookup, want at least 3", uncertain)
	}
	if rep.GuardedDoubles != 0 || rep.GuardedPayments != rep.Intended {
		t.Errorf("guarded: %d payments for %d orders, %d double", rep.GuardedPayments, rep.Intended, rep.GuardedDoubles)
	}
	var out bytes.Buffer
	if err := rep.Print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
}

func TestCheckSeesADuplicate(t *testing.T) {
	for _, n := range []int{0, 2} {
		rep := demo.Report{Rows: []demo.Row{{Scenario: "x"}}}
		rep.Rows[0].Guarded.Payments = n
		if rep.Check() == nil {
			t.Errorf("%d guarded payments of one order pass", n)
		}
	}
}
