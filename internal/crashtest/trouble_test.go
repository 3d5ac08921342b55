//go:build linux

package crashtest_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/cutproxy"
)

// trouble is a worker and what is planned for it.
type trouble struct {
	*worker
	harmed bool
}

// plan is drawn before anything runs, so that the seed fixes it.
type plan struct {
	job   crashtest.Job
	rules string
	kill  time.Duration // after its start; 0: not
	stop  time.Duration
	wake  time.Duration // after stop
}

// plan draws the life of one worker.
func (r *round) plan() plan {
	job := crashtest.Job{
		Store: r.url, Ledger: r.books.addr, Lease: campaignLease, Wait: time.Second,
		StoreTimeout: 2 * time.Second, SettleWait: 2 * time.Second, Parallel: 4, Sweep: r.chance(0.2),
	}
	// Few requests are hot at a time, so that processes meet over them while
	// they are young.
	hot := int(time.Since(r.fury) * campaignOps / campaignFury)
	r.surround(&job)
	for range 25 {
		i := (hot + r.rng.IntN(campaignOps/5)) % campaignOps
		c := crashtest.Call{Op: r.op(i), Policy: r.policy(i), Heed: r.chance(0.5)}
		if r.nemesis == diskFull {
			c.Body = 1 + r.rng.IntN(30_000)
		}
		job.Calls = append(job.Calls, c)
	}
	for i := range campaignOps {
		if r.policy(i) == crashtest.WithLookup && r.chance(0.3) {
			job.Ask = append(job.Ask, crashtest.Question{Policy: crashtest.WithLookup, Request: r.op(i)})
		}
	}
	p := plan{job: job}
	for range r.rng.IntN(3) {
		p.rules += r.rule() + ";"
	}
	switch r.rng.IntN(4) {
	case 0:
		p.kill = r.some(30*time.Millisecond, 800*time.Millisecond)
	case 1:
		p.stop = r.some(30*time.Millisecond, 600*time.Millisecond)
		p.wake = r.some(campaignLease/4, 3*campaignLease)
	}
	return p
}

// surround gives a job what the round's nemesis acts upon.
func (r *round) surround(job *crashtest.Job) {
	if r.clock != nil {
		job.Clock = r.clock.path
	}
	if r.nemesis == diskFull {
		job.Reserve = 2 << 20
	}
}

// rule draws a failpoint rule.
func (r *round) rule() string {
	points := points(actKill)
	point := points[r.rng.IntN(len(points))]
	for point == inFlight {
		point = points[r.rng.IntN(len(points))]
	}
	act := "kill"
	switch n := r.rng.IntN(6); {
	case n == 0:
		act = "delay:" + r.some(campaignLease/4, 3*campaignLease).String()
	case n <= 2 && mayFail(point):
		act = "error"
	case n <= 3:
		act = "stop"
	}
	return fmt.Sprintf("%s@%d=%s", point, 1+r.rng.IntN(4), act)
}

// mayFail reports whether an error can be injected at a point.
func mayFail(point string) bool {
	for _, p := range points(actError) {
		if p == point && p != inFlight {
			return true
		}
	}
	return false
}

// rage lets the round's trouble happen. All workers have ended when it returns.
func (r *round) rage() {
	r.fury = time.Now()
	end := r.fury.Add(campaignFury)
	var wg sync.WaitGroup
	var mu sync.Mutex // over the random numbers and the workers
	cuts, strikes := rand.New(rand.NewPCG(r.rng.Uint64(), 1)), rand.New(rand.NewPCG(r.rng.Uint64(), 2))
	wg.Go(func() { r.cutting(cuts, end) })
	wg.Go(func() { r.strikes(strikes, end) })
	for range campaignSlots {
		wg.Go(func() {
			for time.Now().Before(end) {
				mu.Lock()
				p := r.plan()
				mu.Unlock()
				w := &trouble{worker: launch(r, p.job, p.rules, false)}
				killed, stopped := w.live(p, end)
				mu.Lock()
				r.workers = append(r.workers, w)
				mu.Unlock()
				r.note("workers", 1)
				if killed {
					r.note("kills", 1)
				}
				if stopped {
					r.note("stops", 1)
				}
				r.ambiguous(w.worker)
			}
		})
	}
	wg.Wait()
}

// live sees a worker through its planned life, and says whether it was killed,
// by us or by a rule, and whether it was stopped.
func (w *trouble) live(p plan, end time.Time) (killed, stopped bool) {
	if p.kill > 0 && !w.endsWithin(p.kill) {
		w.signal(killSignal)
	}
	if p.stop > 0 && !w.endsWithin(p.stop) {
		w.signal(syscall.SIGSTOP)
		stopped = true
		w.endsWithin(p.wake)
		w.signal(syscall.SIGCONT)
	}
	for strings.Contains(p.rules, "=stop") && time.Now().Before(end.Add(patience)) && !w.endsWithin(2*campaignLease) {
		w.signal(syscall.SIGCONT)
		stopped = true
	}
	if !w.endsWithin(time.Until(end) + patience) {
		w.t.Errorf("a worker does not end by itself")
		w.signal(killSignal)
	}
	<-w.ended
	status := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed = status.Signaled()
	w.harmed = killed || stopped || p.rules != ""
	// 1: the store could not be opened through a cut connection.
	if code := status.ExitStatus(); !killed && code != 0 && code != 1 {
		w.t.Errorf("a worker ended with status %d\n%s", code, w.stderr.String())
	}
	return killed, stopped
}

// cutting breaks connections at random moments and at random commits.
func (r *round) cutting(rng *rand.Rand, end time.Time) {
	if r.proxy == nil {
		return
	}
	var before, after, atByte []*cutproxy.Handle
	for time.Now().Before(end) {
		time.Sleep(time.Duration(rng.IntN(250)) * time.Millisecond)
		text := []string{claiming, settling}[rng.IntN(2)]
		switch rng.IntN(6) {
		case 0:
			r.note("connections cut", r.proxy.CutAll(cutproxy.Reset))
		case 5: // in the middle of whatever a connection sends or is sent by then
			dir := []cutproxy.Direction{cutproxy.ToServer, cutproxy.ToClient}[rng.IntN(2)]
			rule := cutproxy.AtByte(dir, 200+rng.Int64N(20_000), cutproxy.Reset)
			rule.Times = 1
			atByte = append(atByte, r.proxy.Add(rule))
		case 1, 2:
			before = append(before, r.proxy.Add(cutproxy.Rule{When: cutproxy.Commits(text), Do: cutproxy.CutBefore(cutproxy.Reset)}))
		default:
			after = append(after, r.proxy.Add(cutproxy.Rule{When: cutproxy.Answers(text), Do: cutproxy.CutBefore(cutproxy.Reset)}))
		}
	}
	for _, h := range atByte {
		r.note("connections cut at a byte", h.Count())
	}
	for _, h := range before {
		r.note("ambiguous commits, not applied", h.Count())
	}
	for _, h := range after {
		r.note("ambiguous commits, applied", h.Count())
	}
}
