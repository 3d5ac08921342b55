package onceguard

import (
	"strconv"
	"strings"
	"unicode"
)

// rawMark opens the encoded form of a RawKey. A part's name is never empty, so
// no key of KeyOf begins with it.
const rawMark = "="

// Encoded returns the one byte-exact form of the key, which stores keep and
// the request ID hashes; it is empty if [Key.Err] is not nil.
//
// Named parts are name=value, sorted by name and joined by '/'. In a value '%'
// is written %25 and '/' is written %2F, and nothing else is escaped, so two
// different lists of parts never share a form. A [RawKey] is '=' and its text
// as it is. The form may hold control characters: print [Key.String] instead.
func (k Key) Encoded() string { return k.encoded }

// ParseKey is the inverse of [Key.Encoded]. It accepts no other spelling of a
// key; the error is an [*IdentityError]. The time given to [Key.WithIssuedAt]
// is not part of the form and does not come back.
func ParseKey(encoded string) (Key, error) {
	if len(encoded) > MaxKeyLen {
		k := badKey("", "encoded length "+strconv.Itoa(len(encoded))+" bytes, at most "+strconv.Itoa(MaxKeyLen)+" are allowed", "pass what Key.Encoded returned")
		return k, k.err
	}
	if _, err := splitParts(encoded); err != nil {
		return Key{err: err}, err
	}
	return Key{encoded: encoded}, nil
}

// String returns the key for people, as in order=A-1/try=2. Values that hold
// anything but plain printable characters are quoted and escaped, control and
// bidirectional characters included, so the text is safe for terminals and
// logs (not for HTML). It is not identity and cannot be parsed.
func (k Key) String() string {
	if err := k.Err(); err != nil {
		return "invalid key (" + strings.TrimPrefix(err.Error(), "onceguard: ") + ")"
	}
	var b strings.Builder
	for i, p := range k.Parts() {
		if i > 0 {
			b.WriteByte('/')
		}
		if p.Name != "" {
			b.WriteString(p.Name)
			b.WriteByte('=')
		}
		if isPlainText(p.Value) {
			b.WriteString(p.Value)
		} else {
			b.WriteString(strconv.Quote(p.Value))
		}
	}
	return b.String()
}

func isPlainText(s string) bool {
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) || strings.ContainsRune(`/="\`, r) {
			return false
		}
	}
	return true
}

func appendParts(dst []byte, parts []KeyPart) []byte {
	for i, p := range parts {
		if i > 0 {
			dst = append(dst, '/')
		}
		dst = append(dst, p.Name...)
		dst = append(dst, '=')
		for j := range len(p.Value) {
			switch c := p.Value[j]; c {
			case '%':
				dst = append(dst, "%25"...)
			case '/':
				dst = append(dst, "%2F"...)
			default:
				dst = append(dst, c)
			}
		}
	}
	return dst
}

// splitParts checks an encoded key and takes it apart. Only what appendParts
// writes is accepted: a second spelling of a key would be a second identity.
func splitParts(encoded string) ([]KeyPart, error) {
	refuse := func(part, problem, mend string) ([]KeyPart, error) {
		return nil, &IdentityError{Field: "key", Part: part, Problem: problem, Mend: mend}
	}
	if raw, ok := strings.CutPrefix(encoded, rawMark); ok {
		if problem, mend := textProblem(raw); problem != "" {
			return refuse("", problem, mend)
		}
		return []KeyPart{{Value: raw}}, nil
	}
	if problem, mend := textProblem(encoded); problem != "" {
		return refuse("", problem, mend)
	}
	parts := make([]KeyPart, 0, 1+strings.Count(encoded, "/"))
	for piece := range strings.SplitSeq(encoded, "/") {
		name, escaped, ok := strings.Cut(piece, "=")
		if !ok {
			return refuse("", "no '=' in "+quoteShort(piece), "write name=value, with '/' inside a value as %2F, or begin a raw key with '='")
		}
		if problem, mend := nameProblem(name); problem != "" {
			return refuse(name, problem, mend)
		}
		if escaped == "" {
			return refuse(name, "empty value", "give the identifier itself")
		}
		if n := len(parts); n > 0 && parts[n-1].Name >= name {
			if parts[n-1].Name == name {
				return refuse(name, "given twice", "give each part its own name")
			}
			return refuse(name, "stands after "+strconv.Quote(parts[n-1].Name), "sort parts by name")
		}
		value, ok := unescapeValue(escaped)
		if !ok {
			return refuse(name, "'%' that is neither %25 nor %2F", "write '%' as %25 and '/' as %2F, in capitals, and escape nothing else")
		}
		parts = append(parts, KeyPart{name, value})
	}
	return parts, nil
}

func unescapeValue(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "%")
		b.WriteString(before)
		if !found {
			return b.String(), true
		}
		switch {
		case strings.HasPrefix(after, "25"):
			b.WriteByte('%')
		case strings.HasPrefix(after, "2F"):
			b.WriteByte('/')
		default:
			return "", false
		}
		s = after[2:]
	}
}
