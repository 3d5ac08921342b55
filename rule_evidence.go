package onceguard

import (
	"strings"
	"unicode/utf8"
)

// Checkpoint decides whether c is the owner's word: the evidence is in the
// step, and the row does not change. An owner may note something for as long as
// it has not said that it did not act, also when it was parked or settled by
// somebody else meanwhile: the note helps whoever looks the truth up.
func (r Record) Checkpoint(c Checkpoint) Step {
	if r.State == Absent {
		return r.still(Missing)
	}
	if r.State == Released || !r.holds(c.Attempt, c.Owner) {
		return r.still(Fenced)
	}
	s := r.still(Applied)
	s.Mine = true
	s.Evidence = []Evidence{r.note(EvidenceCheckpoint, "owner", "", c.Body)}
	return s
}

// Bounded returns e with its body cut to MaxEvidenceBody, saying so, and with
// text that every store can keep. Every store keeps evidence in this form, so
// that equal pieces are found equal.
func (e Evidence) Bounded() Evidence {
	e.Detail, e.By = keptText(e.Detail), keptText(e.By)
	if len(e.Body) > MaxEvidenceBody {
		e.Body = e.Body[:MaxEvidenceBody:MaxEvidenceBody]
		e.Detail += " (body cut)"
	}
	return e
}

// keptText makes text from outside fit every store: valid UTF-8 without NUL,
// which databases refuse, and at most MaxReason bytes. An outcome must not be
// lost because a provider's error message was malformed.
func keptText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= MaxReason {
		return s
	}
	n := MaxReason
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
