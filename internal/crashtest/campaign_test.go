//go:build linux

package crashtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/internal/pgtest"
)

var (
	campaignSeed = flag.Uint64("crash.seed", 0, "seed of the campaign; 0 draws one")
	campaignTime = flag.Duration("crash.duration", 20*time.Second, "how long the campaign runs on each store")
)

// Sizes of a round of the campaign.
const (
	campaignOps   = 40
	campaignSlots = 4 // worker processes at once
	campaignFury  = 2500 * time.Millisecond
	campaignLease = 400 * time.Millisecond
)

var campaignPolicies = []string{
	crashtest.AtMostOnce, crashtest.WithLookup, crashtest.SafeRetry, crashtest.SafeForgetful, crashtest.Rerun, crashtest.Transactional,
}

// TestCampaign plays rounds of random trouble: processes that die, stop, fail
// and hang at random points, a network that cuts, a ledger that errs; then all
// heals, and every promise is checked for every request.
//
// The seed fixes what is planned, not how the machine interleaves it.
func TestCampaign(t *testing.T) {
	t.Parallel()
	seed := *campaignSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for i, kind := range stores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			again := fmt.Sprintf("go test ./internal/crashtest -run 'TestCampaign/%s' -crash.seed=%d -crash.duration=%s", kind, seed, *campaignTime)
			t.Logf("seed %d; again by: %s", seed, again)
			c := &campaign{rng: rand.New(rand.NewPCG(seed, uint64(i))), count: map[string]int{}}
			if kind == postgres {
				c.server, c.memory = privateServer(t, pgtest.Options{})
			} else {
				c.memory = newMemory(t, kind)
			}
			c.books = newBooks(t)
			began := time.Now()
			for n := 1; c.goesOn(time.Since(began)); n++ {
				c.note("rounds", 1)
				if !t.Run(fmt.Sprintf("round %d", n), func(t *testing.T) { c.round(t, n) }) {
					c.report(t, kind, again, fmt.Sprintf("BROKEN in round %d", n))
					t.Fatalf("broken in round %d; again by: %s", n, again)
				}
			}
			c.judge(t, kind, again)
		})
	}
}

// campaign is what lasts over the rounds on one store.
type campaign struct {
	*memory
	books  *books
	server *pgtest.Cluster // one that may be killed, or nil
	rng    *rand.Rand

	mu    sync.Mutex // over count
	count map[string]int
}

// note counts what a campaign met.
func (c *campaign) note(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[what] += n
}

// goesOn says whether another round is due: until the time is up, and then, as
// far as three times as long, until the campaign met all that it is for.
func (c *campaign) goesOn(so time.Duration) bool {
	return so < *campaignTime || len(c.unmet()) > 0 && so < 3**campaignTime
}

// round is 40 requests in trouble.
type round struct {
	*campaign
	testing.TB
	name    string
	rng     *rand.Rand
	nemesis nemesis
	clock   *storeClock // of clockJumps
	disk    string      // of diskFull
	began   time.Time
	fury    time.Time // when the trouble began
	workers []*trouble
}

func (c *campaign) round(t *testing.T, n int) {
	r := &round{campaign: c, TB: t, name: fmt.Sprintf("r%d", n), rng: c.rng, began: time.Now()}
	r.nemesis = nemeses[c.kind][(n-1)%len(nemeses[c.kind])]
	defer r.prepare()()
	for i := range campaignOps {
		r.books.modes(t, r.op(i), r.modes(i)...)
	}
	r.rage()
	r.heal()
	r.check()
}

func (r *round) op(i int) string       { return fmt.Sprintf("%s %s op %d", r.kind, r.name, i) }
func (*round) policy(i int) string     { return campaignPolicies[i%len(campaignPolicies)] }
func (r *round) chance(p float64) bool { return r.rng.Float64() < p }
func (r *round) some(from, to time.Duration) time.Duration {
	return from + time.Duration(r.rng.Int64N(int64(to-from)))
}

// usual is how the ledger treats an op when nothing is wrong.
func (r *round) usual(i int) ledger.Mode {
	switch r.policy(i) {
	case crashtest.SafeRetry:
		return dedup
	case crashtest.SafeForgetful:
		return ledger.Mode{Dedup: true}
	}
	return ledger.Mode{}
}

