package httpguard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// Rule says which outgoing writes are one kind of effect, where their key comes
// from, and how the provider behaves.
type Rule struct {
	// Action is the named kind of effect. It is identity and never changes.
	Action string
	// Pattern is which requests it is, as http.ServeMux writes it, with a method
	// and a host: "POST api.stripe.com/v1/refunds". The most specific pattern
	// wins; ports do not count.
	Pattern string

	// Key returns a request's key. The zero Key means that there is none. A key
	// of the context (WithKey) goes before it. body is the whole body.
	Key func(r *http.Request, body []byte) (onceguard.Key, error)
	// KeyHeader names a request header that has the key, where Key is nil. It is
	// not read unless named: most SDKs put a random Idempotency-Key into every
	// call, which is the same on the SDK's own retries and another one on yours.
	KeyHeader string
	// AllowMissing lets requests without a key pass unguarded. Without it they
	// are an error, and nothing is sent.
	AllowMissing bool

	// Preset is what is known of the provider. The zero Preset sends the
	// downstream key as Idempotency-Key and promises nothing.
	Preset Preset
	// Policy is at-most-once unless set; Preset.SafeRetry makes another one where
	// the provider's documentation allows it.
	Policy onceguard.Policy
	// Limits are the guard's, except that MaxResult follows from MaxResponse.
	Limits onceguard.Limits
	// BeforeWork adds statuses that the provider documents as refused before any
	// work to those of Preset.
	BeforeWork []int
	// Classify says what an answer means, instead of the reading of
	// onceguard.ClassifyStatus. It must not read the body. A redirect is unknown
	// whatever it says.
	Classify func(*http.Response) onceguard.StatusClass

	// Headers lists the request headers that belong to what a request means. Nil:
	// Content-Type and Content-Encoding. Method, URL and body always do.
	Headers []string
	// Meaning returns what of the body counts for a mismatch. Nil: all of it.
	Meaning func(r *http.Request, body []byte) ([]byte, error)

	// Reconcile asks the provider about an uncertain request; see Transport.Lookups.
	Reconcile Lookup
	// KeepRequest stores method, URL, Content-Type and body for Reconcile. The
	// store encrypts them where the guard has a key encryption key.
	KeepRequest bool
	// RunAfterNeverWill and QuietPeriod are those of onceguard.Action.
	RunAfterNeverWill bool
	QuietPeriod       time.Duration
}

// keyed is a context's key for one action.
type keyed struct{ action string }

type adHoc struct{}

// WithKey returns a context whose guarded requests for action have this key,
// whatever their rule says. A write that no rule names is guarded as well: under
// action, at most once. Use one context per effect: another write under the same
// action and key is a mismatch.
func WithKey(ctx context.Context, action string, key onceguard.Key) context.Context {
	ctx = context.WithValue(ctx, keyed{action}, key)
	return context.WithValue(ctx, adHoc{}, action)
}

// keyOf returns the key of a guarded request.
func (r Rule) keyOf(req *http.Request, body []byte) (key onceguard.Key, err error) {
	if k, ok := req.Context().Value(keyed{r.Action}).(onceguard.Key); ok {
		return k, k.Err()
	}
	switch {
	case r.Key != nil:
		key, err = r.Key(req, body)
		if err == nil && key.Encoded() == "" && len(key.Parts()) == 0 {
			err = noKey(req, "the rule's Key function found none")
		}
	case r.KeyHeader != "":
		values := req.Header.Values(r.KeyHeader)
		switch {
		case len(values) > 1:
			err = fmt.Errorf("%d headers %s; one names the effect", len(values), r.KeyHeader)
		case len(values) == 0 || values[0] == "":
			err = noKey(req, "no header "+r.KeyHeader)
		default:
			key = onceguard.RawKey(values[0])
		}
	default:
		err = noKey(req, "neither the rule nor the context has one")
	}
	if err == nil {
		err = key.Err()
	}
	return key, err
}

