//go:build linux

package mcptest_test

import (
	"sync"
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
)

// TestTwoHosts lets two hosts, each with a proxy and a server of its own over
// stdio, make the same call at the same moment on one store. It runs once, and
// both are told its result.
func TestTwoHosts(t *testing.T) {
	processesAlone(t)
	t.Parallel()
	one, two := newWorld(t, stdio, true), newWorld(t, stdio, true)
	two.dir, two.ledger, two.ledgerAddr, two.plan, two.trace = one.dir, one.ledger, one.ledgerAddr, one.plan, one.trace
	one.ledgerModes(paid, ledger.Mode{Slow: soon})
	one.start()
	two.start()
	var told [2]string
	var both sync.WaitGroup
	for i, w := range []*world{one, two} {
		both.Go(func() { told[i] = w.answer(w.send(pay("o", 42, "toolu_1"))).told() })
	}
	both.Wait()
	for _, got := range told {
		if got != "pay o: done, eff_1." {
			t.Errorf("a host was told %q", got)
		}
	}
	one.effects(paid, 1)
}
