package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/jsonpointer"
)

// check finds what is missing or contradictory, and prepares what requests need.
func (c *Config) check() error {
	if c.Scope != "" && c.ScopeHeader != "" {
		return errors.New("scope and scope_header are both set; give one")
	}
	if c.ScopeHeader != "" && !c.ScopeHeaderIsAuthenticated {
		return errors.New("scope_header would let every caller choose its tenant; where something in front sets the header from the caller's credential, and drops what callers send, say `scope_header_is_authenticated: true`; else use scope")
	}
	if c.ScopeHeader == "" && c.ScopeHeaderIsAuthenticated {
		return errors.New("scope_header_is_authenticated is set without scope_header")
	}
	if c.ScopeHeader != "" && !isToken(c.ScopeHeader) {
		return fmt.Errorf("scope_header: %.60q is not a header name", c.ScopeHeader)
	}
	if c.Scope == "" {
		c.Scope = "default"
	}
	for i, h := range c.Hosts {
		if !isHostName(h) {
			return fmt.Errorf("hosts[%d]: %.60q is not a host name in lower case, without a port", i, h)
		}
	}
	if len(c.Upstreams) == 0 {
		return errors.New("no upstreams: name at least one API to forward to")
	}
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		if err := u.check(); err != nil {
			return fmt.Errorf("upstreams[%d] %.60q: %w", i, u.Name, err)
		}
		for _, other := range c.Upstreams[:i] {
			switch {
			case other.Name == u.Name:
				return fmt.Errorf("upstreams[%d]: a second upstream has the name %q", i, u.Name)
			case other.Prefix == u.Prefix && other.Host == u.Host:
				return fmt.Errorf("upstreams[%d] %q: %q has the same prefix or host; one of them would never be reached", i, u.Name, other.Name)
			}
		}
	}
	return nil
}

func (u *Upstream) check() (err error) {
	if u.Name == "" {
		return errors.New("name is missing; it is part of every request's identity and never changes")
	}
	switch {
	case (u.Prefix == "") == (u.Host == ""):
		return errors.New("give prefix (a path such as /stripe) or host (a name that callers use), one of them")
	case u.Prefix != "" && !isPrefix(u.Prefix):
		return fmt.Errorf("prefix %.60q: write a path such as /stripe or /, of letters, digits and -._~, without a slash at its end", u.Prefix)
	case u.Host != "" && !isHostName(u.Host):
		return fmt.Errorf("host %.60q is not a host name in lower case, without a port", u.Host)
	}
	if u.Prefix == "/" {
		u.Prefix = ""
	}
	if u.base, err = parseTarget(u.BaseURL, u.AllowPrivate); err != nil {
		return err
	}
	if u.UnmatchedWrites != refuse && u.UnmatchedWrites != pass {
		return fmt.Errorf("unmatched_writes is %.40q; say what happens to writes that no route names: refuse, or pass (unguarded)", u.UnmatchedWrites)
	}
	if u.Upgrades == "" {
		u.Upgrades = refuse
	}
	if u.Upgrades != refuse && u.Upgrades != pass {
		return fmt.Errorf("upgrades is %.40q; write refuse or pass", u.Upgrades)
	}
	if u.Callers == "" {
		u.Callers = byCredential
	}
	if u.Callers != byCredential && u.Callers != shared {
		return fmt.Errorf("callers is %.40q; write by-credential, or shared where all callers may read each other's answers", u.Callers)
	}
	if u.CredentialHeader == "" {
		u.CredentialHeader = "Authorization"
	}
	if !isToken(u.CredentialHeader) {
		return fmt.Errorf("credential_header: %.60q is not a header name", u.CredentialHeader)
	}
	for i := range u.Routes {
		if err := u.Routes[i].check(); err != nil {
			return fmt.Errorf("routes[%d] %.80q: %w", i, u.Routes[i].Path, err)
		}
	}
	return nil
}

func (r *Route) check() (err error) {
	if len(r.Methods) == 0 {
		return errors.New("methods is missing, such as [POST]")
	}
	for _, m := range r.Methods {
		if !isToken(m) || m != strings.ToUpper(m) || m == http.MethodConnect || m == http.MethodTrace {
			return fmt.Errorf("methods: %.40q; methods are upper case, and CONNECT and TRACE are never forwarded", m)
		}
	}
	if r.pattern, err = parsePattern(r.Path); err != nil {
		return err
	}
	if r.Pass {
		if !r.bare() {
			return errors.New("pass is set, so nothing of the guard can be: leave methods and path alone")
		}
		return nil
	}
	if r.Action == "" {
		return errors.New("action is missing: the name of the effect, such as refund.create; or say `pass: true` to forward unguarded")
	}
	if err := r.applyPreset(); err != nil {
		return err
	}
	if err := r.checkKey(); err != nil {
		return err
	}
	for _, d := range []struct {
		name string
		span span
	}{{"wait", r.Wait}, {"max_run", r.MaxRun}, {"lease", r.Lease}, {"horizon", r.Horizon}} {
		if time.Duration(d.span) == onceguard.Forever {
			return fmt.Errorf("%s cannot be forever", d.name)
		}
	}
	if err := r.checkPolicy(); err != nil {
		return err
	}
	if err := r.checkStatuses(); err != nil {
		return err
	}
	if r.DownstreamKeyHeader != "" && !isToken(r.DownstreamKeyHeader) {
		return fmt.Errorf("downstream_key_header: %.60q is not a header name", r.DownstreamKeyHeader)
	}
	if r.DownstreamKeyHeader != "" && hopByHop(r.DownstreamKeyHeader) {
		return fmt.Errorf("downstream_key_header: %s does not travel through proxies", r.DownstreamKeyHeader)
	}
	if r.DownstreamKeyLength != 0 && (r.DownstreamKeyHeader == "" || r.DownstreamKeyLength < onceguard.MinDownstreamKey) {
		return fmt.Errorf("downstream_key_length needs downstream_key_header, and at least %d characters", onceguard.MinDownstreamKey)
	}
	for _, h := range slices.Concat(r.StoreHeaders, r.FingerprintHeaders) {
		if !isToken(h) {
			return fmt.Errorf("store_headers, fingerprint_headers: %.60q is not a header name", h)
		}
	}
	return nil
}

