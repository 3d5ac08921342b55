package onceguard

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// sealer is AES-256-GCM under one key. The nonce, in front of the sealed bytes,
// is the start of an HMAC over context and text (the idea of synthetic IVs, RFC
// 5297): the same text for the same request seals to the same bytes, so that an
// owner and a lookup who agree are seen to agree, and no nonce meets two texts.
// What that gives away: whether two bodies of one request are equal.
type sealer struct {
	id    string
	aead  cipher.AEAD
	nonce []byte // HMAC key
}

func newSealer(id string, key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", id, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", id, err)
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte("onceguard/nonce/1"))
	return &sealer{id: id, aead: aead, nonce: m.Sum(nil)}, nil
}

func (s *sealer) seal(plain, context []byte) []byte {
	m := hmac.New(sha256.New, s.nonce)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(context)))
	m.Write(n[:])
	m.Write(context)
	m.Write(plain)
	out := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(plain)+s.aead.Overhead())
	copy(out, m.Sum(nil))
	return s.aead.Seal(out, out, plain, context)
}

func (s *sealer) open(sealed, context []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("sealed bytes are too short")
	}
	return s.aead.Open(nil, sealed[:n], sealed[n:], context)
}
