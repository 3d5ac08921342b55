package memstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"

	"github.com/onceguard/onceguard"
)

// Dump implements onceguard.Archiver: newest records first, from one snapshot.
func (s *Store) Dump(ctx context.Context, yield func(onceguard.Record, []onceguard.Evidence) error) error {
	if _, err := s.lock(ctx, "dump"); err != nil {
		return err
	}
	places, err := s.from("dump", "", func(onceguard.Record) bool { return true })
	records := make([]onceguard.Record, len(places))
	evidence := make([][]onceguard.Evidence, len(places))
	for i, p := range places {
		records[i], evidence[i] = copied(s.records[p.id]), s.evidence[p.id].copied()
	}
	s.mu.Unlock()
	for i := range records {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return clean("dump", err)
		}
		if err := yield(records[i], evidence[i]); err != nil {
			return clean("dump", err)
		}
	}
	return err
}

// Load implements onceguard.Archiver. next ends with io.EOF; any other error
// leaves the store as it was.
func (s *Store) Load(ctx context.Context, info onceguard.StoreInfo, secrets []onceguard.Secret, next func() (onceguard.Record, []onceguard.Evidence, error)) error {
	loaded := New(Options{Now: s.now})
	for {
		r, evidence, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err := errors.Join(err, ctx.Err()); err != nil {
			return clean("load", err)
		}
		if _, twice := loaded.records[r.ID]; twice {
			return refused("load", "the archive holds %s twice", r.ID)
		}
		loaded.records[r.ID] = copied(r)
		for _, e := range evidence {
			loaded.append(e, e.At)
		}
	}
	for _, x := range secrets {
		x.Value = bytes.Clone(x.Value)
		loaded.secrets[x.Name] = x
	}
	if _, err := s.lock(ctx, "load"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if len(s.records) > 0 || s.txDone != nil {
		return refused("load", "the store has %d records: an archive is loaded into an empty store only", len(s.records))
	}
	s.records, s.evidence, s.secrets = loaded.records, loaded.evidence, loaded.secrets
	s.storeID, s.epoch = info.StoreID, rand.Text()
	s.frozenWhy = "loaded from an archive of epoch " + info.Epoch + ": what was claimed after it was written is forgotten"
	return nil
}
