package proxy

import (
	"time"

	"github.com/onceguard/onceguard"
)

// Config is the configuration file. docs/proxy.md explains every key.
type Config struct {
	// Scope is the namespace of all keys; "default" if empty.
	Scope string `yaml:"scope"`
	// ScopeHeader names a request header that holds the scope. It needs
	// ScopeHeaderIsAuthenticated: something in front sets it, not the caller.
	ScopeHeader                string `yaml:"scope_header"`
	ScopeHeaderIsAuthenticated bool   `yaml:"scope_header_is_authenticated"`
	// Hosts are the names, beside localhost and addresses, that callers may use
	// for this proxy: a web page with a name of its own must not reach it.
	Hosts     []string   `yaml:"hosts"`
	Upstreams []Upstream `yaml:"upstreams"`
}

// Upstream is one API behind the proxy.
type Upstream struct {
	Name    string `yaml:"name"`     // identity: part of what a request means
	Prefix  string `yaml:"prefix"`   // of the path; cut off before forwarding
	Host    string `yaml:"host"`     // instead of Prefix: the name that callers use
	BaseURL string `yaml:"base_url"` // where it goes
	// AllowPrivate lets BaseURL's name resolve to private and loopback
	// addresses, and be plain http. Addresses and localhost in BaseURL say that
	// by themselves.
	AllowPrivate    bool   `yaml:"allow_private"`
	UnmatchedWrites string `yaml:"unmatched_writes"` // "refuse" or "pass"
	Upgrades        string `yaml:"upgrades"`         // "refuse" (default) or "pass"
	// Callers says who may collect an answer with a key: "by-credential"
	// (default) or "shared".
	Callers          string  `yaml:"callers"`
	CredentialHeader string  `yaml:"credential_header"` // default Authorization
	Routes           []Route `yaml:"routes"`

	base target
}

// Route says what happens to requests of some methods and paths; the first that
// matches counts.
type Route struct {
	Methods []string `yaml:"methods"`
	Path    string   `yaml:"path"`
	Pass    bool     `yaml:"pass"` // forward without the guard

	Action      string    `yaml:"action"`
	Key         []KeyPart `yaml:"key"`
	KeyOptional bool      `yaml:"key_optional"` // forward without the guard where no key is

	Policy            string `yaml:"policy"`
	Horizon           span   `yaml:"horizon"`
	RemembersRefusals *bool  `yaml:"remembers_refusals"`
	MaxAttempts       int    `yaml:"max_attempts"`

	Preset              string `yaml:"preset"` // a provider of httpguard.Presets, in lower case
	DownstreamKeyHeader string `yaml:"downstream_key_header"`
	DownstreamKeyLength int    `yaml:"downstream_key_length"`

	NotExecutedOn []int `yaml:"not_executed_on"`
	RefusedOn     []int `yaml:"refused_on"`
	SucceededOn   []int `yaml:"succeeded_on"`

	Wait               span     `yaml:"wait"`
	MaxRun             span     `yaml:"max_run"`
	Lease              span     `yaml:"lease"`
	ResultRetention    span     `yaml:"result_retention"`
	IdentityRetention  span     `yaml:"identity_retention"`
	MaxBody            size     `yaml:"max_body"`
	MaxResponse        size     `yaml:"max_response"`
	StoreHeaders       []string `yaml:"store_headers"`
	FingerprintHeaders []string `yaml:"fingerprint_headers"`

	pattern pattern
	policy  onceguard.Policy
}

// KeyPart is one named part of a key, and where it is read: exactly one of
// Header, JSON, Form and Path.
type KeyPart struct {
	Name   string `yaml:"name"`
	Header string `yaml:"header"`
	JSON   string `yaml:"json"` // RFC 6901 pointer into the body
	Form   string `yaml:"form"` // field of a urlencoded body
	Path   string `yaml:"path"` // variable of the route's path
}

// Values of UnmatchedWrites, Upgrades and Callers.
const (
	refuse       = "refuse"
	pass         = "pass"
	shared       = "shared"
	byCredential = "by-credential"
)

func (r *Route) limits() onceguard.Limits {
	return onceguard.Limits{
		Wait: time.Duration(r.Wait), MaxRun: time.Duration(r.MaxRun), Lease: time.Duration(r.Lease),
		ResultRetention: time.Duration(r.ResultRetention), IdentityRetention: time.Duration(r.IdentityRetention),
	}
}

// class says what an upstream's status means for the effect.
func (r *Route) class(status int) onceguard.StatusClass {
	for _, list := range []struct {
		codes []int
		class onceguard.StatusClass
	}{
		{r.NotExecutedOn, onceguard.StatusNotExecuted},
		{r.RefusedOn, onceguard.StatusRefused},
		{r.SucceededOn, onceguard.StatusSucceeded},
	} {
		for _, c := range list.codes {
			if c == status {
				return list.class
			}
		}
	}
	return onceguard.ClassifyStatus(status)
}