// modes draws what the ledger does with the first requests of an op.
func (r *round) modes(i int) []ledger.Mode {
	var list []ledger.Mode
	for range r.rng.IntN(4) {
		m := r.usual(i)
		switch r.rng.IntN(8) {
		case 0:
			m.SwallowRequest = true
		case 1:
			m.SwallowAnswer = true
		case 2:
			m.Error = ledger.Before
		case 3:
			m.Error = ledger.After
		case 4:
			m.Refuse = "no funds"
		case 5:
			m.InProgress = true
		case 6:
			m.Slow = r.some(time.Millisecond, 2*campaignLease)
		case 7:
			m.SwallowAnswer, m.Slow = true, r.some(time.Millisecond, campaignLease)
		}
		list = append(list, m)
	}
	usual := r.usual(i)
	usual.Slow = r.some(0, 60*time.Millisecond)
	return append(list, usual)
}

// heal ends all trouble, and lets every request come to its end.
func (r *round) heal() {
	for i := range campaignOps {
		r.books.modes(r, r.op(i), r.usual(i))
	}
	r.url = r.direct // past the proxy
	r.calm()
	for pass := range 2 {
		job := crashtest.Job{Store: r.url, Ledger: r.books.addr, Lease: campaignLease, Parallel: 8, Sweep: true}
		r.surround(&job)
		for i := range campaignOps {
			job.Calls = append(job.Calls, crashtest.Call{Op: r.op(i), Policy: r.policy(i), Wait: 10 * time.Second})
			if r.policy(i) == crashtest.WithLookup && pass == 0 {
				job.Ask = append(job.Ask, crashtest.Question{Policy: crashtest.WithLookup, Request: r.op(i)})
			}
		}
		w := launch(r, job, "", false)
		w.ok()
		r.workers = append(r.workers, &trouble{worker: w})
	}
}

// check looks at every request of the round.
func (r *round) check() {
	lines := map[string][]crashtest.Line{} // by request
	touched := map[string]bool{}           // requests that had a reason to be uncertain
	name := map[string]string{}            // of request IDs, as events give them
	for i := range campaignOps {
		name[requestID(r, r.policy(i), r.op(i)).String()] = r.op(i)
	}
	for _, w := range r.workers {
		all := w.lines()
		for _, l := range all {
			if op, ok := name[l.Request]; ok {
				l.Request = op
			}
			lines[l.Request] = append(lines[l.Request], l)
			if w.harmed || l.Kind == crashtest.End && l.Text != "" || l.Event == "store-retry" || l.Event == "lease-lost" {
				touched[l.Request] = true
			}
			r.tally(l)
		}
	}
	stalled := stalledSince(r.began)
	for i := range campaignOps {
		op, policy := r.op(i), r.policy(i)
		rec := r.record(r, policy, op)
		var happened []string
		if policy == crashtest.Transactional {
			happened = slices.Repeat([]string{"row " + op}, r.rows(r, op))
		} else {
			happened = r.books.effects(r, op)
		}
		broken := promises(rec, policy, happened, lines[op])
		switch {
		case rec.State == onceguard.Claimed, rec.State == onceguard.Released, rec.State == onceguard.Absent:
			broken = append(broken, fmt.Sprintf("all is quiet, and the record is %s", rec.State))
		case rec.State == onceguard.Uncertain && (policy == crashtest.WithLookup || policy == crashtest.Transactional):
			broken = append(broken, "the record stays uncertain: "+rec.Reason)
		case rec.State == onceguard.Uncertain && !touched[op] && !stalled && r.nemesis == noNemesis:
			broken = append(broken, "uncertain without a cause: "+rec.Reason)
		}
		for _, b := range broken {
			r.Errorf("%s (%s): %s", op, policy, b)
		}
		if len(broken) > 0 {
			for _, l := range lines[op] {
				r.Logf("  %s %d %s %s %s attempt %d %s %s %s", l.At.Format("05.000"), l.PID, l.Kind, l.Event, l.Change, l.Attempt, l.Told, l.Effect, l.Text)
			}
		}
		kinds := r.evidence(r, policy, op)
		r.note("requests", 1)
		r.note("effects", len(happened))
		r.note("state "+rec.State.String(), 1)
		for _, kind := range kinds {
			r.note("evidence "+kind, 1)
		}
		if slices.Contains(kinds, "takeover") {
			r.note("takeovers", 1)
		}
		if slices.Contains(kinds, "parked") && rec.State == onceguard.Succeeded && rec.SettledBy == "owner" {
			r.note("late settles", 1)
		}
		if rec.SettledBy == "reconciler" {
			r.note("lookup settles", 1)
		}
	}
}
