package onceguard

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of a key.
const (
	// MaxKeyLen is the greatest length of [Key.Encoded] in bytes, names,
	// separators and escapes included.
	MaxKeyLen = 512
	// MaxKeyNameLen is the greatest length of a part's name in bytes.
	MaxKeyNameLen = 64
)

// Key is the caller's identity of one intended effect within scope and action:
// the order, the invoice, the message. It is the same on every retry, and a
// new intention (another try after a refusal, another line of the order) is
// another key.
//
// Build it with [KeyOf], [RawKey], [RequestID.Slot] or [ParseKey]. The zero
// Key is missing, and [Key.Err] says so. A Key is immutable and may be shared
// between goroutines. Compare keys by [Key.Encoded].
type Key struct {
	encoded string
	issued  time.Time
	err     error
}

// KeyPart is one named part of a [Key].
type KeyPart struct {
	// Name is the part's name, empty for a [RawKey].
	Name string
	// Value is the part's text, byte-exact.
	Value string
}

// KeyOf builds a key from alternating names and values, as in
//
//	onceguard.KeyOf("order", order.ID, "try", 2)
//
// A name matches [a-z][a-z0-9_.-]*, is at most [MaxKeyNameLen] bytes and
// appears once. Names are identity: a renamed part is another key, and a retry
// across that release runs the effect again. The order of the arguments is not
// identity: parts are sorted by name, so that moving an argument cannot cause
// a second effect.
//
// A value is a string, an integer, a bool, a type named after one of these, or
// an array of bytes that prints itself ([encoding.TextMarshaler]), such as a
// UUID, unless it is all zero. Values are compared as text, byte for byte,
// without Unicode normalisation: the integer 7 and the string "7" are one key,
// "a" and "A" are two.
//
// Refused are times, durations and floats (they differ from one try to the
// next), pointers, nil, structs, slices, maps, and empty, NUL-holding or
// invalid UTF-8 text. KeyOf never panics: [Key.Err] keeps the first error, and
// nothing runs under such a key.
func KeyOf(nameValue ...any) Key {
	if len(nameValue) == 0 {
		return badKey("", "no parts", `name what the effect is about, as in KeyOf("order", id)`)
	}
	parts := make([]KeyPart, 0, (len(nameValue)+1)/2)
	for i := 0; i < len(nameValue); i += 2 {
		name, ok := nameValue[i].(string)
		if !ok {
			return badKey("", "argument "+strconv.Itoa(i+1)+" is a "+typeName(nameValue[i])+" where a part's name belongs",
				`alternate names and values, as in KeyOf("order", id, "try", n)`)
		}
		if problem, mend := nameProblem(name); problem != "" {
			return badKey(name, problem, mend)
		}
		if i+1 == len(nameValue) {
			return badKey(name, "no value", `alternate names and values, as in KeyOf("order", id, "try", n)`)
		}
		value, problem, mend := partValue(nameValue[i+1])
		if problem == "" {
			problem, mend = textProblem(value)
		}
		if problem != "" {
			return badKey(name, problem, mend)
		}
		parts = append(parts, KeyPart{name, value})
	}
	slices.SortFunc(parts, func(a, b KeyPart) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(parts); i++ {
		if parts[i].Name == parts[i-1].Name {
			return badKey(parts[i].Name, "given twice", "give each part its own name")
		}
	}
	return encodedKey(appendParts(nil, parts))
}

// RawKey makes a key of one text as it is, byte for byte: a webhook's event
// id, an Idempotency-Key header. The text is 1 to 511 bytes of valid UTF-8
// without NUL; there is no trimming, case folding or normalisation. A RawKey
// never equals a key of [KeyOf].
func RawKey(s string) Key {
	if problem, mend := textProblem(s); problem != "" {
		return badKey("", problem, mend)
	}
	if len(s) > MaxKeyLen-1 {
		return badKey("", "raw text of "+strconv.Itoa(len(s))+" bytes, at most "+strconv.Itoa(MaxKeyLen-1)+" are allowed",
			"use the sender's own short identifier, or the hexadecimal SHA-256 of the long one")
	}
	return Key{encoded: rawMark + s}
}

// Err returns nil for a usable key, and otherwise an [*IdentityError] that
// names the part, what was wrong and what to do.
func (k Key) Err() error {
	if k.err == nil && k.encoded == "" {
		return &IdentityError{Field: "key", Problem: "missing", Mend: `give the action a key that is the same on every retry, as in KeyOf("order", id)`}
	}
	return k.err
}

// Parts returns the parts sorted by name; a [RawKey] has one part with an
// empty name. It returns nil if [Key.Err] is not nil.
func (k Key) Parts() []KeyPart {
	if k.Err() != nil {
		return nil
	}
	parts, err := splitParts(k.encoded)
	if err != nil {
		return nil
	}
	return parts
}

func badKey(part, problem, mend string) Key {
	return Key{err: &IdentityError{Field: "key", Part: part, Problem: problem, Mend: mend}}
}

func encodedKey(encoded []byte) Key {
	if len(encoded) > MaxKeyLen {
		return badKey("", "encoded length "+strconv.Itoa(len(encoded))+" bytes, at most "+strconv.Itoa(MaxKeyLen)+" are allowed",
			"use shorter identifiers, or the hexadecimal SHA-256 of a long one")
	}
	return Key{encoded: string(encoded)}
}

func nameProblem(name string) (problem, mend string) {
	const rule = "use a lower-case letter and then letters a-z, digits, '_', '.' or '-'"
	if name == "" {
		return "a part has an empty name", rule
	}
	if len(name) > MaxKeyNameLen {
		return "name of " + strconv.Itoa(len(name)) + " bytes, at most " + strconv.Itoa(MaxKeyNameLen) + " are allowed", "use a shorter name"
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '_' || c == '.' || c == '-'):
		default:
			return "byte " + strconv.Itoa(i) + " of the name is not allowed", rule
		}
	}
	return "", ""
}
