package storesuite

import (
	"bytes"
	"fmt"
	"strings"
	"sync"

	"github.com/onceguard/onceguard"
)

var evidenceCases = []testCase{
	{"is kept in order, binary safe", evidenceOrder},
	{"equal pieces are kept once", evidenceOnce},
	{"equal pieces at once are kept once", evidenceOnceAtOnce},
	{"a long body is cut and says so", evidenceCut},
	{"no more than the limit per request", evidenceCap},
	{"a checkpoint is the owner's alone", checkpointOwner},
	{"nothing is known of a request that is not there", evidenceMissing},
}

func evidenceOrder(e *env) {
	c := e.granted()
	bodies := [][]byte{{0, 1, 2, 255}, nil, []byte("'); --"), bytes.Repeat([]byte{0xff}, onceguard.MaxEvidenceBody)}
	for i, b := range bodies {
		e.must(e.Store.AppendEvidence(e.ctx, onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: int64(i), By: "reconciler", Detail: fmt.Sprint("lookup ", i), Body: b}))
	}
	list, err := e.Store.Evidence(e.ctx, c.ID)
	e.must(err)
	if len(list) != len(bodies) {
		e.Fatalf("%d pieces are kept of %d", len(list), len(bodies))
	}
	for i, x := range list {
		if !bytes.Equal(x.Body, bodies[i]) || x.Attempt != int64(i) || x.Detail != fmt.Sprint("lookup ", i) || x.By != "reconciler" || x.At.IsZero() {
			e.Errorf("piece %d is %s by %s: %q with %d bytes at %s", i, x.Kind, x.By, x.Detail, len(x.Body), x.At)
		}
	}
}

func evidenceOnce(e *env) {
	c := e.granted()
	one := onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: 1, By: "reconciler", Detail: "first", Body: []byte("x")}
	for range 3 {
		e.must(e.Store.AppendEvidence(e.ctx, one))
		one.Detail = "again"
	}
	other := one
	other.Attempt = 2
	e.must(e.Store.AppendEvidence(e.ctx, other))
	other = one
	other.Body = []byte("y")
	e.must(e.Store.AppendEvidence(e.ctx, other))
	other = one
	other.Kind = onceguard.EvidenceCheckpoint
	e.must(e.Store.AppendEvidence(e.ctx, other))
	list := e.evidence(c.ID, onceguard.EvidenceLookup, onceguard.EvidenceLookup, onceguard.EvidenceLookup, onceguard.EvidenceCheckpoint)
	if list[0].Detail != "first" {
		e.Errorf("kept %q: what was said first stays", list[0].Detail)
	}
}

func evidenceOnceAtOnce(e *env) {
	c := e.granted()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := e.Store.AppendEvidence(e.ctx, onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: 1, Body: []byte("x")})
			if err != nil {
				e.Error(err)
			}
		})
	}
	all.Wait()
	e.evidence(c.ID, onceguard.EvidenceLookup)
}

func evidenceCut(e *env) {
	c := e.granted()
	body := bytes.Repeat([]byte("x"), onceguard.MaxEvidenceBody+1)
	for range 2 {
		e.must(e.Store.AppendEvidence(e.ctx, onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: 1, Detail: "lookup", Body: body}))
	}
	a, err := e.Store.Checkpoint(e.ctx, onceguard.Checkpoint{ID: c.ID, Attempt: 1, Owner: c.Owner, Body: body})
	e.must(err)
	e.want(a, onceguard.Applied, onceguard.NoTransition)
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7)
	e.settle(says(c, 1, onceguard.SettleSucceeded, string(body)), onceguard.Settled, onceguard.T14)
	for _, x := range e.evidence(c.ID, onceguard.EvidenceLookup, onceguard.EvidenceCheckpoint, onceguard.EvidenceConflict) {
		if len(x.Body) != onceguard.MaxEvidenceBody || !strings.Contains(x.Detail, "cut") {
			e.Errorf("%s: %d bytes are kept and it says %q", x.Kind, len(x.Body), x.Detail)
		}
	}
}

func evidenceCap(e *env) {
	if e.Short {
		e.Skip("a thousand writes: not with -short")
	}
	c := e.granted()
	for i := range onceguard.MaxEvidence + 2 {
		e.must(e.Store.AppendEvidence(e.ctx, onceguard.Evidence{ID: c.ID, Kind: onceguard.EvidenceLookup, Attempt: int64(i)}))
	}
	if got := len(e.kinds(c.ID)); got != onceguard.MaxEvidence {
		e.Errorf("%d pieces are kept, the limit is %d", got, onceguard.MaxEvidence)
	}
	e.settle(succeeds(c, 1), onceguard.Settled, onceguard.T7) // a full pile loses no outcome
	e.settle(says(c, 1, onceguard.SettleFailed, "no"), onceguard.Settled, onceguard.T14)
	e.state(c.ID, onceguard.Succeeded, 1)
}

func checkpointOwner(e *env) {
	put := func(c onceguard.Claim, attempt int64, body string, want onceguard.Outcome) {
		e.Helper()
		a, err := e.Store.Checkpoint(e.ctx, onceguard.Checkpoint{ID: c.ID, Attempt: attempt, Owner: c.Owner, Body: []byte(body)})
		e.must(err)
		e.want(a, want, onceguard.NoTransition)
		if a.Mine != (want == onceguard.Applied) {
			e.Errorf("%s is answered with mine %v", want, a.Mine)
		}
	}
	c := e.granted(under(rerun), leased(brief))
	before := e.found(c.ID)
	put(c, 1, "re_1", onceguard.Applied)
	put(c, 1, "re_1", onceguard.Applied)
	put(again(c), 1, "stranger", onceguard.Fenced)
	put(c, 2, "another attempt", onceguard.Fenced)
	e.same(before, e.found(c.ID))
	e.lapse()
	second := again(c, leased(long))
	e.claim(second, onceguard.Granted, onceguard.T4)
	put(c, 1, "superseded", onceguard.Fenced)
	put(second, 2, "re_2", onceguard.Applied)
	list := e.evidence(c.ID, onceguard.EvidenceCheckpoint, onceguard.EvidenceTakeover, onceguard.EvidenceCheckpoint)
	if string(list[0].Body) != "re_1" || list[0].Attempt != 1 || string(list[2].Body) != "re_2" || list[2].Attempt != 2 {
		e.Errorf("kept %q of %d, %q of %d", list[0].Body, list[0].Attempt, list[2].Body, list[2].Attempt)
	}
	gone := e.request()
	put(gone, 1, "x", onceguard.Missing)
	e.evidence(gone.ID)
	released := e.granted()
	e.release(released, 1)
	put(released, 1, "x", onceguard.Fenced)
	parked := e.parked()
	put(parked, 1, "late help for the lookup", onceguard.Applied)
}

func evidenceMissing(e *env) { e.evidence(e.request().ID) }
