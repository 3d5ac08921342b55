package storesuite

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onceguard/onceguard"
)

var secretCases = []testCase{
	{"the first offer stays", secretsFirst},
	{"offers at once: everybody reads the same", secretsRace},
}

func secretsFirst(e *env) {
	before, err := e.Store.Secrets(e.ctx, nil)
	e.must(err)
	have := map[string]bool{}
	for _, s := range before { // a store may be created with its own
		have[s.Name] = true
	}
	offer := []onceguard.Secret{
		{Name: "z-test", Value: []byte{0, 1, 0xff}, Wrapped: true},
		{Name: "a-test", Value: []byte("a")},
	}
	first, err := e.Store.Secrets(e.ctx, offer)
	e.must(err)
	if len(first) != len(before)+2 {
		e.Fatalf("%d secrets after offering two to %d", len(first), len(before))
	}
	for i, s := range first {
		if i > 0 && first[i-1].Name >= s.Name {
			e.Errorf("%s comes before %s", first[i-1].Name, s.Name)
		}
		if s.CreatedAt.IsZero() {
			e.Errorf("%s was made at no time", s.Name)
		}
		if s.Name == "z-test" && (!s.Wrapped || !bytes.Equal(s.Value, offer[0].Value)) {
			e.Error("a wrapped binary secret came back changed")
		}
	}
	second, err := e.Store.Secrets(e.ctx, []onceguard.Secret{{Name: "a-test", Value: []byte("another")}})
	e.must(err)
	if !cmp.Equal(first, second, cmpopts.EquateEmpty()) {
		e.Error("a second offer of the same name changed what is stored")
	}
}

func secretsRace(e *env) {
	const offers = 8
	answers := make([][]onceguard.Secret, offers)
	stores := e.both()
	var all sync.WaitGroup
	for i := range offers {
		all.Go(func() {
			var err error
			answers[i], err = stores[i%2].Secrets(e.ctx, []onceguard.Secret{
				{Name: "race-a", Value: fmt.Append(nil, "a", i)}, {Name: "race-b", Value: fmt.Append(nil, "b", i)},
			})
			if err != nil {
				e.Errorf("offer %d: %v", i, err)
			}
		})
	}
	all.Wait()
	for i := range answers {
		if !cmp.Equal(answers[0], answers[i]) {
			e.Errorf("offers 0 and %d read different secrets", i)
		}
	}
}
