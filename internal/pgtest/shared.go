package pgtest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the server that the tests of one process share.
var shared struct {
	sync.Mutex
	cluster *Cluster
	err     error
}

// Server returns the server that all tests of this process share, and starts it
// on first use. Tests must not stop or reconfigure it. Without PostgreSQL the
// test is skipped, or fails where CI or ONCEGUARD_PG_REQUIRED is set.
func Server(t testing.TB) *Cluster {
	t.Helper()
	in := require(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = start(in, Options{})
	}
	if shared.err != nil {
		t.Fatalf("pgtest: start PostgreSQL %d: %v", in.major, shared.err)
	}
	return shared.cluster
}

// Main runs the tests and then stops the shared server. It is for TestMain and
// optional: without it the watchdog does the same a moment after the process
// has ended.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		return code
	}
	if err := shared.cluster.close(); err != nil {
		fmt.Fprintf(os.Stderr, "pgtest: stop the shared server: %v\n", err)
		code = max(code, 1)
	}
	shared.cluster = nil
	return code
}
