package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// hopHeaders belong to one connection (RFC 9110, section 7.6.1).
var hopHeaders = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func hopByHop(name string) bool {
	return slices.Contains(hopHeaders, http.CanonicalHeaderKey(name)) || strings.EqualFold(name, "Content-Length") || strings.EqualFold(name, "Host")
}

// dropHopByHop removes what does not travel through proxies, also what the
// Connection header names.
func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopHeaders {
		h.Del(name)
	}
}

// forwardedHeaders say who asked a proxy. Callers could forge them and the
// upstream has no use for them.
var forwardedHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}

// overrideHeaders make some servers treat a request as one of another method.
var overrideHeaders = []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"}

func overridesMethod(h http.Header) bool {
	return slices.ContainsFunc(overrideHeaders, func(name string) bool { return len(h[name]) > 0 })
}

// upgrade reports whether a request asks for another protocol. An offer of
// HTTP/2 is no such wish: clients make it with every request, and it is dropped.
func upgrade(h http.Header) bool {
	if len(h["Upgrade"]) == 0 {
		return false
	}
	for _, line := range h["Upgrade"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" && !strings.EqualFold(name, "h2c") && !strings.HasPrefix(name, "HTTP/") {
				return true
			}
		}
	}
	dropHopByHop(h)
	return false
}
