package sqlitestore

import (
	"context"
	"crypto/rand"

	"github.com/onceguard/onceguard"
)

const updateEpoch = `UPDATE onceguard_store SET epoch = ?, frozen_why = ?`

// freeze gives the store a new epoch: it may have forgotten claims. The zero
// request ID collects the evidence of all epochs, so that later readers see
// when it happened, why, and who went on regardless.
func (t *txn) freeze(why string) error {
	epoch := rand.Text()
	if err := t.changed(updateEpoch, epoch, why); err != nil {
		return err
	}
	t.row.epoch, t.row.frozenWhy = epoch, why
	return t.note(onceguard.Evidence{Kind: onceguard.EvidenceEpoch, By: "store", Detail: why, Body: []byte(epoch)}, t.now)
}

// Acknowledge implements onceguard.Store. The epoch stays: it names what was
// acknowledged. Evidence of it is kept under the zero request ID.
func (s *Store) Acknowledge(ctx context.Context, a onceguard.Acknowledgement) error {
	const op = "acknowledge"
	return s.writing(ctx, op, func(t *txn) error {
		if a.Epoch != t.row.epoch {
			return refused(op, "the epoch is %s, not %s: look again at what changed, then acknowledge that", t.row.epoch, a.Epoch)
		}
		if t.row.frozenWhy == "" {
			return nil
		}
		if err := t.changed(updateEpoch, t.row.epoch, ""); err != nil {
			return err
		}
		return t.note(onceguard.Evidence{Kind: onceguard.EvidenceEpoch, By: "operator:" + a.By, Detail: "acknowledged: " + a.Reason, Body: []byte("acknowledged " + a.Epoch)}, t.now)
	})
}
