package grpcguard

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/onceguard/onceguard"
)

// errNoKey is a missing key where one is required.
var errNoKey = errors.New("there is no key")

// WithKey returns a context whose guarded calls have this key: Client guards the
// methods that its rules name, each under its own action. Use one context per
// effect: another message to the same method under the same key is a mismatch.
func WithKey(ctx context.Context, key onceguard.Key) context.Context {
	return context.WithValue(ctx, contextKey{}, key)
}

type contextKey struct{}

func keyOf(ctx context.Context) (onceguard.Key, bool) {
	key, ok := ctx.Value(contextKey{}).(onceguard.Key)
	return key, ok
}

// usable tells a key that is missing from one that is malformed.
func usable(key onceguard.Key) (onceguard.Key, error) {
	err := key.Err()
	var id *onceguard.IdentityError
	if errors.As(err, &id) && id.Problem == "missing" {
		return key, errNoKey
	}
	return key, err
}

// key reads a call's key.
func (m Method) key(ctx context.Context, msg proto.Message) (onceguard.Key, error) {
	if m.Key != nil {
		key, err := m.Key(ctx, msg)
		if err != nil {
			return key, err
		}
		return usable(key)
	}
	switch values := metadata.ValueFromIncomingContext(ctx, MetadataKey); len(values) {
	case 0:
		return onceguard.Key{}, errNoKey
	case 1:
		key := onceguard.RawKey(values[0])
		return key, key.Err()
	default:
		return onceguard.Key{}, fmt.Errorf("%s has %d values; give one", MetadataKey, len(values))
	}
}
