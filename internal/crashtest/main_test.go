//go:build linux

package crashtest_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/pgtest"
)

var (
	full     = flag.Bool("crash.full", os.Getenv("ONCEGUARD_CRASH_FULL") != "", "every cell of docs/faults.md, not only those that CI runs")
	printing = flag.Bool("crash.print", false, "print what every cell gave, in the form of docs/faults.md, instead of checking it")
)

// Variables that make this test binary a ledger.
const (
	ledgerFile  = "ONCEGUARD_CRASHTEST_LEDGER_FILE"
	ledgerAddr  = "ONCEGUARD_CRASHTEST_LEDGER_ADDR"
	ledgerModes = "ONCEGUARD_CRASHTEST_LEDGER_MODES" // a file
)

func TestMain(m *testing.M) {
	if file := os.Getenv(ledgerFile); file != "" {
		os.Exit(serveLedger(file, os.Getenv(ledgerAddr), os.Getenv(ledgerModes)))
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// Cells wait for leases more than they work.
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	go watchStalls()
	code := pgtest.Main(m)
	removeWorker()
	os.Exit(code)
}

// serveLedger ends when its standard input does, so that it never outlives the
// test that started it.
func serveLedger(file, addr, modes string) int {
	c := ledger.Config{File: file, Addr: addr, Ready: func(addr string) { fmt.Println(addr) }}
	data, err := os.ReadFile(modes)
	if err == nil {
		err = json.Unmarshal(data, &c.Modes)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := ledger.Run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
