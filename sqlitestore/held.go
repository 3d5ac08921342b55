package sqlitestore

import "github.com/onceguard/onceguard"

// maxHeld bounds what is remembered: a few megabytes. Claims beyond it are read
// from the file when they are settled.
const maxHeld = 8192

// held remembers the records of the claims that this process holds, so that
// settling one is one statement and no reading. It is never believed: the
// statement compares with the file whatever can have changed meanwhile, and
// where it finds a difference the row is read. Only with the gate's token.
type held map[onceguard.RequestID]holding

type holding struct {
	record *onceguard.Record
	row    int64 // 0 if it is not known
}

// learn keeps what a committed answer says about a request, if its owner asked.
func (h held) learn(s *slot) {
	a := &s.answer
	r := &a.Record
	if a.Err != nil {
		return
	}
	mine := a.Outcome == onceguard.Granted || a.Transition == onceguard.T6
	if !mine || r.State != onceguard.Claimed || len(r.Input) > 0 {
		delete(h, r.ID) // an input belongs to the caller, who may change it
		return
	}
	if _, known := h[r.ID]; !known && len(h) >= maxHeld {
		for id := range h {
			delete(h, id)
			break
		}
	}
	h[r.ID] = holding{r, s.row}
}

// own lets the rule judge a record that this process remembers, and writes what
// it decided if the row is still the same. Everything else goes the long way.
func (s *slot) own(t *txn, rule func(*txn, onceguard.Record) (onceguard.Step, error)) error {
	before, ok := t.s.held[s.id]
	if !ok {
		return s.judge(t, rule)
	}
	step, err := rule(t, *before.record)
	if err != nil || !step.Write || len(step.Evidence) > 0 {
		return s.judge(t, rule)
	}
	n, err := t.swap(before.record, before.row, step)
	switch {
	case isMember(err):
		s.reject(err)
		return nil
	case err != nil:
		return err
	case n == 1:
		s.answer = step.Answer(t.now)
		s.row = before.row
		return nil
	}
	return s.judge(t, rule)
}
