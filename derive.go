package onceguard

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
)

// DerivedKey is a secret of this store for one use, named by label: HMAC-SHA-256
// of the downstream secret. It is the same in every process and never rotates,
// so an adapter can build identities from low-entropy inputs that nobody can
// guess from a leaked table, and sign what must come back unchanged. Another
// label is another, unrelated key. Keep it out of logs and out of the store.
func (g *Guard) DerivedKey(ctx context.Context, label string) ([32]byte, error) {
	ring, err := g.keys(ctx, false)
	if err != nil {
		return [32]byte{}, err
	}
	m := hmac.New(sha256.New, ring.downstream)
	m.Write([]byte("onceguard/derived/1"))
	m.Write([]byte(label))
	return [32]byte(m.Sum(nil)), nil
}
