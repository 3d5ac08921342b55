package memstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/onceguard/onceguard"
)

// SetEpoch simulates a failover for tests: the store has another epoch from
// now on, and is frozen until Acknowledge if that is a change.
func (s *Store) SetEpoch(epoch string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.epoch {
		s.frozenWhy = fmt.Sprintf("the epoch changed from %s to %s", s.epoch, epoch)
		s.epoch = epoch
		s.append(onceguard.Evidence{Kind: onceguard.EvidenceEpoch, By: "store", Detail: s.frozenWhy, Body: []byte(epoch)}, s.clock())
	}
}

// Info implements onceguard.Store.
func (s *Store) Info(ctx context.Context) (onceguard.StoreInfo, error) {
	if _, err := s.lock(ctx, "info"); err != nil {
		return onceguard.StoreInfo{}, err
	}
	defer s.mu.Unlock()
	return onceguard.StoreInfo{
		Kind: "memory", Name: s.name, StoreID: s.storeID, Epoch: s.epoch,
		Frozen: s.frozenWhy != "", FrozenWhy: s.frozenWhy,
		Durability: "none: everything is forgotten when the process ends",
		Schema:     1, Version: "1",
		Warnings: []string{"this memory dies with the process: use it in tests only"},
	}, nil
}

// Acknowledge implements onceguard.Store. Evidence of it is kept under the zero
// request ID.
func (s *Store) Acknowledge(ctx context.Context, a onceguard.Acknowledgement) error {
	now, err := s.lock(ctx, "acknowledge")
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	if a.Epoch != s.epoch {
		return refused("acknowledge", "the epoch is %s, not %s: look again at what changed, then acknowledge that", s.epoch, a.Epoch)
	}
	if s.frozenWhy != "" {
		s.frozenWhy = ""
		s.append(onceguard.Evidence{Kind: onceguard.EvidenceEpoch, By: "operator:" + a.By, Detail: "acknowledged: " + a.Reason, Body: []byte("acknowledged " + a.Epoch)}, now)
	}
	return nil
}

// Secrets implements onceguard.Store.
func (s *Store) Secrets(ctx context.Context, offer []onceguard.Secret) ([]onceguard.Secret, error) {
	now, err := s.lock(ctx, "secrets")
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for _, x := range offer {
		if _, have := s.secrets[x.Name]; !have {
			x.Value = bytes.Clone(x.Value)
			if x.CreatedAt.IsZero() {
				x.CreatedAt = now
			}
			s.secrets[x.Name] = x
		}
	}
	out := make([]onceguard.Secret, 0, len(s.secrets))
	for _, x := range s.secrets {
		x.Value = bytes.Clone(x.Value)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b onceguard.Secret) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Close implements onceguard.Store. What it held is forgotten with it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
