package proxy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// unknownKeyLength is the length of a downstream key where the provider's limit
// is not known: that of a UUID, which all of them take.
const unknownKeyLength = 36

// presets are the providers that the proxy can work for, by their lower-case
// name: those that take a plain key in a header, or none at all.
func presets() map[string]httpguard.Preset {
	all := map[string]httpguard.Preset{}
	for _, p := range httpguard.Presets() {
		if unusable(p) == "" {
			all[strings.ToLower(p.Name)] = p
		}
	}
	return all
}

// unusable says why the proxy cannot send a provider's key.
func unusable(p httpguard.Preset) string {
	switch k := p.Key.Value; {
	case k.In == httpguard.Nowhere:
		return ""
	case k.In != httpguard.InHeader:
		return "it takes the key in a " + k.In.String() + ", and the proxy changes no bodies and signs nothing"
	case k.FirstSent != "":
		return "it needs the time of the first sending on every repeat, which another process does not have"
	case k.UUID:
		return "it takes UUIDs alone"
	}
	return ""
}

// applyPreset fills in what is known of the provider. What the route says itself
// may be stricter, never laxer.
func (r *Route) applyPreset() error {
	if r.Preset == "" {
		return nil
	}
	p, ok := presets()[r.Preset]
	if !ok {
		for _, other := range httpguard.Presets() {
			if strings.ToLower(other.Name) == r.Preset {
				return fmt.Errorf("preset %s cannot be used here: %s", r.Preset, unusable(other))
			}
		}
		return fmt.Errorf("preset %.40q is not known; known are %s", r.Preset, strings.Join(presetNames(), ", "))
	}
	if r.DownstreamKeyHeader != "" || r.DownstreamKeyLength != 0 {
		return fmt.Errorf("preset %s decides downstream_key_header and downstream_key_length; leave them out", r.Preset)
	}
	if p.Key.Value.In == httpguard.InHeader {
		r.DownstreamKeyHeader, r.DownstreamKeyLength = p.Key.Value.Name, unknownKeyLength
		if p.MaxKey.Known() {
			r.DownstreamKeyLength = p.MaxKey.Value
		}
	}
	for _, code := range p.BeforeWork.Value {
		if !slices.Contains(slices.Concat(r.NotExecutedOn, r.RefusedOn), code) {
			r.NotExecutedOn = append(r.NotExecutedOn, code)
		}
	}
	if r.Policy != onceguard.SafeRetryKind.String() {
		return nil
	}
	return r.presetRetry(p)
}

func (r *Route) presetRetry(p httpguard.Preset) error {
	if p.Key.Value.In == httpguard.Nowhere {
		return fmt.Errorf("policy safe-retry: %s documents no idempotency key; use at-most-once", p.Name)
	}
	if p.Horizon.Known() {
		switch {
		case r.Horizon == 0:
			r.Horizon = span(p.Horizon.Value)
		case time.Duration(r.Horizon) > p.Horizon.Value:
			return fmt.Errorf("horizon is %s; %s honours a key for %s (%s)", time.Duration(r.Horizon), p.Name, p.Horizon.Value, p.Horizon.Source)
		}
	}
	if p.Refusals.Known() {
		remembers := p.Refusals.Value == onceguard.RefusalsRemembered
		if r.RemembersRefusals != nil && *r.RemembersRefusals && !remembers {
			return fmt.Errorf("remembers_refusals is true; %s does not keep all of them (%s)", p.Name, p.Refusals.Source)
		}
		if r.RemembersRefusals == nil {
			r.RemembersRefusals = &remembers
		}
	}
	return nil
}

func presetNames() (names []string) {
	for name := range presets() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
