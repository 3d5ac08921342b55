package sqlitestore

import (
	"context"
	"slices"
)

// bodiesFit says that results may be stored whole. Once the ballast is given
// back, its space is for outcomes alone.
func (s *Store) bodiesFit() bool { return s.ballast.whole() || s.short() == nil }

// fullDisk serves a batch that did not fit. Receipts come first, then what
// belongs to running claims, and new claims last: what is refused is what has
// not started.
func (s *Store) fullDisk(ctx context.Context, batch []member) {
	settles, claims := only[*settling](batch), only[*claiming](batch)
	s.storeReceipts(ctx, settles, len(settles) == len(batch))
	others := slices.DeleteFunc(slices.Clone(batch), func(m member) bool {
		switch m.(type) {
		case *settling, *claiming:
			return true
		}
		return false
	})
	for _, list := range [][]member{others, claims} {
		if len(list) > 0 {
			failAll(list, s.commitAll(ctx, list))
		}
	}
}

// storeReceipts halves its list until what fits is stored whole. What does not
// fit by itself loses its body, and at last the ballast makes room for it.
func (s *Store) storeReceipts(ctx context.Context, list []member, tried bool) {
	if len(list) == 0 {
		return
	}
	if !tried {
		if !s.bodiesFit() {
			s.bare(ctx, list)
		}
		err := s.commitAll(ctx, list)
		if !isFull(err) {
			failAll(list, err)
			return
		}
	}
	if half := len(list) / 2; half > 0 {
		s.storeReceipts(ctx, list[:half], false)
		s.storeReceipts(ctx, list[half:], false)
		return
	}
	s.bare(ctx, list)
	err := s.commitAll(ctx, list)
	if isFull(err) {
		if gone := s.ballast.release(); gone != nil {
			s.log.ErrorContext(ctx, "the ballast file could not be given back", "store", s.path, "error", gone)
		}
		err = s.commitAll(ctx, list)
	}
	failAll(list, err)
}

// bare drops the bodies of settlements: on a full disk the outcome counts more.
func (s *Store) bare(ctx context.Context, settles []member) {
	dropped := 0
	for _, m := range settles {
		if m.(*settling).dropBody() {
			dropped++
		}
	}
	if dropped > 0 {
		s.log.WarnContext(ctx, "the disk is full: storing receipts without their results", "store", s.path, "receipts", dropped)
	}
}
