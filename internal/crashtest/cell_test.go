//go:build linux

package crashtest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/cutproxy"
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

// strike starts the first process, lets the fault happen, and returns the two
// retries. All have ended then.
func (p *play) strike() []*worker {
	switch p.action {
	case actKill:
		p.kill()
	case actError:
		p.fail()
	case actDelay:
		return p.delay()
	case actPause:
		return p.pause()
	case actCut:
		p.cut()
	}
	p.letGo()
	p.first.wait()
	return p.pair(func(workers ...*worker) {})
}

// pair starts two retries at once and returns when both have ended. between is
// called while they run.
func (p *play) pair(between func(...*worker)) []*worker {
	two := []*worker{p.call(), p.call()}
	between(two...)
	for _, w := range two {
		w.wait()
	}
	return two
}

func (p *play) kill() {
	if p.point != inFlight {
		p.begin(p.point + "=kill").wait()
		p.out.passed = p.first.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled()
		return
	}
	p.begin("")
	if p.policy != crashtest.Transactional {
		p.books.arrived(p, p.op, 1)
		p.first.signal(syscall.SIGKILL)
		p.out.passed = true
	}
}

func (p *play) fail() {
	if p.point == inFlight {
		p.begin("").wait()
		p.out.passed = p.policy != crashtest.Transactional
		return
	}
	p.begin(p.point + "@1=error")
	if p.holding {
		p.first.passed(p.point, 2) // the renewal that follows the failed one
	}
	p.letGo()
	p.first.wait()
	p.out.passed = p.first.count(p.point, true) > 0
}

// met waits until the rule has fired, or the process has ended without it.
func (p *play) met() bool {
	for !p.first.endsWithin(2 * time.Millisecond) {
		if p.first.count(p.point, true) > 0 {
			return true
		}
	}
	return p.first.count(p.point, true) > 0
}

func (p *play) delay() []*worker {
	if p.point == inFlight {
		p.begin("")
		if p.out.passed = p.policy != crashtest.Transactional; p.out.passed {
			p.books.arrived(p, p.op, 1)
		}
	} else {
		p.begin(p.point + "@1=delay:" + (2 * crashtest.DefaultLease).String())
		p.out.passed = p.met()
	}
	two := p.pair(func(two ...*worker) { p.first.endsWithin(crashtest.DefaultLease) })
	p.letGo()
	p.first.wait()
	return two
}

func (p *play) pause() []*worker {
	if p.point == inFlight {
		p.begin("")
		if p.out.passed = p.policy != crashtest.Transactional; p.out.passed {
			p.books.arrived(p, p.op, 1)
			p.first.signal(syscall.SIGSTOP)
		}
	} else {
		p.begin(p.point + "@1=stop")
		p.out.passed = p.met()
	}
	if p.out.passed {
		p.first.stopped()
		if p.point == inFlight {
			p.letGo() // it happens while nobody listens
		}
	}
	two := p.pair(func(two ...*worker) {
		// A paused process may hold the store's lock: then the retries wait for
		// it, not it for them.
		over := time.Now().Add(2 * crashtest.DefaultLease)
		for _, w := range two {
			w.endsWithin(time.Until(over))
		}
		if p.out.passed {
			p.first.endsWithin(time.Until(over))
			p.letGo()
			p.first.signal(syscall.SIGCONT)
		}
	})
	p.first.wait()
	return two
}

// frames are where the proxy cuts: before the server hears of the commit, and
// before its answer comes back.
func (p *play) frames() (rule cutproxy.Rule, ok bool) {
	text, explicit := "", p.policy == crashtest.Transactional
	switch {
	case explicit && strings.HasPrefix(p.point, "store.settle."):
		when := cutproxy.Sends("commit")
		if strings.Contains(p.point, ".after") {
			when = cutproxy.Answers("commit")
		}
		rule.When = func(f cutproxy.Frame) bool { return strings.EqualFold(f.SQL, "commit") && when(f) }
		rule.Do = cutproxy.CutBefore(cutproxy.Reset)
		return rule, true
	case strings.HasPrefix(p.point, "store.claim."):
		text = "INSERT INTO onceguard_receipt (request_id, scope"
	case strings.HasPrefix(p.point, "store.settle."):
		text = "UPDATE onceguard_receipt SET state"
	case p.renews():
		text = "SET lease_until = greatest"
	default:
		return rule, false
	}
	rule = cutproxy.Rule{When: cutproxy.Commits(text), Do: cutproxy.CutBefore(cutproxy.Reset)}
	if strings.Contains(p.point, ".after") {
		rule.When = cutproxy.Answers(text)
	}
	return rule, true
}

func (p *play) cut() {
	if rule, ok := p.frames(); ok {
		h := p.proxy.Add(rule)
		p.begin("")
		if p.holding {
			p.first.until("renew", func() bool { return h.Count() > 0 })
		}
		p.letGo()
		p.first.wait()
		p.out.passed = h.Count() > 0
		return
	}
	if p.point == inFlight {
		p.begin("")
		if p.out.passed = p.policy != crashtest.Transactional; p.out.passed {
			p.books.arrived(p, p.op, 1)
			p.proxy.CutAll(cutproxy.Reset)
		}
		return
	}
	p.begin(p.point + "@1=stop")
	if p.out.passed = p.met(); p.out.passed {
		p.first.stopped()
		p.proxy.CutAll(cutproxy.Reset)
		p.first.signal(syscall.SIGCONT)
	}
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

// promises checks what must hold for every request, whatever happened to it,
// once all is quiet.
func promises(r onceguard.Record, policy string, happened []string, lines []crashtest.Line) (broken []string) {
	complain := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	if len(happened) > 1 && policy != crashtest.Rerun {
		complain("%d effects under %s: %v", len(happened), policy, happened)
	}
	stored := string(r.Result.Body)
	switch r.State {
	case onceguard.Succeeded:
		var paid crashtest.Paid
		if err := json.Unmarshal(r.Result.Body, &paid); r.Result.Missing == onceguard.HasBody && (err != nil || !slices.Contains(happened, paid.Effect)) {
			complain("the receipt names the effect %q (%v), and what happened is %v", paid.Effect, err, happened)
		}
	case onceguard.Failed, onceguard.Released, onceguard.Absent:
		if len(happened) > 0 {
			complain("the record is %s, and there are effects: %v", r.State, happened)
		}
	}
	type caller struct {
		pid int
		n   int64
	}
	sent := map[caller]bool{}
	for _, l := range lines {
		if l.Kind == crashtest.Sent {
			sent[caller{l.PID, l.N}] = true
		}
	}
	for _, l := range lines {
		if l.Kind != crashtest.Return {
			continue
		}
		if l.Told == crashtest.Receipt && (r.State != onceguard.Succeeded || r.Result.Missing == onceguard.HasBody && l.Value != stored) {
			complain("a caller holds the receipt %s, and stored is %s %s", l.Value, r.State, stored)
		}
		if l.Told == string(onceguard.ErrRefused) && r.State != onceguard.Failed {
			complain("a caller was refused, and stored is %s", r.State)
		}
		if !l.MayRun && sent[caller{l.PID, l.N}] && l.Told != "refused" && l.Told != "not-executed" && l.Told != "panic" && l.Told != "goexit" {
			complain("a caller was told %s and that nothing ran, and its effect had sent a request", l.Told)
		}
	}
	return broken
}
