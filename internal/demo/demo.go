package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/onceguard/onceguard/internal/ledger"
)

// Config is one demonstration.
type Config struct {
	Self   string    // path of the onceguard binary, started as ledger and agents
	Dir    string    // where the store and the ledger's file go
	Stdout io.Writer // the table
	Stderr io.Writer // progress, if Progress
	// Progress prints a line for each row as it is played.
	Progress bool
}

// Row is one scenario's result on both sides.
type Row struct {
	Scenario  string `json:"scenario"`
	Unguarded result `json:"unguarded"`
	Guarded   result `json:"guarded"`
}

// Report is what a run measured.
type Report struct {
	Rows []Row `json:"rows"`
	// Intended is how many payments the orders ask for, one each.
	Intended          int           `json:"intended"`
	UnguardedPayments int           `json:"unguarded_payments"`
	GuardedPayments   int           `json:"guarded_payments"`
	UnguardedDoubles  int           `json:"unguarded_duplicates"`
	GuardedDoubles    int           `json:"guarded_duplicates"`
	Processes         int           `json:"processes"`
	Took              time.Duration `json:"took_ns"`
	Ledger            string        `json:"ledger_file"`
	Store             string        `json:"store"`
}

// run is a demonstration under way.
type run struct {
	Config
	address   string
	ledger    *ledger.Client
	storePath string
	beside    *child // an agent that the next retry runs beside
	processes int
}

// Limit bounds a whole run.
const Limit = 2 * time.Minute

// Run plays every scenario, without and with the guard.
func Run(ctx context.Context, c Config) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	began := time.Now()
	d := &run{Config: c, storePath: filepath.Join(c.Dir, "receipts.db")}
	file := filepath.Join(c.Dir, "ledger.jsonl")
	led, err := d.start(ctx, "demo-ledger", "--file", file)
	if err != nil {
		return Report{}, err
	}
	defer led.kill()
	if d.address, err = led.next(); err != nil {
		return Report{}, err
	}
	d.ledger = ledger.NewClient(d.address)
	rep := Report{Intended: len(scenarios), Ledger: file, Store: d.storePath}
	for i, sc := range scenarios {
		o := order{name: fmt.Sprintf("A-%d", i+1), amount: 10 * (i + 1)}
		row := Row{Scenario: sc.Name}
		if row.Unguarded, err = d.play(ctx, sc, unguardedSide, o); err != nil {
			return rep, err
		}
		if row.Guarded, err = d.play(ctx, sc, guardedSide, o); err != nil {
			return rep, err
		}
		if c.Progress {
			fmt.Fprintf(c.Stderr, "  %-40s done\n", sc.Name)
		}
		rep.Rows = append(rep.Rows, row)
	}
	sum, err := d.ledger.Summary(ctx)
	if err != nil {
		return rep, err
	}
	for op, n := range sum.Ops {
		if strings.HasPrefix(op, string(guardedSide)+"/") {
			rep.GuardedPayments += n
			rep.GuardedDoubles += max(0, n-1)
		} else {
			rep.UnguardedPayments += n
			rep.UnguardedDoubles += max(0, n-1)
		}
	}
	rep.Processes, rep.Took = d.processes, time.Since(began)
	return rep, nil
}

// Ledger runs the ledger process: it prints its address and serves until
// standard input ends, which is when the parent does.
func Ledger(ctx context.Context, file string, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel()
	}()
	return ledger.Run(ctx, ledger.Config{File: file, Ready: func(addr string) { fmt.Fprintln(stdout, addr) }})
}

// ErrDuplicates is returned by Check.
var ErrDuplicates = errors.New("a guarded payment was made twice, or not at all")

// Check is the demonstration's own test: with the guard every order is paid
// once, whatever went wrong.
func (r Report) Check() error {
	for _, row := range r.Rows {
		if row.Guarded.Payments != 1 {
			return fmt.Errorf("%w: %s: %d", ErrDuplicates, row.Scenario, row.Guarded.Payments)
		}
	}
	return nil
}

// TempDir makes the folder for a run.
func TempDir() (string, error) { return os.MkdirTemp("", "onceguard-demo-") }
