package webhookguard

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"time"
)

// Why a delivery is not accepted.
var (
	ErrSignature = errors.New("webhookguard: no signature fits")
	ErrTimestamp = errors.New("webhookguard: the attempt's timestamp is outside of the tolerance")
	ErrMalformed = errors.New("webhookguard: the delivery is malformed")
)

// DefaultTolerance is how far the timestamp of an attempt may be from now.
const DefaultTolerance = 5 * time.Minute

// secrets are the keys of which any may have signed, for rotation. A function
// holds them, so that no print of a source shows them.
type secrets func() [][]byte

func textSecrets(texts []string) (secrets, error) {
	keys := make([][]byte, 0, len(texts))
	for _, t := range texts {
		if t == "" {
			return nil, errors.New("webhookguard: an empty signing secret would accept deliveries of everybody")
		}
		keys = append(keys, []byte(t))
	}
	return keep(keys)
}

func keep(keys [][]byte) (secrets, error) {
	if len(keys) == 0 {
		return nil, errors.New("webhookguard: no signing secret")
	}
	return func() [][]byte { return keys }, nil
}

// signedBy reports whether one of the signatures is the MAC of parts under one of
// the secrets. All pairs are compared, each in constant time, so that the time
// taken tells nothing about which one fits.
func (s secrets) signedBy(newHash func() hash.Hash, signatures [][]byte, parts ...[]byte) bool {
	ok := false
	for _, key := range s() {
		mac := hmac.New(newHash, key)
		for _, p := range parts {
			mac.Write(p)
		}
		sum := mac.Sum(nil)
		for _, sig := range signatures {
			if hmac.Equal(sum, sig) {
				ok = true
			}
		}
	}
	return ok
}

func (s secrets) sha256(signatures [][]byte, parts ...[]byte) bool {
	return s.signedBy(sha256.New, signatures, parts...)
}

// clock judges the timestamp of an attempt, in Unix seconds.
type clock struct{ tolerance time.Duration }

func (c clock) check(text string, now time.Time) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return fmt.Errorf("%w: the timestamp is not a Unix time in seconds", ErrMalformed)
	}
	if off := now.Sub(time.Unix(n, 0)); off > c.tolerance || off < -c.tolerance {
		return ErrTimestamp
	}
	return nil
}

// maxSignatures bounds the work that one unsigned request can cause.
const maxSignatures = 16

// one returns a header that must be there once.
func one(h http.Header, name string) (string, error) {
	v := h.Values(name)
	if len(v) != 1 || v[0] == "" {
		return "", fmt.Errorf("%w: the header %s must be there once", ErrMalformed, name)
	}
	return v[0], nil
}

// plausible bounds event times that WithIssuedAt would refuse or that say
// nothing; such an event has no time.
func plausible(t time.Time) time.Time {
	if t.Year() < 2000 || t.Year() >= 2100 {
		return time.Time{}
	}
	return t
}

// broken is a Source that was built wrongly; New tells the error.
type broken struct {
	provider string
	err      error
}

func (b broken) Provider() string { return b.provider }

func (b broken) Verify(http.Header, []byte, time.Time) (Event, error) { return Event{}, b.err }
