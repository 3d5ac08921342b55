package onceguard

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"sync"
)

// fingerprintVersion names the algorithm, canonical form included.
const fingerprintVersion = 1

// fingerprintTag separates fingerprints from every other HMAC that a program
// may compute under a secret of the store.
const fingerprintTag = "onceguard/fingerprint/1"

// fingerprintKind says what the fingerprinted bytes are, so that bytes that
// happen to look alike (a raw body, its canonical form, a Go value without its
// zero fields) never count as one input.
type fingerprintKind string

const (
	fingerprintJSON  fingerprintKind = "json"  // CanonicalJSON of a document
	fingerprintValue fingerprintKind = "value" // canonicalValue of a Go input
	fingerprintRaw   fingerprintKind = "raw"   // bytes as they came
)

// Fingerprint is the versioned digest of an input. It is keyed, so that inputs
// with little to guess (an amount, a card number) cannot be found by trying.
// The same request ID with another fingerprint is a mismatch.
type Fingerprint struct {
	// Version is the algorithm, 1 at present.
	Version uint8
	// KeyID names the store's fingerprint key, which may rotate. A
	// fingerprint under an unknown key can be neither equal nor a mismatch.
	KeyID string
	// Sum is the HMAC-SHA-256.
	Sum [32]byte
}

// Equal reports whether f and g are one digest by one algorithm under one key.
// Sums are compared in constant time. False alone is not a mismatch: first see
// that Version and KeyID agree.
func (f Fingerprint) Equal(g Fingerprint) bool {
	same := subtle.ConstantTimeCompare(f.Sum[:], g.Sum[:])
	return same == 1 && f.Version == g.Version && f.KeyID == g.KeyID
}

// IsZero reports whether the fingerprint was never set.
func (f Fingerprint) IsZero() bool { return f == Fingerprint{} }

// String returns fp1:<key id>:<64 hexadecimal digits>.
func (f Fingerprint) String() string {
	return "fp" + strconv.Itoa(int(f.Version)) + ":" + f.KeyID + ":" + hex.EncodeToString(f.Sum[:])
}

// MarshalText implements [encoding.TextMarshaler] with [Fingerprint.String].
// It refuses what [ParseFingerprint] would refuse, such as one never set.
func (f Fingerprint) MarshalText() ([]byte, error) {
	s := f.String()
	if _, err := ParseFingerprint(s); err != nil {
		return nil, err
	}
	return []byte(s), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseFingerprint].
func (f *Fingerprint) UnmarshalText(text []byte) error {
	parsed, err := ParseFingerprint(string(text))
	if err != nil {
		return err
	}
	*f = parsed
	return nil
}

// ParseFingerprint reads the text form. Versions 1 to 255 are read, also those
// this release cannot compute, so that a row written by a newer one is named
// for what it is. Errors are [*IdentityError].
func ParseFingerprint(s string) (Fingerprint, error) {
	refuse := func(problem string) (Fingerprint, error) {
		return Fingerprint{}, &IdentityError{Field: "fingerprint", Problem: problem, Mend: "pass fp<version>:<key id>:<64 lower-case hexadecimal digits>, as it was written"}
	}
	head, rest, ok1 := strings.Cut(s, ":")
	keyID, sum, ok2 := strings.Cut(rest, ":")
	digits, ok3 := strings.CutPrefix(head, "fp")
	if !ok1 || !ok2 || !ok3 {
		return refuse(quoteShort(s) + " has another shape")
	}
	version, err := strconv.ParseUint(digits, 10, 8)
	if err != nil || version == 0 || strconv.FormatUint(version, 10) != digits {
		return refuse("version " + quoteShort(digits) + " is not a number from 1 to 255")
	}
	if problem := keyIDProblem(keyID); problem != "" {
		return refuse(problem)
	}
	f := Fingerprint{Version: uint8(version), KeyID: keyID}
	if len(sum) != 2*len(f.Sum) || strings.ToLower(sum) != sum {
		return refuse("digest of " + strconv.Itoa(len(sum)) + " characters, or with capitals")
	}
	if _, err := hex.Decode(f.Sum[:], []byte(sum)); err != nil {
		return refuse("digest is not hexadecimal")
	}
	return f, nil
}

// fingerprintKey is one fingerprint key of a store. The secret is inside a
// function, because printing a struct that holds keys in unexported fields
// passes by Format: it then shows an address. A key never made has no secret,
// and sum panics rather than fingerprint under an empty one.
type fingerprintKey struct {
	id  string
	mac func() *fingerprintMAC // from a pool; give it back
	put func(*fingerprintMAC)
}

// fingerprintMAC is a hasher under one key. Used again, it starts from the
// states after the two halves of the key, which it remembers.
type fingerprintMAC struct {
	hash.Hash
	head [64]byte
	sum  [sha256.Size]byte
}

// newFingerprintKey checks the id (1 to 64 of A-Z a-z 0-9 _ -) and that the
// secret has at least 32 bytes. The secret is copied.
func newFingerprintKey(id string, secret []byte) (fingerprintKey, error) {
	if problem := keyIDProblem(id); problem != "" {
		return fingerprintKey{}, &IdentityError{Field: "fingerprint", Problem: problem, Mend: "use 1 to 64 letters, digits, '_' or '-'"}
	}
	if len(secret) < sha256.Size {
		return fingerprintKey{}, &IdentityError{Field: "fingerprint", Problem: "key " + strconv.Quote(id) + " has " + strconv.Itoa(len(secret)) + " bytes", Mend: "use at least 32 random bytes"}
	}
	own := bytes.Clone(secret)
	pool := &sync.Pool{New: func() any { return &fingerprintMAC{Hash: hmac.New(sha256.New, own)} }}
	return fingerprintKey{
		id:  id,
		mac: func() *fingerprintMAC { return pool.Get().(*fingerprintMAC) },
		put: func(m *fingerprintMAC) { pool.Put(m) },
	}, nil
}

// sum is HMAC-SHA-256 over the tag and the kind, each after its length as 8
// bytes big-endian, and then the data, which comes last and needs no length.
func (k fingerprintKey) sum(kind fingerprintKind, data []byte) Fingerprint {
	mac := k.mac()
	defer k.put(mac)
	mac.Reset()
	head := appendField(mac.head[:0], fingerprintTag)
	mac.Write(appendField(head, string(kind)))
	mac.Write(data)
	mac.Sum(mac.sum[:0])
	return Fingerprint{Version: fingerprintVersion, KeyID: k.id, Sum: mac.sum}
}

// Format keeps the secret out of logs and errors, whatever the verb.
func (k fingerprintKey) Format(s fmt.State, _ rune) {
	_, _ = s.Write([]byte("fingerprint key " + strconv.Quote(k.id)))
}

func keyIDProblem(id string) string {
	if id == "" || len(id) > 64 {
		return "key id of " + strconv.Itoa(len(id)) + " bytes, 1 to 64 are allowed"
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return "byte " + strconv.Itoa(i) + " of the key id " + quoteShort(id) + " is not allowed"
		}
	}
	return ""
}
