package mcpcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/jsonpointer"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// Prefix begins the names of everything that is ours in _meta, as the protocol
// asks for: a reverse domain.
const Prefix = "io.github.onceguard/"

// Names in _meta.
const (
	MetaKey    = Prefix + "key"     // of a call: an explicit key that no model made
	MetaRepeat = Prefix + "repeat"  // of a call: a repeat token
	MetaWord   = Prefix + "receipt" // of a result: what the gate says about it
)

// metaPlainKey is the field of SEP-3182 (Request Idempotency).
const metaPlainKey = "idempotencyKey"

// metaVersion marks calls of revision 2026-07-28 and later, whose results say
// what type they are.
const metaVersion = "io.modelcontextprotocol/protocolVersion"

// call is one call, read.
type call struct {
	Call
	tool   string
	how    mcppolicy.Tool
	guard  *onceguard.Guard // of the principal's scope
	action string

	says  []byte // canonical arguments, without the token and what is ignored
	args  any    // the arguments, decoded, without the token
	key   string // L0
	id    string // L1
	turn  string // keyed digest of the turn's id, or empty
	token string

	inArgs    bool   // the token came as an argument and must not be forwarded
	continues bool   // an answer to input_required
	state     string // requestState, if hasState
	hasState  bool
	responses string // canonical inputResponses
	modern    bool
}

// parse reads a call. Its errors say what is wrong with the params; nothing is
// claimed because of a call that two readers could understand differently.
func (g *Gate) parse(in Call) (*call, error) {
	canonical, err := onceguard.CanonicalJSON(in.Params)
	if err != nil {
		return nil, err
	}
	var p struct {
		Name      *string
		Arguments map[string]any
		Meta      map[string]any
	}
	doc, err := decode(canonical)
	if err != nil {
		return nil, err
	}
	top, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("params is not an object")
	}
	c := &call{Call: in}
	if c.tool, ok = top["name"].(string); !ok || c.tool == "" {
		return nil, errors.New("params.name is not the name of a tool")
	}
	if p.Arguments, ok = object(top["arguments"]); !ok {
		return nil, errors.New("params.arguments is not an object")
	}
	if p.Meta, ok = object(top["_meta"]); !ok {
		return nil, errors.New("params._meta is not an object")
	}
	c.how = g.policy.Tool(c.tool)
	c.guard, c.action = g.scoped(in.Principal), g.action(c.tool)
	_, c.modern = p.Meta[metaVersion]
	if err := c.takeToken(p.Arguments, p.Meta, g.opts.RepeatArgument, g.seen.ownRepeat(c.tool)); err != nil {
		return nil, err
	}
	if err := c.takeNames(g, p.Meta); err != nil {
		return nil, err
	}
	if err := c.takeContinuation(top); err != nil {
		return nil, err
	}
	c.args = p.Arguments
	if c.says, err = said(p.Arguments, c.how); err != nil {
		return nil, err
	}
	return c, nil
}

func decode(doc []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// object reads an object that may be missing or null.
func object(v any) (map[string]any, bool) {
	if v == nil {
		return map[string]any{}, true
	}
	m, ok := v.(map[string]any)
	return m, ok
}

// said is the canonical form of what the arguments say.
func said(args map[string]any, how mcppolicy.Tool) ([]byte, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	if len(how.Identity.Ignore) > 0 {
		own, err := decode(raw) // the pointers change it in place
		if err != nil {
			return nil, err
		}
		for _, p := range how.Identity.Ignore {
			own = p.Without(own)
		}
		if raw, err = json.Marshal(own); err != nil {
			return nil, err
		}
	}
	return onceguard.CanonicalJSON(raw)
}

// takeToken takes the repeat token out of the arguments, or of _meta.
func (c *call) takeToken(args, meta map[string]any, argument string, theirs bool) error {
	if v, ok := args[argument]; ok && !theirs {
		c.inArgs = true
		delete(args, argument)
		if c.token, ok = v.(string); !ok && v != nil {
			return fmt.Errorf("params.arguments.%s is not a string", argument)
		}
	}
	if v, ok := meta[MetaRepeat].(string); ok {
		c.token = v
	}
	return nil
}

// takeNames finds L0 and L1.
func (c *call) takeNames(g *Gate, meta map[string]any) error {
	for _, name := range []string{c.how.Identity.Meta, MetaKey, metaPlainKey} {
		v, ok := meta[name]
		if name == "" || !ok {
			continue
		}
		if c.key, ok = v.(string); !ok {
			return fmt.Errorf("params._meta has %q, which is not a string", name)
		}
		break
	}
	if values := c.Header.Values("Idempotency-Key"); len(values) > 0 && c.key == "" {
		if len(values) > 1 {
			return errors.New("the header Idempotency-Key stands twice")
		}
		c.key = headerKey(values[0])
	}
	if c.key != "" {
		if err := explicitKey(c.key).Err(); err != nil {
			return err
		}
	}
	c.id = scalarAt(meta, c.how.Identity.CallIDs)
	if turn := scalarAt(meta, c.how.Identity.TurnIDs); turn != "" {
		c.turn = g.secret.short("turn", turn)
	}
	return nil
}

// headerKey reads the field as a quoted string (RFC 8941) or as it is.
func headerKey(v string) string {
	v = strings.TrimSpace(v)
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(v[1 : len(v)-1])
	}
	return v
}

// scalarAt is the first of some names that _meta has, as text. A name that begins
// with '/' is a JSON pointer.
func scalarAt(meta map[string]any, names []string) string {
	for _, n := range names {
		at := meta[n]
		if strings.HasPrefix(n, "/") {
			if p, err := jsonpointer.Parse(n); err == nil {
				at, _ = p.Find(meta)
			}
		}
		switch v := at.(type) {
		case string:
			if v != "" {
				return v
			}
		case json.Number:
			return v.String()
		}
	}
	return ""
}

func (c *call) takeContinuation(top map[string]any) error {
	if v, ok := top["requestState"]; ok && v != nil {
		if c.state, ok = v.(string); !ok {
			return errors.New("params.requestState is not a string")
		}
		c.hasState, c.continues = true, true
	}
	if v, ok := top["inputResponses"]; ok && v != nil {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		canonical, err := onceguard.CanonicalJSON(raw)
		if err != nil {
			return err
		}
		c.responses, c.continues = string(canonical), true
	}
	return nil
}
