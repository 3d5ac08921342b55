package proxy

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/onceguard/onceguard/httpguard"
)

// The proxy's own problems, beside those of httpguard. docs/proxy.md has them.
const (
	problemNoUpstream     = "proxy-no-upstream"
	problemHost           = "proxy-host-refused"
	problemForm           = "proxy-form-refused"
	problemPath           = "proxy-path-ambiguous"
	problemOverride       = "proxy-method-override"
	problemUnmatchedWrite = "proxy-unmatched-write"
	problemUpgrade        = "proxy-upgrade-refused"
	problemUnreachable    = "proxy-upstream-unreachable"
	problemFailed         = "proxy-upstream-failed"
	problemDraining       = "proxy-draining"
)

var problems = map[string]httpguard.Problem{
	problemNoUpstream: {
		Status: http.StatusNotFound, Retry: httpguard.RetryNo, Title: "No upstream has this host or path",
		Detail: "The proxy forwards to the upstreams of its configuration alone. Nothing was forwarded.",
	},
	problemHost: {
		Status: http.StatusMisdirectedRequest, Retry: httpguard.RetryNo, Title: "The Host header names another host",
		Detail: "Callers use localhost, an address, or a name that the configuration lists. Nothing was forwarded.",
	},
	problemForm: {
		Status: http.StatusBadRequest, Retry: httpguard.RetryNo, Title: "This is not a forward proxy",
		Detail: "CONNECT, TRACE and requests for an absolute URL are refused: change the client's base URL, not its proxy setting. Nothing was forwarded.",
	},
	problemPath: {
		Status: http.StatusBadRequest, Retry: httpguard.RetryNo, Title: "The path is ambiguous",
		Detail: "Servers read this path differently (empty, '.' or '..' segments, encoded slashes, backslashes), so it cannot be told which route it means. Nothing was forwarded.",
	},
	problemOverride: {
		Status: http.StatusBadRequest, Retry: httpguard.RetryNo, Title: "The method is overridden",
		Detail: "A header names another method than the request's own, which would go past the guard. Nothing was forwarded.",
	},
	problemUnmatchedWrite: {
		Status: http.StatusForbidden, Retry: httpguard.RetryNo, Title: "No route names this write",
		Detail: "The configuration refuses writes that it does not name (unmatched_writes). Add a route. Nothing was forwarded.",
	},
	problemUpgrade: {
		Status: http.StatusNotImplemented, Retry: httpguard.RetryNo, Title: "Protocol upgrades are refused",
		Detail: "What goes through an upgraded connection cannot be guarded; the configuration can pass it (upgrades). Nothing was forwarded.",
	},
	problemUnreachable: {
		Status: http.StatusBadGateway, Retry: httpguard.RetrySameKey, Title: "The upstream was not reached",
		Detail: "No byte of the request was sent. The same request may be tried again, with the same key.",
	},
	problemFailed: {
		Status: http.StatusBadGateway, Retry: httpguard.RetryNo, Title: "The upstream did not answer",
		Detail: "This request was not guarded. If it was a write, it may have happened.",
	},
	problemDraining: {
		Status: http.StatusServiceUnavailable, Retry: httpguard.RetrySameKey, Title: "The proxy is stopping",
		Detail: "Nothing was forwarded by this request; an earlier one with the same key may have been. Retry with the same key.",
	},
}

// legible is a problem that client libraries see as one. Some look for a member
// error and not at the status: the npm package stripe resolves a 409 without it
// as the refund that was asked for.
type legible struct {
	httpguard.Problem
	Error problemError `json:"error"`
}

// problemError has the form of Stripe's errors, which others have taken over.
type problemError struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

func withError(p httpguard.Problem) any {
	code := strings.TrimPrefix(p.Type, httpguard.DefaultProblemBase)
	return legible{p, problemError{Type: "api_error", Code: code, Message: p.Title + ". " + p.Detail}}
}

// answer writes a problem of the proxy.
func answer(w http.ResponseWriter, name string) {
	p := problems[name]
	p.Type = httpguard.DefaultProblemBase + name
	body, err := json.MarshalIndent(withError(p), "", "  ")
	if err != nil {
		panic("proxy: a problem cannot be encoded: " + err.Error()) // strings and numbers always can
	}
	body = append(body, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if name == problemDraining {
		h.Set("Retry-After", "1")
		h.Set("Connection", "close")
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}