// bare says whether nothing but methods, path and pass is set.
func (r *Route) bare() bool {
	return r.Action == "" && r.Key == nil && !r.KeyOptional && r.Policy == "" && r.Horizon == 0 && r.RemembersRefusals == nil && r.MaxAttempts == 0 &&
		r.Preset == "" && r.DownstreamKeyHeader == "" && r.DownstreamKeyLength == 0 && r.NotExecutedOn == nil && r.RefusedOn == nil && r.SucceededOn == nil &&
		r.limits() == onceguard.Limits{} && r.MaxBody == 0 && r.MaxResponse == 0 && r.StoreHeaders == nil && r.FingerprintHeaders == nil
}

func (r *Route) checkPolicy() error {
	name := r.Policy
	if name == "" {
		name = onceguard.AtMostOnceKind.String()
	}
	kind, err := onceguard.ParsePolicyKind(name)
	if err != nil || kind == onceguard.TransactionalKind {
		return fmt.Errorf("policy: %.40q; write at-most-once, safe-retry or rerun", r.Policy)
	}
	r.policy = onceguard.Policy{Kind: kind, Horizon: time.Duration(r.Horizon), MaxAttempts: r.MaxAttempts}
	if r.RemembersRefusals != nil {
		r.policy.Refusals = onceguard.RefusalsForgotten
		if *r.RemembersRefusals {
			r.policy.Refusals = onceguard.RefusalsRemembered
		}
	}
	if kind == onceguard.SafeRetryKind {
		switch {
		case r.Horizon == 0:
			return errors.New("policy safe-retry needs horizon: how long the upstream honours an idempotency key (its documentation says)")
		case r.RemembersRefusals == nil:
			return errors.New("policy safe-retry needs remembers_refusals: whether the upstream answers a refused key with the same refusal (its documentation says)")
		case r.DownstreamKeyHeader == "":
			return errors.New("policy safe-retry needs downstream_key_header: without a key the upstream cannot tell a repeat")
		}
	}
	return r.policy.Validate()
}

func (r *Route) checkStatuses() error {
	seen := map[int]string{}
	for _, l := range []struct {
		name     string
		codes    []int
		from, to int
	}{{"not_executed_on", r.NotExecutedOn, 400, 599}, {"refused_on", r.RefusedOn, 400, 599}, {"succeeded_on", r.SucceededOn, 300, 499}} {
		for _, c := range l.codes {
			if c < l.from || c > l.to {
				return fmt.Errorf("%s: %d; statuses from %d to %d can be there", l.name, c, l.from, l.to)
			}
			if other, twice := seen[c]; twice {
				return fmt.Errorf("%s: %d is in %s already", l.name, c, other)
			}
			seen[c] = l.name
		}
	}
	return nil
}

// checkKey finds keys that could not be built at run time.
func (r *Route) checkKey() error {
	if len(r.Key) == 0 {
		return errors.New("key is missing: say where a retry repeats the identity of what is intended, such as `key: [{header: Idempotency-Key}]`")
	}
	names := map[string]bool{}
	for i, p := range r.Key {
		if err := p.check(r.pattern); err != nil {
			return fmt.Errorf("key[%d]: %w", i, err)
		}
		if p.Name == "" && !plainKey(r.Key) {
			return fmt.Errorf("key[%d]: name is missing; only a single part that is the header Idempotency-Key has none", i)
		}
		if names[p.Name] {
			return fmt.Errorf("key[%d]: a second part has the name %q", i, p.Name)
		}
		names[p.Name] = true
	}
	if plainKey(r.Key) {
		return nil
	}
	return keyOf(r.Key, slices.Repeat([]string{"x"}, len(r.Key))).Err()
}

func (p KeyPart) check(at pattern) error {
	n := 0
	for _, s := range []string{p.Header, p.JSON, p.Form, p.Path} {
		if s != "" {
			n++
		}
	}
	switch {
	case n != 1:
		return errors.New("give exactly one of header, json, form and path")
	case p.Header != "" && !isToken(p.Header):
		return fmt.Errorf("header: %.60q is not a header name", p.Header)
	case p.JSON != "":
		if _, err := jsonpointer.Parse(p.JSON); err != nil {
			return fmt.Errorf("json: %w", err)
		}
	case p.Path != "" && !slices.Contains(at.variables(), p.Path):
		return fmt.Errorf("path: the route's path has no {%.60s}", p.Path)
	}
	return nil
}

// isToken reports an RFC 9110 token: a header name, a method.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

func isHostName(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && c != '-' && c != '.' || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return s != ""
}

func isPrefix(s string) bool {
	if s == "/" {
		return true
	}
	if !strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//") {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlnum(c) && !strings.ContainsRune("/-._~", rune(c)) {
			return false
		}
	}
	_, err := readPath(s)
	return err == nil
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
