package pgtest_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/onceguard/onceguard/internal/pgtest"
)

// probe records how a helper ends a test instead of ending this one.
type probe struct {
	testing.TB
	skip, fatal string
}

func (p *probe) Helper() {}

func (p *probe) Skipf(format string, args ...any) {
	p.skip = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (p *probe) Fatalf(format string, args ...any) {
	p.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (p *probe) run(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

func TestMissingServer(t *testing.T) {
	t.Setenv("ONCEGUARD_PG_BIN", t.TempDir())
	for _, start := range []struct {
		name string
		call func(testing.TB)
	}{
		{"Server", func(tb testing.TB) { pgtest.Server(tb) }},
		{"Start", func(tb testing.TB) { pgtest.Start(tb, pgtest.Options{}) }},
	} {
		t.Run(start.name+" at home", func(t *testing.T) {
			t.Setenv("CI", "")
			t.Setenv("ONCEGUARD_PG_REQUIRED", "")
			p := &probe{TB: t}
			p.run(func() { start.call(p) })
			if p.fatal != "" || !strings.Contains(p.skip, "apt-get install postgresql") || !strings.Contains(p.skip, "no initdb") {
				t.Errorf("skip %q, fatal %q; want a skip that says what is missing and what to do", p.skip, p.fatal)
			}
		})
		for _, variable := range []string{"CI", "ONCEGUARD_PG_REQUIRED"} {
			t.Run(start.name+" with "+variable, func(t *testing.T) {
				t.Setenv("CI", "")
				t.Setenv("ONCEGUARD_PG_REQUIRED", "")
				t.Setenv(variable, "true")
				p := &probe{TB: t}
				p.run(func() { start.call(p) })
				if p.skip != "" || !strings.Contains(p.fatal, "no PostgreSQL server binaries") {
					t.Errorf("skip %q, fatal %q; want a failure", p.skip, p.fatal)
				}
			})
		}
	}
}