func noKey(r *http.Request, why string) error {
	return fmt.Errorf("%w for %s %s: %s; nothing was sent. Name the effect (WithKey, Rule.Key, Rule.KeyHeader) by what it is about, such as the order, and never by a fresh random value", errNoKey, r.Method, place(r), why)
}

// ruleTable finds the rule of a request.
type ruleTable struct {
	mux      *http.ServeMux
	rules    map[string]*Rule
	hosts    map[string]bool
	anywhere bool // a rule names no host
}

func newRuleTable(rules []Rule) (t ruleTable, err error) {
	t = ruleTable{mux: http.NewServeMux(), rules: map[string]*Rule{}, hosts: map[string]bool{}}
	for i := range rules {
		if err := t.add(&rules[i]); err != nil {
			return t, fmt.Errorf("rule %q: %w", rules[i].Pattern, err)
		}
	}
	return t, nil
}

func (t *ruleTable) add(r *Rule) (err error) {
	defer func() {
		if p := recover(); p != nil { // ServeMux panics for a pattern it cannot take
			err = fmt.Errorf("%v", p)
		}
	}()
	method, place, ok := strings.Cut(r.Pattern, " ")
	if !ok {
		return errors.New(`no method; write it as "POST api.example.com/v1/refunds"`)
	}
	if safeMethod(method) {
		return fmt.Errorf("%s is no write", method)
	}
	host, path, _ := strings.Cut(strings.TrimLeft(place, " \t"), "/")
	switch {
	case strings.Contains(host, ":"):
		return errors.New("a host is named without its port")
	case r.Limits.MaxResult != 0:
		return errors.New("Limits.MaxResult is set; MaxResponse decides it")
	case r.Policy.Kind == onceguard.TransactionalKind:
		return errors.New("the policy is transactional: a request to another system is no part of the store's transaction")
	}
	if err := r.mayRepeat(); err != nil {
		return err
	}
	host = strings.ToLower(host)
	pattern := method + " " + host + "/" + path
	t.mux.Handle(pattern, http.NotFoundHandler())
	t.rules[pattern] = r
	t.hosts[host] = true
	t.anywhere = t.anywhere || host == ""
	return nil
}

// mayRepeat refuses safe-retry where it would send again without the key, or
// for longer than the provider is documented to honour it.
func (r *Rule) mayRepeat() error {
	form := r.Preset.Key.Value
	switch {
	case r.Policy.Kind != onceguard.SafeRetryKind:
		return nil
	case form.In == InParameter || form.In == Nowhere || form.FirstSent != "":
		return fmt.Errorf("safe-retry needs a key that the transport can send again, and the preset %s has none", r.Preset.Name)
	case r.Preset.Horizon.Known() && r.Policy.Horizon > r.Preset.Horizon.Value:
		return fmt.Errorf("the horizon is %s; the preset %s honours a key for %s (%s)", r.Policy.Horizon, r.Preset.Name, r.Preset.Horizon.Value, r.Preset.Horizon.Source)
	}
	return nil
}

// find returns the rule of a request, or one made of its context's key.
func (t *ruleTable) find(r *http.Request) (Rule, bool) {
	if safeMethod(r.Method) {
		return Rule{}, false
	}
	// The mux matches servers' requests; a path that it would redirect to its
	// clean form matches the rule of that form.
	u := &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath}
	if u.Path == "" {
		u.Path = "/"
	}
	_, pattern := t.mux.Handler(&http.Request{Method: r.Method, Host: hostOf(r), URL: u})
	if rule := t.rules[pattern]; rule != nil {
		return *rule, true
	}
	if action, ok := r.Context().Value(adHoc{}).(string); ok {
		return Rule{Action: action}, true
	}
	return Rule{}, false
}

func (t *ruleTable) guardsHost(r *http.Request) bool { return t.anywhere || t.hosts[hostOf(r)] }

// hostOf is the host that a request goes to, without its port. The URL decides,
// not the Host header, which says nothing about where the bytes go.
func hostOf(r *http.Request) string {
	return strings.ToLower(strings.TrimSuffix(r.URL.Hostname(), "."))
}
