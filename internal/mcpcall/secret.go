package mcpcall

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// secret makes keyed digests. Content, host call ids and principals are hashed
// under a key of the store: arguments with little to guess (an amount, a name)
// and credentials must not be found by trying in a leaked table.
type secret [32]byte

// sum is HMAC-SHA-256 over the parts, each after its length, so that moving
// bytes between neighbours always changes the digest.
func (s secret) sum(parts ...string) [32]byte {
	m := hmac.New(sha256.New, s[:])
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		m.Write(n[:])
		m.Write([]byte(p))
	}
	return [32]byte(m.Sum(nil))
}

// hex is sum as text.
func (s secret) hex(parts ...string) string {
	d := s.sum(parts...)
	return hex.EncodeToString(d[:])
}

// short is 160 bits of sum in lower-case base 32, for what a model must copy.
func (s secret) short(parts ...string) string {
	d := s.sum(parts...)
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(d[:20]))
}

// String keeps the key out of logs.
func (s secret) String() string { return "[secret]" }

// GoString keeps the key out of %#v.
func (s secret) GoString() string { return "[secret]" }
