package httpguard

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// Fact is one thing that is known of a provider, with the page that says it and
// the day or month in which it was read. Without a source it is unset.
type Fact[T any] struct {
	Value  T
	Source string // URL
	Read   string // "2026-11"
}

// Known reports whether f has a source.
func (f Fact[T]) Known() bool { return f.Source != "" }

// Place says in which part of a request a provider takes its idempotency key.
type Place uint8

// The places.
const (
	InHeader    Place = iota // a request header
	InJSON                   // a field of the JSON body; Name is its path, joined by "/"
	InParameter              // a parameter that the caller's SDK signs: the transport cannot put it there
	Nowhere                  // the provider documents none
)

var placeNames = [...]string{"header", "JSON field", "parameter", "none"}

// String names the place.
func (p Place) String() string {
	if int(p) < len(placeNames) {
		return placeNames[p]
	}
	return fmt.Sprintf("place(%d)", uint8(p))
}

// KeyForm is where and how a provider takes its key.
type KeyForm struct {
	In   Place
	Name string // of the header, field or parameter
	UUID bool   // it must be a UUID
	// FirstSent names a header that must have the time of the first sending.
	FirstSent string
}

// Preset is what is known of one provider's idempotency. The zero Preset sends
// the downstream key as Idempotency-Key, a header that servers without it ignore,
// and promises nothing.
type Preset struct {
	Name string

	Key        Fact[KeyForm]
	MaxKey     Fact[int]                // characters
	Horizon    Fact[time.Duration]      // how long a key is honoured, at least
	Refusals   Fact[onceguard.Refusals] // whether a refused key stays refused
	BeforeWork Fact[[]int]              // statuses given before any work

	// For people, in docs/providers.md.
	OtherBody Fact[string] // the same key with another request
	InFlight  Fact[string] // the same key while the first request runs
	Failures  Fact[string] // what becomes of a key whose request failed
	Unknown   Fact[string] // what to do about an unknown outcome
}

// SafeRetry returns the policy that sends a request with an unknown outcome again
// with the same key, for as long as the provider is documented to honour it. It
// is an error that names what is not documented.
func (p Preset) SafeRetry() (onceguard.Policy, error) {
	var unset []string
	if k := p.Key.Value; !p.Key.Known() || k.In == Nowhere {
		unset = append(unset, "where the key goes")
	} else if k.In == InParameter {
		unset = append(unset, "a place for the key that a transport can write to")
	} else if k.FirstSent != "" {
		unset = append(unset, "the time of the first sending, which another process does not have")
	}
	if !p.Horizon.Known() {
		unset = append(unset, "the horizon (how long a key is honoured)")
	}
	if !p.Refusals.Known() {
		unset = append(unset, "whether a refused key stays refused")
	}
	if len(unset) > 0 {
		return onceguard.Policy{}, fmt.Errorf("httpguard: preset %s does not allow safe-retry: not known is %s; use at-most-once with a Reconcile lookup", p.Name, strings.Join(unset, ", "))
	}
	policy := onceguard.SafeRetry(p.Horizon.Value, p.Refusals.Value)
	return policy, policy.Validate()
}

// unknownLimit is the length of a key where the provider's limit is not known:
// that of a UUID, which all of them take.
const unknownLimit = 36

// downstream is the key in the provider's form, of Attempt.DownstreamKey.
func (p Preset) downstream(key string) (string, error) {
	if p.Key.Value.UUID {
		return uuidOf(key), nil
	}
	limit := unknownLimit
	if p.MaxKey.Known() {
		limit = p.MaxKey.Value
	}
	if limit < onceguard.MinDownstreamKey {
		return "", fmt.Errorf("preset %s allows keys of %d characters; they could collide, at least %d are needed", p.Name, limit, onceguard.MinDownstreamKey)
	}
	return key[:min(limit, len(key))], nil
}

// uuidOf is a UUID of version 8 (RFC 9562, section 5.8) with 122 bits of the
// key's SHA-256: the same for the same key.
func uuidOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// place puts the key into a request: into its header, or into the body that it
// returns. What a caller's SDK put there is replaced.
func (p Preset) place(h http.Header, body []byte, key string, now time.Time) ([]byte, error) {
	form := p.Key.Value
	switch form.In {
	case InJSON:
		return setJSON(body, form.Name, key)
	case InParameter, Nowhere:
		return body, nil
	}
	name := form.Name
	if name == "" {
		name = HeaderKey
	}
	for given := range h {
		if strings.EqualFold(given, name) {
			delete(h, given)
		}
	}
	h.Set(name, key)
	if form.FirstSent != "" {
		h.Set(form.FirstSent, now.UTC().Format(http.TimeFormat))
	}
	return body, nil
}
