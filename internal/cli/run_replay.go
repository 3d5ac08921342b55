package cli

import (
	"fmt"

	"github.com/onceguard/onceguard"
)

// replay prints a recorded success byte for byte.
func (r *runner) replay(receipt onceguard.Receipt[output], v *verdict) []string {
	o := receipt.Value
	v.ExitCode, v.Exit = &o.ExitCode, o.ExitCode
	line := fmt.Sprintf("replayed: %s, attempt %d, succeeded at %s by %s, exit %d", r.named(), receipt.Attempt, stamp(receipt.SettledAt), plain(receipt.SettledBy), o.ExitCode)
	return append([]string{line + personal(receipt)}, r.emit(o, v)...)
}

// replayRefusal prints a recorded refusal; one that no command made (a person,
// a lookup) has no exit status of its own.
func (r *runner) replayRefusal(receipt onceguard.Receipt[output], e *onceguard.Error, v *verdict) []string {
	o := receipt.Value
	v.Exit = exitFailed
	if o.Version != 0 && o.ExitCode != 0 {
		v.ExitCode, v.Exit = &o.ExitCode, o.ExitCode
	}
	line := fmt.Sprintf("replayed: refused for good: %s, attempt %d, at %s by %s: %s; nothing was run; a new try of the business needs a new key",
		r.named(), e.Attempt, stamp(e.Since), plain(e.SettledBy), plain(e.Reason))
	return append([]string{line + personal(receipt)}, r.emit(o, v)...)
}

// personal adds a person's reason and waiver, which every replay shows.
func personal(receipt onceguard.Receipt[output]) string {
	text := ""
	if receipt.State == onceguard.Succeeded && receipt.Reason != "" {
		text += ": " + plain(receipt.Reason)
	}
	if receipt.Waived {
		text += "; the guarantee was waived: a person ordered another run although an attempt was unknown"
	}
	return text
}

// emit writes the kept streams. A replay never silently prints less than the
// command did.
func (r *runner) emit(o output, v *verdict) (notes []string) {
	for _, s := range []struct {
		bytes []byte
		to    interface{ Write([]byte) (int, error) }
		name  string
	}{{o.Stdout, r.stdout, "output"}, {o.Stderr, r.stderr, "error output"}} {
		if _, err := s.to.Write(s.bytes); err != nil {
			notes = append(notes, fmt.Sprintf("warning: printing the recorded %s failed: %v", s.name, err))
		}
	}
	switch {
	case o.Left == leftTooLong:
		v.Exit = exitNoResult
		notes = append(notes, fmt.Sprintf("no result: the output (%d bytes, standard output SHA-256 %s) was longer than --max-output and is not kept; the command itself ended with exit %d", o.StdoutBytes+o.StderrBytes, o.StdoutSHA256, o.ExitCode))
	case o.Left == leftDeclared:
		notes = append(notes, fmt.Sprintf("the output (%d bytes) was not kept, as --max-output 0 declared", o.StdoutBytes+o.StderrBytes))
	case o.Open:
		notes = append(notes, "what processes that the command left behind wrote later was not kept")
	}
	return notes
}
