//go:build linux

package crashtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/crashtest"
)

// A thousand callers in four processes ask for the same thing at once.
func TestThousandCallers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		for _, policy := range []string{crashtest.AtMostOnce, crashtest.Transactional} {
			t.Run(policy, func(t *testing.T) {
				s := s.again(t)
				for range 4 {
					job := s.job(crashtest.Call{Policy: policy, Copies: 250, Wait: time.Minute})
					job.Lease = 10 * time.Second // the crowd itself makes owners slow
					s.launch("", job)
				}
				told := 0
				first := 0
				for _, w := range s.workers {
					for _, l := range w.ok().returns() {
						told++
						if !l.Replayed {
							first++
						}
						s.tells("a caller", l, crashtest.Receipt)
					}
				}
				if told != 1000 || first != 1 {
					t.Errorf("%d callers were told, %d of them that they were first; want 1000 and 1", told, first)
				}
				s.ends(policy, onceguard.Succeeded, 1)
			})
		}
	})
}

// Two processes race through the same requests, each in its own order.
func TestTwoProcessesRace(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s *stage) {
		const ids = 150
		var there, back crashtest.Job
		for i := range ids {
			c := crashtest.Call{Op: fmt.Sprintf("%s %d", s.op, i), Policy: crashtest.AtMostOnce, Wait: time.Minute}
			there.Calls = append(there.Calls, c)
			back.Calls = append([]crashtest.Call{c}, back.Calls...)
		}
		for _, calls := range [][]crashtest.Call{there.Calls, back.Calls} {
			job := s.job(calls...)
			job.Parallel, job.Lease = 8, 10*time.Second
			s.launch("", job)
		}
		value := map[string]string{}
		firsts := 0
		for _, w := range s.workers {
			for _, l := range w.ok().returns() {
				s.tells("the caller of "+l.Op, l, crashtest.Receipt)
				if old, ok := value[l.Op]; ok && old != l.Value {
					t.Errorf("%s: one caller was told %s, another %s", l.Op, old, l.Value)
				}
				value[l.Op] = l.Value
				if !l.Replayed {
					firsts++
				}
			}
		}
		sum, err := s.books.Summary(limit(t))
		if err != nil {
			t.Fatal(err)
		}
		if len(value) != ids || firsts != ids || sum.Total != ids || sum.Duplicates() != 0 {
			t.Errorf("%d requests, %d first runs, %d effects, %d duplicates; want %d, %d, %d, 0", len(value), firsts, sum.Total, sum.Duplicates(), ids, ids, ids)
		}
	})
}
