package pgstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/onceguard/onceguard"
)

// newEpoch notes that the server is in another epoch than the acknowledged one,
// as evidence under the zero request ID, and goes on by itself where Continue
// allows it: then claims may be tried again.
func (s *Store) newEpoch(ctx context.Context, at instant) (on bool, err error) {
	seen := onceguard.Evidence{
		Kind: onceguard.EvidenceEpoch, By: "store", Body: []byte(at.live),
		Detail: why(at),
	}
	if err := s.AppendEvidence(ctx, seen); err != nil {
		return false, err
	}
	if s.opt.OnFailover != Continue || !at.synchronous {
		return false, nil
	}
	err = s.Acknowledge(ctx, onceguard.Acknowledgement{
		Epoch: at.live, By: "on-failover=continue",
		Reason: "commits of epoch " + at.acknowledged + " waited for a synchronous standby",
	})
	return err == nil, err
}

func why(at instant) string {
	return fmt.Sprintf("the epoch changed from %s to %s: a failover or a restored backup may have forgotten claims", at.acknowledged, at.live)
}

// Acknowledge implements onceguard.Store. Acknowledging the epoch in force once
// more is no error. Evidence of it is kept under the zero request ID.
func (s *Store) Acknowledge(ctx context.Context, a onceguard.Acknowledgement) error {
	return s.with(ctx, "acknowledge", common, func(ctx context.Context, c *conn) error {
		var at instant
		changed := false
		b := &pgx.Batch{}
		s.begin(b)
		b.Queue(s.sql.acknowledge, a.Epoch, s.opt.OnFailover == Continue && c.standbys, c.system).Exec(func(t tag) error {
			changed = t.RowsAffected() == 1
			return nil
		})
		s.queueClock(b, c.system, &at)
		if err := c.run(ctx, b, false); err != nil {
			return err
		}
		if a.Epoch != at.live {
			return refusal("the epoch is %s, not %s: look again at what changed, then acknowledge that", at.live, a.Epoch)
		}
		if !changed {
			c.abort(ctx)
			return nil
		}
		b = &pgx.Batch{}
		s.queueEvidence(b, onceguard.Evidence{
			Kind: onceguard.EvidenceEpoch, By: "operator:" + a.By,
			Detail: "acknowledged: " + a.Reason, Body: []byte("acknowledged " + a.Epoch),
		})
		commit(b)
		return c.run(ctx, b, true)
	})
}

// Info implements onceguard.Store. Durability and warnings are read from the
// server, not assumed.
func (s *Store) Info(ctx context.Context) (onceguard.StoreInfo, error) {
	info := onceguard.StoreInfo{Kind: "postgres", Name: s.name}
	err := s.with(ctx, "info", common, func(ctx context.Context, c *conn) error {
		var err error
		if info.Schema, err = s.schema(ctx, c); err != nil {
			return err
		}
		var at instant
		var fsync, pages, standbys string
		b := &pgx.Batch{}
		s.queueClock(b, c.system, &at)
		b.Queue(`SELECT store_id, current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
			current_setting('synchronous_standby_names') FROM onceguard_store WHERE id = 1`).QueryRow(func(row pgx.Row) error {
			return row.Scan(&info.StoreID, &info.Version, &fsync, &pages, &standbys)
		})
		if err := c.run(ctx, b, false); err != nil {
			return err
		}
		info.Epoch, info.Frozen = at.live, at.changed()
		if info.Frozen {
			info.FrozenWhy = why(at)
		}
		info.Durability, info.Warnings = s.durability(fsync, pages, strings.TrimSpace(standbys))
		return nil
	})
	if err != nil {
		return onceguard.StoreInfo{}, err
	}
	return info, nil
}

func (s *Store) durability(fsync, pages, standbys string) (string, []string) {
	var warnings []string
	survives := "kill -9 of the server and loss of power"
	if fsync != "on" {
		survives = "kill -9 of the server, not loss of power"
		warnings = append(warnings, "fsync is "+fsync+": a crash of the machine forgets acknowledged claims; set it to on")
	}
	if pages != "on" {
		warnings = append(warnings, "full_page_writes is "+pages+": a crash may leave torn pages; set it to on, unless the disk writes pages atomically")
	}
	if standbys == "" {
		survives += "; no synchronous standby: a failover may forget claims and then freezes"
	} else {
		survives += fmt.Sprintf("; a failover to a synchronous standby (%s)", standbys)
	}
	if s.opt.NoEpoch {
		warnings = append(warnings, "started with no-epoch: a failover or a restored backup that forgot claims is not noticed, and requests may run a second time")
	}
	return fmt.Sprintf("survives %s (synchronous_commit=%s, fsync=%s, full_page_writes=%s)", survives, s.commitLevel, fsync, pages), warnings
}
