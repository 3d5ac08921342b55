package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	seen := &seen{ResponseWriter: w}
	did := "refused"
	var up *served
	var route *Route
	defer func() { p.access(r, seen, up, route, did, time.Since(begin)) }()

	refusal := p.admit(r)
	var rest string
	if refusal == "" {
		if up, rest = p.upstream(r); up == nil {
			refusal = problemNoUpstream
		}
	}
	if refusal != "" {
		answer(seen, refusal)
		return
	}
	path, err := readPath(rest)
	if err != nil {
		answer(seen, problemPath)
		return
	}
	r = below(r, rest)
	for i := range up.Routes {
		rt := &up.Routes[i]
		values, ok := rt.pattern.match(path)
		if !ok || !slices.Contains(rt.Methods, r.Method) {
			continue
		}
		route = rt
		if rt.Pass {
			break
		}
		if p.draining.Load() {
			answer(seen, problemDraining)
			return
		}
		did = "guarded"
		up.guarded[i].ServeHTTP(seen, hurried(seen, r.WithContext(withVariables(r.Context(), values)), bodyTime))
		return
	}
	if refusal := passable(up, route, r, path); refusal != "" {
		answer(seen, refusal)
		return
	}
	did = "passed"
	up.pass.ServeHTTP(seen, r)
}

// admit refuses what is no request to this proxy itself.
func (p *Proxy) admit(r *http.Request) string {
	switch {
	case r.Method == http.MethodConnect, r.Method == http.MethodTrace, !strings.HasPrefix(r.RequestURI, "/"):
		return problemForm
	case !p.knownHost(hostName(r.Host)):
		return problemHost
	case overridesMethod(r.Header):
		return problemOverride
	}
	return ""
}

// knownHost keeps web pages out whose own name resolves to this proxy: they
// would send their name, and a browser would let them read the answers.
func (p *Proxy) knownHost(name string) bool {
	if p.hosts[name] {
		return true
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

// upstream returns where a request belongs and the path there, still escaped.
func (p *Proxy) upstream(r *http.Request) (found *served, rest string) {
	path := r.URL.EscapedPath()
	name := hostName(r.Host)
	for _, u := range p.upstreams {
		if u.Host != "" && u.Host == name {
			return u, path
		}
	}
	for _, u := range p.upstreams {
		if u.Host != "" || found != nil && len(u.Prefix) <= len(found.Prefix) {
			continue
		}
		if after, ok := strings.CutPrefix(path, u.Prefix); ok && (after == "" || after[0] == '/') {
			found, rest = u, after
		}
	}
	if rest == "" {
		rest = "/"
	}
	return found, rest
}

// below is r as the upstream's routes see it, without the prefix.
func below(r *http.Request, rest string) *http.Request {
	c := *r
	u := *r.URL
	u.RawPath = rest
	u.Path, _ = url.PathUnescape(rest) // readPath has decoded it
	c.URL = &u
	return &c
}

// passable says why a request may not go past the guard; empty if it may.
func passable(u *served, route *Route, r *http.Request, path requestPath) string {
	if route == nil && !isRead(r.Method) {
		switch {
		case u.UnmatchedWrites != pass:
			return problemUnmatchedWrite
		case path.odd:
			return problemPath // the upstream may take it for the path of a guarded route
		}
	}
	if upgrade(r.Header) && u.Upgrades != pass {
		return problemUpgrade
	}
	return ""
}

// hostName is a Host header's name, in lower case, without port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}
