//go:build linux

package mcptest_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/mcptest/toolserver"
)

// Roles of this test binary, as its first argument. A test has every peer of its
// own in a process of its own, and no other program to build for them.
const (
	roleLedger = "@ledger" // FILE
	roleServer = "@server" // flags of serveTools
	roleClient = "@client" // stdio COMMAND ARG..., or http URL
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		var err error
		switch os.Args[1] {
		case roleLedger:
			err = serveLedger(os.Args[2])
		case roleServer:
			err = serveTools(os.Args[2:])
		case roleClient:
			err = beClient(os.Args[2], os.Args[3:])
		default:
			os.Exit(runTests(m))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// Most tests wait for other processes more than they work.
		if err := flag.Set("test.parallel", "4"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	removeBuilt()
	return code
}

// processesAlone skips a test in a short run, which is for the race detector: of
// programs that are built apart it sees nothing.
func processesAlone(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the proxy's process is not built for the race detector")
	}
}

// untilStdinEnds gives a context that ends with the test that started this
// process, however that ended.
func untilStdinEnds() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx
}

func serveLedger(file string) error {
	return ledger.Run(untilStdinEnds(), ledger.Config{File: file, Ready: func(addr string) { fmt.Println(addr) }})
}

// serveTools is the tool server: over stdio, or over HTTP if -http is given.
func serveTools(args []string) error {
	var c toolserver.Config
	flags := flag.NewFlagSet(roleServer, flag.ContinueOnError)
	addr := flags.String("http", "", "")
	flags.StringVar(&c.Ledger, "ledger", "", "")
	flags.StringVar(&c.Plan, "plan", "", "")
	flags.StringVar(&c.Trace, "trace", "", "")
	flags.BoolVar(&c.Plain, "plain", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *addr == "" {
		return toolserver.ServeStdio(context.Background(), c, os.Stdin, os.Stdout)
	}
	c.Ready = func(addr string) { fmt.Println(addr) }
	return toolserver.ServeHTTP(untilStdinEnds(), c, *addr)
}
