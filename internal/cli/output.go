package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// Rules of the command's output:
//
//   - The answer goes to standard output, everything said about it to standard
//     error, each line beginning "onceguard: ".
//   - Text from outside (keys, reasons, names) is printed with control,
//     bidirectional and other unseen characters escaped: it must not move the
//     cursor or forge a line. Captured output of a guarded command is the one
//     exception: a replay is byte-exact.
//   - --json prints one document with stable snake_case names, or one per line
//     where that is said; times are RFC 3339 in UTC, durations seconds.
//   - Colour only on a terminal, and not with NO_COLOR or TERM=dumb.
//   - An error names the place, says what to do, and whether anything ran.

// plain makes outside text safe for a terminal and a log.
func plain(s string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += size
	}
	return b.String()
}

// short cuts text for a table.
func short(s string, most int) string {
	s = plain(s)
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// printJSON writes one indented document.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// jsonLine writes one document on one line.
func jsonLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints aligned columns with a head.
func (a *app) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		if _, err := fmt.Fprintln(w, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// terminal says whether a stream is one.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

func (a *app) coloured(w io.Writer) bool {
	return terminal(w) && a.env.get("NO_COLOR") == "" && a.env.get("TERM") != "dumb"
}

// All codes have the same length, so that tables stay aligned.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "90"
)

func (a *app) colour(code, s string) string {
	if !a.coloured(a.stdout) {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// stamp is a time for people and for JSON alike.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// jsonTime is nil for the zero time, so that JSON shows null.
func jsonTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

// age prints a duration in the two greatest units.
func age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return d.Truncate(time.Second).String()
	case d < time.Hour:
		return d.Truncate(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}

// quoteArg quotes a word for a POSIX shell, for lines that people copy.
func quoteArg(s string) string {
	safe := s != ""
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_./:=@%+,-", r)) {
			safe = false
		}
	}
	if safe {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
