package httpguard

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// preferredWait reads "Prefer: wait=N" (RFC 7240, section 4.3), N in seconds.
// The first occurrence counts, and what cannot be read is ignored, as the RFC
// says of preferences.
func preferredWait(h http.Header) (time.Duration, bool) {
	for _, line := range h.Values("Prefer") {
		for _, pref := range splitOutsideQuotes(line, ',') {
			token := splitOutsideQuotes(pref, ';')[0] // parameters come after it
			name, value, _ := strings.Cut(token, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			value = strings.Trim(strings.TrimSpace(value), `"`)
			n, err := strconv.ParseUint(value, 10, 31)
			return time.Duration(n) * time.Second, err == nil
		}
	}
	return 0, false
}

// splitOutsideQuotes splits s at sep, which in a quoted string is text.
func splitOutsideQuotes(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
