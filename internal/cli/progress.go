package cli

import (
	"fmt"
	"sync"
	"time"
)

// progress counts long work: one line that is written over on a terminal, plain
// lines now and then elsewhere, so that a log shows life and is not flooded.
type progress struct {
	a          *app
	verb, noun string
	every      time.Duration
	live       bool

	mu    sync.Mutex
	n     int
	shown time.Time
	wrote bool
}

func (a *app) progress(verb, noun string) *progress {
	p := &progress{a: a, verb: verb, noun: noun, every: 10 * time.Second, live: terminal(a.stderr), shown: time.Now()}
	if p.live {
		p.every = 100 * time.Millisecond
	}
	return p
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n += n
	if time.Since(p.shown) < p.every {
		return
	}
	p.shown, p.wrote = time.Now(), true
	if p.live {
		fmt.Fprintf(p.a.stderr, "\r\x1b[Konceguard: %s %d %s", p.verb, p.n, p.noun)
		return
	}
	p.a.say("%s %d %s so far", p.verb, p.n, p.noun)
}

// end prints the sum.
func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live && p.wrote {
		fmt.Fprint(p.a.stderr, "\r\x1b[K")
	}
	if err == nil {
		p.a.say("%s %d %s", p.verb, p.n, p.noun)
	}
}
