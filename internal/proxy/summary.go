package proxy

import (
	"fmt"
	"strings"
)

// Summary says in lines what becomes of requests, for people who check a
// configuration.
func (c *Config) Summary() []string {
	var lines []string
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		at := u.Prefix + "/"
		if u.Host != "" {
			at = "host " + u.Host
		}
		lines = append(lines, fmt.Sprintf("%s: %s -> %s://%s%s", u.Name, at, u.base.url.Scheme, u.base.url.Host, u.base.url.EscapedPath()))
		for _, r := range u.Routes {
			does := "passed unguarded"
			if !r.Pass {
				does = fmt.Sprintf("guarded as %s, %s", r.Action, r.policy.Kind)
			}
			lines = append(lines, fmt.Sprintf("  %s %s: %s", strings.Join(r.Methods, ","), r.Path, does))
		}
		writes := "refused"
		if u.UnmatchedWrites == pass {
			writes = "passed UNGUARDED"
		}
		lines = append(lines, "  other reads: passed", "  other writes: "+writes)
	}
	return lines
}
