package onceguard

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strconv"
	"strings"
)

// Bounds of the fields that a request ID covers, in bytes.
const (
	// MaxScopeLen is the greatest length of a scope.
	MaxScopeLen = 256
	// MaxActionLen is the greatest length of an action's name.
	MaxActionLen = 128
)

// requestIDVersion opens what is hashed. Another way of deriving request IDs
// needs another tag, so that old and new can never be taken for each other.
const requestIDVersion = "onceguard/1"

const (
	requestIDPrefix  = "req_"
	requestIDTextLen = len(requestIDPrefix) + 52
)

var requestIDText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// RequestID identifies one intended effect: the SHA-256 of scope, action and
// key. Anyone who knows these can compute it, in any language (see
// testdata/vectors). It is not an X-Request-ID, a JSON-RPC id, or the id of a
// run, session, attempt or trace. It is not a secret, and it hides a key that
// can be guessed no better than the key itself.
type RequestID [32]byte

// NewRequestID computes SHA-256 over four fields, each after its length as 8
// bytes big-endian: the tag "onceguard/1", scope, action and [Key.Encoded].
//
// The scope is 1 to [MaxScopeLen] bytes of valid UTF-8 without NUL, compared
// byte for byte; programs without tenants use "default". The action is 1 to
// [MaxActionLen] bytes: a letter or digit of ASCII, then such letters, digits,
// '.', '_', '-' or '/', and case counts. Errors are [*IdentityError].
func NewRequestID(scope, action string, key Key) (RequestID, error) {
	if err := checkScope(scope); err != nil {
		return RequestID{}, err
	}
	if err := checkAction(action); err != nil {
		return RequestID{}, err
	}
	if err := key.Err(); err != nil {
		return RequestID{}, err
	}
	// The bounds above keep all four fields inside this buffer, which stays on
	// the stack: no allocation per request.
	var space [4*8 + len(requestIDVersion) + MaxScopeLen + MaxActionLen + MaxKeyLen]byte
	b := appendField(space[:0], requestIDVersion)
	b = appendField(b, scope)
	b = appendField(b, action)
	b = appendField(b, key.encoded)
	return sha256.Sum256(b), nil
}

// appendField writes a field after its length, so that moving bytes from one
// field to its neighbour always changes the digest.
func appendField(dst []byte, field string) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(field)))
	return append(dst, field...)
}

// String returns "req_" and the 52 letters of lower-case base 32 (RFC 4648
// alphabet, no padding).
func (id RequestID) String() string {
	b, _ := id.AppendText(make([]byte, 0, requestIDTextLen))
	return string(b)
}

// AppendText implements [encoding.TextAppender].
func (id RequestID) AppendText(b []byte) ([]byte, error) {
	return requestIDText.AppendEncode(append(b, requestIDPrefix...), id[:]), nil
}

// MarshalText implements [encoding.TextMarshaler] with [RequestID.String].
func (id RequestID) MarshalText() ([]byte, error) {
	return id.AppendText(make([]byte, 0, requestIDTextLen))
}

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseRequestID].
func (id *RequestID) UnmarshalText(text []byte) error {
	parsed, err := ParseRequestID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// IsZero reports whether the ID was never set.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// ParseRequestID reads the text form. Each ID has exactly one text: capitals,
// padding, blanks and stray bits in the last letter are refused with an
// [*IdentityError].
func ParseRequestID(s string) (RequestID, error) {
	refuse := func(problem, mend string) (RequestID, error) {
		return RequestID{}, &IdentityError{Field: "request ID", Problem: problem, Mend: mend}
	}
	const mend = `copy the whole ID, "req_" and 52 letters a-z and digits 2-7`
	if !strings.HasPrefix(s, requestIDPrefix) {
		return refuse(quoteShort(s)+` does not begin with "req_"`, mend)
	}
	if len(s) != requestIDTextLen {
		return refuse(quoteShort(s)+" has "+strconv.Itoa(len(s))+" bytes where "+strconv.Itoa(requestIDTextLen)+" belong", mend)
	}
	for i := len(requestIDPrefix); i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return refuse("byte "+strconv.Itoa(i)+" of "+quoteShort(s)+" is not in the alphabet", mend)
		}
	}
	var id RequestID
	if _, err := requestIDText.Decode(id[:], []byte(s[len(requestIDPrefix):])); err != nil {
		return refuse(quoteShort(s)+" is not base 32", mend)
	}
	// 52 letters hold 260 bits; the last four must be zero.
	if id.String() != s {
		return refuse(quoteShort(s)+" ends in a letter that no request ID ends in", mend)
	}
	return id, nil
}

// Slot returns the key of a child: one of five mails of a batch, a tool called
// inside a tool. The child belongs to its parent's request and to its name
// within it, so a retry of the parent finds the same children. The name is
// text as in [KeyOf]; use a stable one (the recipient's id), not a position in
// a list that may change. The key's parts are "parent" and "slot".
func (id RequestID) Slot(name string) Key {
	if id.IsZero() {
		return badKey("parent", "the parent's request ID was never set", "derive slots from the request ID of a running attempt")
	}
	return KeyOf("parent", id.String(), "slot", name)
}

func checkScope(scope string) error {
	switch problem, mend := textProblem(scope); {
	case scope == "":
		return &IdentityError{Field: "scope", Problem: "empty", Mend: `use "default" if there are no tenants`}
	case len(scope) > MaxScopeLen:
		return &IdentityError{Field: "scope", Problem: strconv.Itoa(len(scope)) + " bytes, at most " + strconv.Itoa(MaxScopeLen) + " are allowed", Mend: "use the tenant's short identifier"}
	case problem != "":
		return &IdentityError{Field: "scope", Problem: problem, Mend: mend}
	}
	return nil
}

func checkAction(action string) error {
	const rule = "use a letter or digit, then letters, digits, '.', '_', '-' or '/', as in refund.create"
	if action == "" {
		return &IdentityError{Field: "action", Problem: "empty", Mend: "name the kind of effect: " + rule}
	}
	if len(action) > MaxActionLen {
		return &IdentityError{Field: "action", Problem: strconv.Itoa(len(action)) + " bytes, at most " + strconv.Itoa(MaxActionLen) + " are allowed", Mend: "use a shorter name"}
	}
	for i := range len(action) {
		c := action[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-' || c == '/'):
		default:
			return &IdentityError{Field: "action", Problem: "byte " + strconv.Itoa(i) + " of " + quoteShort(action) + " is not allowed", Mend: rule}
		}
	}
	return nil
}
