//go:build linux

package crashtest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/pgtest"
)

// pair is a primary and its standby. Workers get a URL that names both.
type pair struct {
	testing.TB
	*memory
	primary, standby *pgtest.Cluster
	books            *books
	workers          []*worker
}

const standbyName = "second"

func newPair(t testing.TB, synchronous bool) *pair {
	t.Helper()
	p := &pair{TB: t}
	p.primary, p.memory = privateServer(t, pgtest.Options{})
	p.standby = pgtest.Start(t, pgtest.Options{StandbyOf: p.primary, Name: standbyName})
	p.books = newBooks(t)
	if synchronous {
		p.primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '"+standbyName+"'")
		p.primary.Exec(t, "SELECT pg_reload_conf()")
		pgtest.WaitFor(t, p.direct, "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
	}
	p.url = strings.Replace(p.direct, "@"+p.primary.Addr(), "@"+p.primary.Addr()+","+p.standby.Addr(), 1)
	if p.url == p.direct {
		t.Fatalf("no address to replace in %s", p.direct)
	}
	return p
}

// job is for a worker that goes on through a failover: nothing in it gives up
// before the standby is promoted.
func (p *pair) job(calls ...crashtest.Call) crashtest.Job {
	return crashtest.Job{
		Store: p.url, Ledger: p.books.addr, Calls: calls, Parallel: 8,
		Lease: 20 * time.Second, StoreTimeout: patience, SettleWait: patience, Wait: patience,
	}
}

func (p *pair) launch(job crashtest.Job, open bool) *worker {
	p.Helper()
	w := launch(p, job, "", open)
	p.workers = append(p.workers, w)
	return w
}

// promote kills the primary, all of it, and makes the standby the primary.
func (p *pair) promote() {
	p.Helper()
	p.primary.Kill(p)
	if !p.standby.Running() {
		p.standby.Restart(p)
	}
	p.standby.Promote(p)
	p.direct = strings.Replace(p.direct, p.primary.Addr(), p.standby.Addr(), 1)
	p.reader = p.openReader(p)
}

func (p *pair) lines(op string) (lines []crashtest.Line) {
	for _, w := range p.workers {
		for _, l := range w.lines() {
			if l.Request == op {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

// TestFailoverSynchronous kills the primary and promotes its synchronous
// standby in the middle of load. No receipt that a caller holds is lost, and
// no effect happens twice, although claims go on without anybody's word.
func TestFailoverSynchronous(t *testing.T) {
	t.Parallel()
	p := newPair(t, true)
	const ops = 300
	var calls []crashtest.Call
	for i := range ops {
		policy := crashtest.AtMostOnce
		if i%3 == 0 {
			policy = crashtest.SafeRetry
		}
		op := fmt.Sprintf("sync %d", i)
		p.books.modes(t, op, dedup)
		calls = append(calls, crashtest.Call{Op: op, Policy: policy})
	}
	for i := range 3 { // three processes that race, each in an order of its own
		job := p.job(slices.Concat(calls[i*ops/3:], calls[:i*ops/3])...)
		job.Continue = true
		p.launch(job, false)
	}
	p.workers[0].until("be told 30 receipts", func() bool { return receipts(p.workers[0].lines()) >= 30 })
	acknowledged := map[string]string{} // by request, as callers held them before the kill
	for _, w := range p.workers {
		for _, l := range w.returns() {
			if l.Told == crashtest.Receipt {
				acknowledged[l.Request] = l.Value
			}
		}
	}
	p.promote()
	for _, w := range p.workers {
		w.ok()
	}
	total := 0
	for _, c := range calls {
		rec, happened := p.record(t, c.Policy, c.Op), p.books.effects(t, c.Op)
		total += len(happened)
		for _, b := range promises(rec, c.Policy, happened, p.lines(c.Op)) {
			t.Errorf("%s (%s): %s", c.Op, c.Policy, b)
		}
		if rec.State != onceguard.Succeeded {
			t.Errorf("%s (%s) ends as %s: %s", c.Op, c.Policy, rec.State, rec.Reason)
		}
		if value, ok := acknowledged[c.Op]; ok && value != string(rec.Result.Body) {
			t.Errorf("%s: before the failover a caller held %s, now %s is stored", c.Op, value, rec.Result.Body)
		}
	}
	if len(acknowledged) < 30 || len(acknowledged) == ops || total != ops {
		t.Errorf("%d receipts were acknowledged before the kill, of %d requests, and there are %d effects: no failover in the middle of load", len(acknowledged), ops, total)
	}
	t.Logf("%d receipts acknowledged before the failover are all there; %d requests, %d effects", len(acknowledged), ops, total)
	notes, err := p.reader.Evidence(limit(t), onceguard.RequestID{})
	if err != nil || !slices.ContainsFunc(notes, func(e onceguard.Evidence) bool { return e.Kind == onceguard.EvidenceEpoch }) {
		t.Errorf("the failover leaves no evidence: %+v, %v", notes, err)
	}

	// The old primary comes back and knows nothing of it. Its commits wait for
	// a standby that is none any more, so nothing there is ever acknowledged.
	p.primary.Restart(t)
	old := strings.Replace(p.direct, p.standby.Addr(), p.primary.Addr(), 1)
	late := crashtest.Call{Op: "after the failover", Policy: crashtest.AtMostOnce}
	job := p.job(late)
	job.Store, job.StoreTimeout = old, 2*time.Second
	w := launch(t, job, "", false)
	w.has("what its caller was told", func(l crashtest.Line) bool { return l.Kind == crashtest.Return })
	if told := w.returns()[0].Told; told != "not-run" {
		t.Errorf("the old primary's caller is told %s, want not-run", told)
	}
	if got := p.books.effects(t, late.Op); len(got) != 0 {
		t.Errorf("the old primary let effects happen: %v", got)
	}
	w.signal(killSignal)
	p.primary.Kill(t)
}

func receipts(lines []crashtest.Line) (n int) {
	for _, l := range lines {
		if l.Kind == crashtest.Return && l.Told == crashtest.Receipt {
			n++
		}
	}
	return n
}

// TestFailoverAsynchronous promotes a standby that has not heard the last
// claims and receipts. The store notices, and nothing that could happen twice
// runs until a person has looked; what the standby knows is still replayed.
func TestFailoverAsynchronous(t *testing.T) {
	t.Parallel()
	p := newPair(t, false)
	kept := crashtest.Call{Op: "heard", Policy: crashtest.AtMostOnce}
	lost := crashtest.Call{Op: "not heard", Policy: crashtest.AtMostOnce}
	again := crashtest.Call{Op: "not heard, safe to retry", Policy: crashtest.SafeRetry}
	p.books.modes(t, again.Op, dedup)
	tell := func(c crashtest.Call, want string) crashtest.Line {
		t.Helper()
		l := p.launch(p.job(c), false).ok().returns()[0]
		if l.Told != want {
			t.Errorf("the caller of %q is told %s (%s), want %s", c.Op, l.Told, l.Text, want)
		}
		return l
	}
	before := tell(kept, crashtest.Receipt)
	pgtest.WaitFor(t, p.primary.URL("postgres"), "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn = pg_current_wal_lsn()")
	p.standby.Stop(t, pgtest.Fast) // from here on it hears nothing
	tell(lost, crashtest.Receipt)
	tell(again, crashtest.Receipt)
	p.promote()
	if r := p.record(t, lost.Policy, lost.Op); r.State != onceguard.Absent {
		t.Fatalf("the standby has the claim (%s): this test tests nothing", r.State)
	}

	if l := tell(kept, crashtest.Receipt); l.Value != before.Value || !l.Replayed {
		t.Errorf("after the failover a caller holds %s (replayed %t), before it %s", l.Value, l.Replayed, before.Value)
	}
	if l := tell(lost, "frozen"); l.MayRun {
		t.Error("a frozen call says that its effect may have run")
	}
	tell(again, crashtest.Receipt) // the downstream knows its key, and does nothing again
	for _, c := range []crashtest.Call{lost, again} {
		if got := p.books.effects(t, c.Op); len(got) != 1 {
			t.Errorf("%q has %d effects after the failover: %v", c.Op, len(got), got)
		}
	}

	info, err := p.reader.Info(limit(t))
	if err != nil || !info.Frozen {
		t.Fatalf("after the failover: %+v, %v", info, err)
	}
	err = p.reader.Acknowledge(limit(t), onceguard.Acknowledgement{Epoch: info.Epoch, By: "ana", Reason: "compared with the ledger"})
	if err != nil {
		t.Fatal(err)
	}
	fresh := crashtest.Call{Op: "after the acknowledgement", Policy: crashtest.AtMostOnce}
	tell(fresh, crashtest.Receipt)
	if got := p.books.effects(t, fresh.Op); len(got) != 1 {
		t.Errorf("%q has %d effects", fresh.Op, len(got))
	}
}
