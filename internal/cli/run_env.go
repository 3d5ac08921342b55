package cli

import (
	"strconv"

	"github.com/onceguard/onceguard"
)

// childEnv is the command's environment: this one's and what it may pass on.
func (r *runner) childEnv(at *onceguard.Attempt) []string {
	id := at.RequestID().String()
	ancestors := id
	if outer := r.env.get(envAncestors); outer != "" {
		ancestors = outer + ":" + id
	}
	set := []string{
		"ONCEGUARD_REQUEST_ID=" + id,
		"ONCEGUARD_DOWNSTREAM_KEY=" + at.DownstreamKey(),
		"ONCEGUARD_ATTEMPT=" + strconv.FormatInt(at.Number(), 10),
		"ONCEGUARD_SCOPE=" + at.Scope(),
		"ONCEGUARD_ACTION=" + at.Action(),
		"ONCEGUARD_KEY=" + keyText(r.request.Key),
		envAncestors + "=" + ancestors,
	}
	return r.env.with(append(set, r.storeEnv()...)...)
}

// storeEnv keeps a store's password from the command. The variable is replaced
// rather than removed: a nested onceguard without a store would silently use
// the default one, another memory.
func (a *app) storeEnv() []string {
	if u, err := parseStoreURL(a.env.get(envStore)); err == nil && u.secret {
		return []string{envStore + "=" + withheld}
	}
	return nil
}

// keyText is the key as a command wants it: a raw key's own text, and the
// encoded form of named parts.
func keyText(k onceguard.Key) string {
	if parts := k.Parts(); len(parts) == 1 && parts[0].Name == "" {
		return parts[0].Value
	}
	return k.Encoded()
}
