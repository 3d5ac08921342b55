package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// keyFlags are the flags that make a key, shared by all commands that take one.
type keyFlags struct {
	keys   []string // --key
	raw    string   // --raw-key
	from   []string // --key-from
	issued string   // --issued-at
}

var (
	partName = regexp.MustCompile(`^[a-z][a-z0-9_.-]*=`)
	// smuggled finds what looks like a second part inside a value. It is refused,
	// never split: an order id from outside must not be able to add parts.
	smuggled = regexp.MustCompile(`,[a-z][a-z0-9_.-]*=`)
)

// key builds the key. --key is a named part if it begins with NAME= where NAME
// could be a part's name, and one raw text otherwise. doc is the JSON that
// --key-from points into, or nil.
func (k keyFlags) key(doc *document) (onceguard.Key, error) {
	key, err := k.build(doc)
	if err != nil {
		return onceguard.Key{}, err
	}
	if k.issued != "" {
		t, err := time.Parse(time.RFC3339, k.issued)
		if err != nil {
			return onceguard.Key{}, fmt.Errorf("--issued-at %q is not a time; write 2025-11-24T11:24:00Z", short(k.issued, 40))
		}
		key = key.WithIssuedAt(t)
	}
	return key, key.Err()
}

func (k keyFlags) build(doc *document) (onceguard.Key, error) {
	var pairs []any
	raw := ""
	for _, text := range k.keys {
		name, value, _ := strings.Cut(text, "=")
		switch {
		case text == "":
			return onceguard.Key{}, errors.New(`--key is empty; give the identifier itself, as in --key order=A-1`)
		case !partName.MatchString(text):
			raw = text
		case smuggled.MatchString(value):
			return onceguard.Key{}, fmt.Errorf("--key %q looks like several parts; give each its own --key, or use --raw-key for a text that is meant so", short(text, 60))
		default:
			pairs = append(pairs, name, value)
		}
	}
	for _, f := range k.from {
		name, value, err := keyFrom(f, doc)
		if err != nil {
			return onceguard.Key{}, err
		}
		pairs = append(pairs, name, value)
	}
	kinds := 0
	for _, given := range []bool{raw != "", k.raw != "", len(pairs) > 0} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return onceguard.Key{}, errors.New("there is no key; give --key order=A-1, --raw-key TEXT or --key-from /pointer: without a key nothing protects a retry")
	case kinds > 1, raw != "" && len(k.keys) > 1:
		return onceguard.Key{}, errors.New("a raw key stands alone; name every part, as in --key order=A-1 --key try=2")
	case raw != "":
		return onceguard.RawKey(raw), nil
	case k.raw != "":
		return onceguard.RawKey(k.raw), nil
	}
	return onceguard.KeyOf(pairs...), nil
}

// keyFrom reads one --key-from: POINTER, whose tokens joined by '.' are the
// part's name, or NAME=POINTER.
func keyFrom(flag string, doc *document) (name, value string, err error) {
	name, pointer, named := strings.Cut(flag, "=")
	if strings.HasPrefix(flag, "/") {
		pointer, named = flag, false
	} else if !named {
		return "", "", fmt.Errorf("--key-from %q: write a JSON pointer such as /order/id, or NAME=/order/id", short(flag, 60))
	}
	if doc == nil {
		return "", "", fmt.Errorf("--key-from %q needs the JSON that it points into; give --input FILE or --input -", short(flag, 60))
	}
	if !named {
		name = strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", ".")
		if !partName.MatchString(name + "=") {
			return "", "", fmt.Errorf("--key-from %q: %q cannot be the name of a key part; name it, as in order=%s", short(flag, 60), short(name, 60), short(pointer, 60))
		}
	}
	if value, err = doc.pointer(pointer); err != nil {
		return "", "", fmt.Errorf("--key-from %q: %w", short(flag, 60), err)
	}
	return name, value, nil
}
