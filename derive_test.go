package onceguard_test

import (
	"bytes"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
)

func TestDerivedKey(t *testing.T) {
	ctx := t.Context()
	store := memstore.New(memstore.Options{})
	guard := func(s onceguard.Store, kek []byte) *onceguard.Guard {
		t.Helper()
		g, err := onceguard.New(ctx, s, onceguard.Options{KeyEncryptionKey: kek})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	key := func(g *onceguard.Guard, label string) [32]byte {
		t.Helper()
		k, err := g.DerivedKey(ctx, label)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key(guard(store, nil), "a")
	if key(guard(store, nil).Scoped("other"), "a") != first {
		t.Error("another guard of the store has another key")
	}
	if key(guard(store, nil), "b") == first {
		t.Error("two labels have one key")
	}
	if _, err := onceguard.RotateFingerprintKey(ctx, store, nil); err != nil {
		t.Fatal(err)
	}
	if key(guard(store, nil), "a") != first {
		t.Error("the key rotated with the fingerprint key")
	}
	if key(guard(memstore.New(memstore.Options{}), nil), "a") == first {
		t.Error("two stores have one key")
	}
	secrets, err := store.Secrets(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if bytes.Equal(s.Value, first[:]) {
			t.Errorf("the key is the store's secret %s itself", s.Name)
		}
	}
	if kek := bytes.Repeat([]byte{7}, 32); key(guard(memstore.New(memstore.Options{}), kek), "a") == first {
		t.Error("a wrapped store has the key of another")
	}
}
