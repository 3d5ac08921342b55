//go:build linux

package crashtest_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
)

// outcome is what a cell came to.
type outcome struct {
	passed   bool // the point was reached and the fault came
	effects  int
	state    string
	attempt  int64
	evidence []string
	told     [][]string // by phase
}

// String gives the outcome in the form of docs/faults.md.
func (o outcome) String() string {
	if !o.passed {
		return notPassed
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", o.effects, o.state)
	if o.state != "absent" {
		fmt.Fprintf(&b, "@%d", o.attempt)
	}
	if len(o.evidence) > 0 {
		fmt.Fprintf(&b, " [%s]", strings.Join(o.evidence, " "))
	}
	for i, phase := range o.told {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		b.WriteString(sep + strings.Join(phase, "/"))
	}
	return b.String()
}

// play is one run of a cell.
type play struct {
	testing.TB
	cell
	*memory
	books   *books
	op      string
	first   *worker
	holding bool // the ledger holds the first request
	all     []crashtest.Line
	out     outcome
}

var opNumber atomic.Int64

// newOp names an effect that nobody else uses.
func newOp(what string) string {
	return fmt.Sprintf("%s #%d", strings.ReplaceAll(what, "/", " "), opNumber.Add(1))
}

// run plays a cell: the first process meets the fault, two retries come
// meanwhile or right after, one comes later, and where the policy has a lookup
// that is asked and one more retry comes.
func (c cell) run(t testing.TB, m *memory, b *books) outcome {
	t.Helper()
	if c.action == actCut {
		m = m.proxied(t)
	}
	p := &play{TB: t, cell: c, memory: m, books: b, op: newOp(c.String())}
	p.setModes()
	if p.asks() {
		p.makeUncertain()
	}
	during := p.strike()
	p.phase(p.first)
	p.phase(during...)
	p.phase(p.call().wait())
	if p.policy == crashtest.WithLookup {
		p.ask("").wait()
		p.phase(p.call().wait())
	}
	p.gather()
	return p.out
}

// asks reports whether the point lies on the way of a lookup.
func (c cell) asks() bool {
	return strings.HasPrefix(c.point, "reconcile.") || strings.HasPrefix(c.point, "resolve.")
}

func (c cell) renews() bool { return strings.HasPrefix(c.point, "store.renew.") }

// setModes tells the ledger what kind of provider it is, and what goes wrong.
func (p *play) setModes() {
	usual := ledger.Mode{}
	if p.policy == crashtest.SafeRetry {
		usual = ledger.Mode{Dedup: true, Sticky: true}
	}
	one := usual
	switch {
	case p.renews():
		one.Hold = true // until there was a renewal
	case p.point != inFlight:
	case p.action == actError:
		one.Error = ledger.After
	case p.action == actDelay:
		one.Slow = 2 * crashtest.DefaultLease
	default:
		one.Hold = true
	}
	p.holding = one.Hold && p.policy != crashtest.Transactional
	p.books.modes(p, p.op, ledger.Nth(1, usual, one)...)
}

// letGo releases the request that the ledger holds and waits until it has
// happened.
func (p *play) letGo() {
	if p.holding {
		p.holding = false
		p.books.arrived(p, p.op, 1)
		p.books.release(p, p.op)
		p.books.decided(p, p.op, 1)
	}
}

func (p *play) job() crashtest.Job {
	return crashtest.Job{Store: p.url, Ledger: p.books.addr}
}

func (p *play) launch(rules string, job crashtest.Job) *worker {
	return launch(p, job, rules, false)
}

func (p *play) call() *worker {
	job := p.job()
	job.Calls = []crashtest.Call{{Op: p.op, Policy: p.policy}}
	return p.launch("", job)
}

func (p *play) ask(rules string) *worker {
	job := p.job()
	job.Ask = []crashtest.Question{{Policy: p.policy, Request: p.op}}
	return p.launch(rules, job)
}

// begin starts the first process.
func (p *play) begin(rules string) *worker {
	if p.asks() {
		p.first = p.ask(rules)
		return p.first
	}
	job := p.job()
	job.Calls = []crashtest.Call{{Op: p.op, Policy: p.policy}}
	p.first = p.launch(rules, job)
	return p.first
}

// makeUncertain kills a process behind its effect and has the claim parked,
// where the policy parks.
func (p *play) makeUncertain() {
	job := p.job()
	job.Calls = []crashtest.Call{{Op: p.op, Policy: p.policy}}
	p.launch("guard.effect.after=kill", job).killed()
	p.call().wait()
}

// phase notes what callers of these processes were told.
func (p *play) phase(workers ...*worker) {
	var told []string
	for _, w := range workers {
		if code := w.cmd.ProcessState.ExitCode(); code > 0 {
			p.Errorf("%s: a worker ended with %s\n%s", p.cell, w.cmd.ProcessState, w.stderr.String())
		}
		lines := w.lines()
		p.all = append(p.all, lines...)
		for _, l := range returns(lines) {
			told = append(told, l.Told)
		}
		if p.asks() && w == p.first {
			told = append(told, answered(lines))
		}
	}
	slices.Sort(told)
	p.out.told = append(p.out.told, slices.Compact(told))
}

// answered is what a lookup's process came to.
func answered(lines []crashtest.Line) string {
	for _, l := range lines {
		if l.Kind == crashtest.Asked {
			return l.Told
		}
	}
	return dead
}

// gather reads what is stored and what happened, and checks what holds in every
// cell.
func (p *play) gather() {
	r := p.record(p, p.policy, p.op)
	p.out.state, p.out.attempt = r.State.String(), r.Attempt
	p.out.evidence = p.evidence(p, p.policy, p.op)
	var happened []string
	if p.policy == crashtest.Transactional {
		p.out.effects = p.rows(p, p.op)
		happened = slices.Repeat([]string{"row " + p.op}, p.out.effects)
	} else {
		happened = p.books.effects(p, p.op)
		p.out.effects = len(happened)
	}
	for _, broken := range promises(r, p.policy, happened, p.all) {
		p.Errorf("%s: %s", p.cell, broken)
	}
}
