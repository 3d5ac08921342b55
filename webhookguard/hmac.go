package webhookguard

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"time"
)

// HMACOptions describe a sender that signs with an HMAC in a header.
type HMACOptions struct {
	// Name names the sender; it is part of every identity. Required.
	Name string
	// Secrets: any may have signed. Required.
	Secrets []string
	// Header holds the signature, after Prefix. Required.
	Header, Prefix string
	// Hash is the digest; nil is SHA-256.
	Hash func() hash.Hash
	// Base64 is the signature's encoding; otherwise it is hexadecimal.
	Base64 bool

	// TimestampHeader holds the attempt's Unix time in seconds. Empty: the sender
	// gives none.
	TimestampHeader string
	// Tolerance is how far it may be from now; zero is DefaultTolerance.
	Tolerance time.Duration
	// Signed returns what is signed. Nil: "timestamp.body" with a timestamp, and
	// the body without one. A timestamp that is not signed protects nothing.
	Signed func(timestamp string, body []byte) []byte

	// Event reads the event's identity, type and time from a delivery whose
	// signature is good. What it takes from headers is not signed. Required.
	Event func(h http.Header, body []byte) (id, typ string, at time.Time, err error)
}

// HMAC verifies deliveries of a sender that is not named in this package.
func HMAC(o HMACOptions) Source {
	s, err := textSecrets(o.Secrets)
	switch {
	case err != nil:
	case o.Name == "":
		err = errors.New("webhookguard: HMACOptions without a Name: events of two senders could share an identity")
	case o.Header == "":
		err = errors.New("webhookguard: HMACOptions without a Header")
	case o.Event == nil:
		err = errors.New("webhookguard: HMACOptions without Event: an event without an identity cannot be told from another")
	}
	if err != nil {
		return broken{o.Name, err}
	}
	if o.Hash == nil {
		o.Hash = sha256.New
	}
	if o.Tolerance == 0 {
		o.Tolerance = DefaultTolerance
	}
	if o.Signed == nil {
		o.Signed = func(stamp string, body []byte) []byte {
			if o.TimestampHeader == "" {
				return body
			}
			return bytes.Join([][]byte{[]byte(stamp), body}, []byte("."))
		}
	}
	o.Secrets = nil // s has them
	return generic{clock{o.Tolerance}, o, s}
}

type generic struct {
	clock
	o       HMACOptions
	secrets secrets
}

// Provider implements Source.
func (g generic) Provider() string { return g.o.Name }

// Verify implements Source.
func (g generic) Verify(h http.Header, body []byte, now time.Time) (Event, error) {
	sig, err := one(h, g.o.Header)
	if err != nil {
		return Event{}, err
	}
	stamp := ""
	if g.o.TimestampHeader != "" {
		if stamp, err = one(h, g.o.TimestampHeader); err != nil {
			return Event{}, err
		}
	}
	text, ok := strings.CutPrefix(sig, g.o.Prefix)
	decode := hex.DecodeString
	if g.o.Base64 {
		decode = base64.StdEncoding.Strict().DecodeString
	}
	raw, err := decode(text)
	if !ok || err != nil || !g.secrets.signedBy(g.o.Hash, [][]byte{raw}, g.o.Signed(stamp, body)) {
		return Event{}, ErrSignature
	}
	if stamp != "" {
		if err := g.check(stamp, now); err != nil {
			return Event{}, err
		}
	}
	id, typ, at, err := g.o.Event(h, body)
	if err != nil || id == "" {
		return Event{}, fmt.Errorf("%w: the delivery has no event id", ErrMalformed)
	}
	return Event{ID: id, Type: typ, Time: plausible(at)}, nil
}
