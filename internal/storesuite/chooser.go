package storesuite

import (
	"math/rand/v2"
)

// plainHistories is how many random histories a harness without a source of
// choices gets.
const plainHistories = 100

// sampled draws one of list.
func sampled[E any](c Chooser, label string, list []E) E {
	return list[c.Int(label, 0, len(list)-1)]
}

// seeded draws from a seed, and names it when the history fails.
type seeded struct {
	T
	rand *rand.Rand
	seed uint64
	n    int
}

func (s *seeded) Int(_ string, from, to int) int { return from + s.rand.IntN(to-from+1) }

func (s *seeded) Fatalf(format string, args ...any) {
	s.T.Helper()
	s.T.Logf("history %d of seed %d", s.n, s.seed)
	s.T.Fatalf(format, args...)
}

func plainly(t T, play func(Chooser)) {
	seed := rand.Uint64()
	for n := range plainHistories {
		play(&seeded{T: t, rand: rand.New(rand.NewPCG(seed, uint64(n))), seed: seed, n: n})
	}
}
