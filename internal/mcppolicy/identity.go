package mcppolicy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/jsonpointer"
)

// OccurrencePart names the part of a key that counts repeats; no business key
// may use it.
const OccurrencePart = "occurrence"

func (i identity) check() (out Identity, err error) {
	if len(i.Key) > 0 && i.Template != "" {
		return out, errors.New("key and template are both set; give one")
	}
	names := map[string]bool{OccurrencePart: true}
	for _, text := range i.Key {
		p, err := jsonpointer.Parse(text)
		if err != nil {
			return out, fmt.Errorf("key: %w", err)
		}
		name := partName(p)
		if err := onceguard.KeyOf(name, "x").Err(); err != nil {
			return out, fmt.Errorf("key: %s makes no name for a part of the key: %w", text, err)
		}
		if names[name] {
			return out, fmt.Errorf("key: %s makes the name %q, which is taken", text, name)
		}
		names[name] = true
		out.Key = append(out.Key, KeyPart{name, p})
	}
	if out.Template, err = parseTemplate(i.Template); err != nil {
		return out, fmt.Errorf("template: %w", err)
	}
	for _, list := range []struct {
		name string
		from []string
		to   *[]jsonpointer.Pointer
	}{{"ignore", i.Ignore, &out.Ignore}, {"show_values", i.ShowValues, &out.ShowValues}} {
		for _, text := range list.from {
			p, err := jsonpointer.Parse(text)
			if err != nil {
				return out, fmt.Errorf("%s: %w", list.name, err)
			}
			*list.to = append(*list.to, p)
		}
	}
	for _, n := range append(append([]string{i.Meta}, i.CallIDs...), i.TurnIDs...) {
		if len(n) > 200 {
			return out, fmt.Errorf("%.40q… is too long for a name in _meta", n)
		}
		if strings.HasPrefix(n, "/") {
			if _, err := jsonpointer.Parse(n); err != nil {
				return out, err
			}
		}
	}
	out.Meta, out.CallIDs, out.TurnIDs = i.Meta, i.CallIDs, i.TurnIDs
	if out.CallIDs == nil {
		out.CallIDs = DefaultCallIDs
	}
	if out.TurnIDs == nil {
		out.TurnIDs = DefaultTurnIDs
	}
	return out, nil
}

// partName makes the name of a key's part out of its pointer: /order/Id is
// order.id.
func partName(p jsonpointer.Pointer) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(strings.Join(p, ".")))
}

// parseTemplate reads text with pointers in braces: order-{/order/id}.
func parseTemplate(s string) (parts []TemplatePart, err error) {
	pointers := 0
	for s != "" {
		text, rest, open := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return nil, errors.New("a '}' without a '{'")
		}
		if text != "" {
			parts = append(parts, TemplatePart{Text: text})
		}
		if !open {
			break
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, errors.New("a '{' without a '}'")
		}
		p, err := jsonpointer.Parse(inner)
		if err != nil {
			return nil, err
		}
		parts = append(parts, TemplatePart{Pointer: p})
		pointers++
		s = after
	}
	if parts != nil && pointers == 0 {
		return nil, errors.New("no {/pointer} in it: every call would be the same")
	}
	return parts, nil
}

func (i inject) check() (out Inject, err error) {
	n := 0
	for _, s := range []string{i.Argument, i.Header, i.Meta} {
		if s != "" {
			n++
		}
	}
	switch {
	case n > 1:
		return out, errors.New("inject: give one of argument, header and meta")
	case n == 0 && i.Length != 0:
		return out, errors.New("inject: length needs argument, header or meta")
	case i.Length != 0 && i.Length < onceguard.MinDownstreamKey:
		return out, fmt.Errorf("inject: length is %d; a key has at least %d characters, or two could be equal", i.Length, onceguard.MinDownstreamKey)
	case i.Header != "" && !isToken(i.Header):
		return out, fmt.Errorf("inject: header: %.60q is not a header name", i.Header)
	}
	out = Inject{Header: i.Header, Meta: i.Meta, Length: i.Length}
	if i.Argument != "" {
		if out.Argument, err = jsonpointer.Parse(i.Argument); err != nil {
			return out, fmt.Errorf("inject: argument: %w", err)
		}
	}
	return out, nil
}

// isToken reports an RFC 9110 token.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
