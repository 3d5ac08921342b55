//go:build linux

package crashtest_test

import (
	"strings"
	"syscall"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/cutproxy"
)

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
