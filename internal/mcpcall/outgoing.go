package mcpcall

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/onceguard/onceguard"
)

// outgoing is what to send: the bytes as they came, without the repeat token,
// and with the downstream key where the policy wants it. Its errors mean that
// nothing was sent.
func (g *Gate) outgoing(c *call, a *onceguard.Attempt) (json.RawMessage, http.Header, error) {
	params, header := c.Params, c.Header.Clone()
	if c.inArgs {
		params, _ = put(params, []string{"arguments", g.opts.RepeatArgument}, nil)
	}
	if field(params, "_meta", MetaRepeat) != nil {
		params, _ = put(params, []string{"_meta", MetaRepeat}, nil)
	}
	in := c.how.Inject
	if !in.Set() {
		return params, header, nil
	}
	key := a.DownstreamKey()
	if in.Length > 0 {
		var err error
		if key, err = a.DownstreamKeyLen(in.Length); err != nil {
			return nil, nil, err
		}
	}
	if in.Header != "" {
		if header == nil {
			header = http.Header{}
		}
		header.Set(in.Header, key)
		return params, header, nil
	}
	path := []string{"_meta", in.Meta}
	if in.Argument != nil {
		path = append([]string{"arguments"}, in.Argument...)
	}
	// A null where an object belongs counts as missing.
	for n := 1; n < len(path); n++ {
		if string(field(params, path[:n]...)) == "null" {
			params, _ = put(params, path[:n], []byte("{}"))
		}
	}
	params, ok := put(params, path, []byte(quote(key)))
	if !ok {
		return nil, nil, onceguard.NotExecuted(fmt.Errorf("the downstream key cannot be put at %v: something on the way is no object", path))
	}
	return params, header, nil
}
