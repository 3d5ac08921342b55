package httpguard

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/onceguard/onceguard"
)

// HeaderKey is the request header that carries the key.
const HeaderKey = "Idempotency-Key"

// HeaderReplayed marks an answer that was recorded earlier: "true".
const HeaderReplayed = "Idempotent-Replayed"

// HeaderStatus is "receipt-pending" on an answer whose receipt is not stored
// yet. On a streamed response it is a trailer.
const HeaderStatus = "Idempotency-Status"

// KeyFromHeader reads Idempotency-Key: an RFC 9651 string in quotes, as the
// IETF draft has it, or the same text raw. Quoted and raw spellings of a text
// are one key. It is the zero Key without the header, and an error if the header
// is repeated or malformed; the error repeats nothing of it.
func KeyFromHeader(h http.Header) (onceguard.Key, error) {
	values := h.Values(HeaderKey)
	if len(values) == 0 {
		return onceguard.Key{}, nil
	}
	if len(values) > 1 {
		return onceguard.Key{}, fmt.Errorf("the header %s is repeated", HeaderKey)
	}
	text, err := keyText(strings.Trim(values[0], " \t"))
	if err != nil {
		return onceguard.Key{}, err
	}
	key := onceguard.RawKey(text)
	if key.Err() != nil {
		return onceguard.Key{}, fmt.Errorf("the header %s has %d bytes of text; at most %d are allowed", HeaderKey, len(text), onceguard.MaxKeyLen-1)
	}
	return key, nil
}

func keyText(v string) (string, error) {
	if v == "" {
		return "", fmt.Errorf("the header %s is empty", HeaderKey)
	}
	if v[0] == '"' {
		return quotedText(v)
	}
	for i := range len(v) {
		switch c := v[i]; {
		case c == ',' || c == '"' || c == ';':
			// A comma may be two header lines that a proxy joined; the others
			// would be syntax in a structured field.
			return "", fmt.Errorf("the header %s holds %q outside of quotes", HeaderKey, c)
		case c <= ' ' || c >= 0x7f:
			return "", fmt.Errorf("the header %s holds a byte that is not visible ASCII; put the key in quotes, or use another", HeaderKey)
		}
	}
	return v, nil
}

// quotedText reads an RFC 9651 string (section 4.2.5). Nothing may follow: the
// draft defines no parameters, and two strings would be two keys.
func quotedText(v string) (string, error) {
	var b strings.Builder
	for i := 1; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\':
			i++
			if i == len(v) || (v[i] != '"' && v[i] != '\\') {
				return "", fmt.Errorf("the header %s has a backslash that escapes nothing", HeaderKey)
			}
			b.WriteByte(v[i])
		case c == '"':
			if i != len(v)-1 {
				return "", fmt.Errorf("the header %s goes on after the closing quote", HeaderKey)
			}
			if b.Len() == 0 {
				return "", fmt.Errorf("the header %s is an empty string", HeaderKey)
			}
			return b.String(), nil
		case c < ' ' || c >= 0x7f:
			return "", fmt.Errorf("the header %s holds a byte that is not printable ASCII", HeaderKey)
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("the header %s has no closing quote", HeaderKey)
}

// errNoKey is a missing key where one is required.
var errNoKey = errors.New("no key")

// key returns the request's key. errNoKey means that there is none.
func (m *Middleware) key(r *http.Request, body []byte) (onceguard.Key, error) {
	var key onceguard.Key
	var err error
	if m.opts.Key != nil {
		key, err = m.opts.Key(r, body)
	} else {
		key, err = KeyFromHeader(r.Header)
	}
	if err != nil {
		return onceguard.Key{}, err
	}
	if key.Encoded() == "" {
		var id *onceguard.IdentityError
		if err := key.Err(); errors.As(err, &id) && id.Problem != "missing" {
			return onceguard.Key{}, err
		}
		return onceguard.Key{}, errNoKey
	}
	return key, nil
}
