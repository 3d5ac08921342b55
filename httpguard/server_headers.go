package httpguard

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// StoredHeaders are the response headers that a receipt keeps and a replay
// repeats: those that describe the body, or name what was made. Everything else
// belongs to the one exchange and is sent once.
var StoredHeaders = []string{
	"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Location", "Content-Type",
	"Etag", "Last-Modified", "Link", "Location", "Vary",
}

// neverStored are headers that no option can put into a receipt: credentials,
// what belongs to one connection (RFC 9110, section 7.6.1), and what is true of
// one moment or computed anew.
var neverStored = []string{
	"Authentication-Info", "Authorization", "Clear-Site-Data", "Cookie", "Proxy-Authenticate", "Proxy-Authentication-Info",
	"Proxy-Authorization", "Set-Cookie", "Set-Cookie2", "Www-Authenticate", "X-Amz-Security-Token", "X-Api-Key", "X-Auth-Token",
	"X-Csrf-Token",
	"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Age", "Content-Length", "Date", HeaderKey, HeaderReplayed, HeaderStatus,
}

// allowList is the set of canonical names that are stored.
func allowList(extra []string) (map[string]bool, error) {
	allowed := make(map[string]bool)
	for _, name := range StoredHeaders {
		allowed[name] = true
	}
	for _, name := range extra {
		c := http.CanonicalHeaderKey(strings.TrimSpace(name))
		if c == "" || slices.Contains(neverStored, c) {
			return nil, fmt.Errorf("StoreHeaders names %q: credentials, hop-by-hop headers and what is true of one moment are never stored", name)
		}
		allowed[c] = true
	}
	return allowed, nil
}

// field is one stored header with its values.
type field struct {
	name   string
	values []string
}

// storable picks from a response's headers what its receipt keeps, sorted by
// name.
func (m *Middleware) storable(h http.Header) []field {
	var fields []field
	for name, values := range h {
		if m.allowed[name] && !slices.ContainsFunc(values, unsafeValue) && !nominated(h, name) {
			fields = append(fields, field{name, values})
		}
	}
	slices.SortFunc(fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return fields
}

// unsafeValue reports a value that could end a header line.
func unsafeValue(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }

// nominated reports whether the Connection header makes name hop-by-hop.
func nominated(h http.Header, name string) bool {
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), name) {
				return true
			}
		}
	}
	return false
}
