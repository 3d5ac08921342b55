package onceguard

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// IdentityError reports a scope, action, key, request ID or fingerprint that
// cannot serve as identity. It is found before anything is claimed, so an
// effect never runs because of it. Text taken from the caller is quoted and
// cut, so the message is safe to print.
type IdentityError struct {
	// Field is what was wrong: "scope", "action", "key", "request ID" or
	// "fingerprint".
	Field string
	// Part is the name of the key part at fault, or empty.
	Part string
	// Problem says what was wrong.
	Problem string
	// Mend says what to do about it.
	Mend string
}

// Error implements error.
func (e *IdentityError) Error() string {
	var b strings.Builder
	b.WriteString("onceguard: ")
	b.WriteString(e.Field)
	if e.Part != "" {
		b.WriteString(" part ")
		b.WriteString(quoteShort(e.Part))
	}
	b.WriteString(": ")
	b.WriteString(e.Problem)
	if e.Mend != "" {
		b.WriteString("; ")
		b.WriteString(e.Mend)
	}
	return b.String()
}

// quoteShort quotes s for a message: control, bidirectional and other unseen
// characters become escapes, and a long text is cut, because a hostile key
// must neither forge log lines nor flood them.
func quoteShort(s string) string {
	const most = 64
	if len(s) <= most {
		return strconv.Quote(s)
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "… (" + strconv.Itoa(len(s)) + " bytes)"
}

// textProblem says why s cannot be a byte-exact piece of identity, or "".
func textProblem(s string) (problem, mend string) {
	if s == "" {
		return "empty", "give the identifier itself: with an empty one, requests that have nothing in common would be one"
	}
	if !utf8.ValidString(s) {
		at := 0
		for at < len(s) {
			r, size := utf8.DecodeRuneInString(s[at:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			at += size
		}
		return "invalid UTF-8 at byte " + strconv.Itoa(at) + " of " + quoteShort(s), "write binary identifiers as hexadecimal or base64 text"
	}
	if at := strings.IndexByte(s, 0); at >= 0 {
		return "NUL at byte " + strconv.Itoa(at) + " of " + quoteShort(s), "write binary identifiers as hexadecimal or base64 text"
	}
	return "", ""
}
