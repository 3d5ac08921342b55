package onceguard

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// Names of the secrets in a store. Fingerprint keys are numbered and the
// greatest number is current; the downstream secret never rotates, because
// another secret would be another downstream key, and under safe-retry a second
// effect.
const (
	secretDownstream  = "downstream"
	secretFingerprint = "fingerprint/"
	secretData        = "data/0001"
)

// keyring is what a guard knows of its store's secrets.
type keyring struct {
	fingerprints []fingerprintKey // newest first
	downstream   []byte
	data         *sealer // nil: bodies are stored as they are
}

// openKeyring reads the secrets, and makes the missing ones: insert-if-absent,
// then read back, so that processes that start together agree.
func openKeyring(ctx context.Context, store Store, kek []byte) (*keyring, error) {
	stored, err := store.Secrets(ctx, nil)
	if err != nil {
		return nil, err
	}
	var offer []Secret
	have := map[string]bool{}
	fingerprint := false
	for _, s := range stored {
		have[s.Name] = true
		fingerprint = fingerprint || strings.HasPrefix(s.Name, secretFingerprint)
	}
	want := []string{secretDownstream}
	if !fingerprint {
		want = append(want, secretFingerprint+"0001")
	}
	if len(kek) > 0 {
		want = append(want, secretData)
	}
	for _, name := range want {
		if have[name] {
			continue
		}
		s, err := newSecret(name, kek)
		if err != nil {
			return nil, err
		}
		offer = append(offer, s)
	}
	if len(offer) > 0 {
		if stored, err = store.Secrets(ctx, offer); err != nil {
			return nil, err
		}
	}
	return parseKeyring(stored, kek)
}

func parseKeyring(stored []Secret, kek []byte) (*keyring, error) {
	k := &keyring{}
	for _, s := range stored {
		value := s.Value
		if s.Wrapped {
			if len(kek) == 0 {
				return nil, &Error{Code: ErrKeyMissing, Reason: fmt.Sprintf("the store's secret %q is wrapped; give the key encryption key", s.Name)}
			}
			wrap, err := newSealer("kek", kek)
			if err != nil {
				return nil, err
			}
			if value, err = wrap.open(s.Value, []byte(s.Name)); err != nil {
				return nil, &Error{Code: ErrKeyMissing, Reason: fmt.Sprintf("the store's secret %q does not open with the key encryption key given", s.Name), Err: err}
			}
		}
		switch {
		case s.Name == secretDownstream:
			k.downstream = value
		case s.Name == secretData && len(kek) > 0:
			var err error
			if k.data, err = newSealer(s.Name, value); err != nil {
				return nil, err
			}
		case strings.HasPrefix(s.Name, secretFingerprint):
			fk, err := newFingerprintKey(strings.TrimPrefix(s.Name, secretFingerprint), value)
			if err != nil {
				return nil, err
			}
			k.fingerprints = append([]fingerprintKey{fk}, k.fingerprints...) // stored in order of name
		}
	}
	if k.downstream == nil || len(k.fingerprints) == 0 {
		return nil, fmt.Errorf("the store did not give back its secrets")
	}
	return k, nil
}

func newSecret(name string, kek []byte) (Secret, error) {
	value := make([]byte, 32)
	if _, err := rand.Read(value); err != nil {
		return Secret{}, err
	}
	if len(kek) == 0 {
		return Secret{Name: name, Value: value}, nil
	}
	wrap, err := newSealer("kek", kek)
	if err != nil {
		return Secret{}, err
	}
	return Secret{Name: name, Value: wrap.seal(value, []byte(name)), Wrapped: true}, nil
}

// RotateFingerprintKey adds a new current fingerprint key to the store and
// returns its id. Running guards take it up at their next start, or when they
// meet a record that names it; records keep the key that they name.
func RotateFingerprintKey(ctx context.Context, store Store, kek []byte) (string, error) {
	ring, err := openKeyring(ctx, store, kek)
	if err != nil {
		return "", err
	}
	var n int
	if _, err := fmt.Sscanf(ring.fingerprints[0].id, "%d", &n); err != nil {
		return "", fmt.Errorf("fingerprint key id %q is not a number", ring.fingerprints[0].id)
	}
	id := fmt.Sprintf("%04d", n+1)
	s, err := newSecret(secretFingerprint+id, kek)
	if err != nil {
		return "", err
	}
	_, err = store.Secrets(ctx, []Secret{s})
	return id, err
}

// sums computes the fingerprint under every key, the current one first, so
// that a record of any known key can be compared without another round trip.
func (k *keyring) sums(kind fingerprintKind, canonical []byte) []Fingerprint {
	out := make([]Fingerprint, len(k.fingerprints))
	for i, fk := range k.fingerprints {
		out[i] = fk.sum(kind, canonical)
	}
	return out
}

var downstreamText = base32.StdEncoding.WithPadding(base32.NoPadding)

// downstreamKey is HMAC-SHA-256(downstream secret, tag, request ID, generation)
// in lower-case base32: the same for every attempt of a generation.
func (k *keyring) downstreamKey(id RequestID, generation int) string {
	m := hmac.New(sha256.New, k.downstream)
	m.Write([]byte("onceguard/downstream/1"))
	m.Write(id[:])
	var g [8]byte
	binary.BigEndian.PutUint64(g[:], uint64(generation))
	m.Write(g[:])
	return strings.ToLower(downstreamText.EncodeToString(m.Sum(nil)))
}
