package memstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"time"

	"github.com/onceguard/onceguard"
)

// pile is the evidence about one request. kept outlives the bodies, so that
// evidence sent again after a prune is still found equal.
type pile struct {
	list []onceguard.Evidence
	kept map[mark]bool
}

type mark struct {
	kind    onceguard.EvidenceKind
	attempt int64
	body    [32]byte
}

// append needs the mutex. Evidence with a time of its own comes from an
// archive and keeps it.
func (s *Store) append(e onceguard.Evidence, now time.Time) {
	e = e.Bounded()
	p := s.evidence[e.ID]
	if p == nil {
		p = &pile{kept: map[mark]bool{}}
		s.evidence[e.ID] = p
	}
	m := mark{e.Kind, e.Attempt, sha256.Sum256(e.Body)}
	if p.kept[m] || len(p.list) >= onceguard.MaxEvidence {
		return
	}
	p.kept[m] = true
	e.At, e.Body = now, bytes.Clone(e.Body)
	p.list = append(p.list, e)
}

func (p *pile) copied() []onceguard.Evidence {
	if p == nil {
		return nil
	}
	out := slices.Clone(p.list)
	for i := range out {
		out[i].Body = bytes.Clone(out[i].Body)
	}
	return out
}

// AppendEvidence implements onceguard.Store.
func (s *Store) AppendEvidence(ctx context.Context, e onceguard.Evidence) error {
	now, err := s.lock(ctx, "append evidence")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	s.append(e, now)
	return nil
}

// Evidence implements onceguard.Store; the oldest comes first.
func (s *Store) Evidence(ctx context.Context, id onceguard.RequestID) ([]onceguard.Evidence, error) {
	if _, err := s.lock(ctx, "evidence"); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return s.evidence[id].copied(), nil
}
