package onceguard

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func testFingerprintKey(t *testing.T, id string, fill byte) fingerprintKey {
	t.Helper()
	k, err := newFingerprintKey(id, bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFingerprintIsTheDocumentedMAC(t *testing.T) {
	k := testFingerprintKey(t, "0001", 7)
	mac := hmac.New(sha256.New, bytes.Repeat([]byte{7}, 32))
	for _, f := range []string{"onceguard/fingerprint/1", "json"} {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(f)))
		mac.Write([]byte(f))
	}
	mac.Write([]byte(`{"a":1}`))
	got := k.sum(fingerprintJSON, []byte(`{"a":1}`))
	if want := [32]byte(mac.Sum(nil)); got.Sum != want || got.Version != 1 || got.KeyID != "0001" {
		t.Errorf("got %v, want %x", got, want)
	}
}

func TestFingerprintEqual(t *testing.T) {
	k := testFingerprintKey(t, "0001", 7)
	f := k.sum(fingerprintJSON, []byte("1"))
	version, keyID, sum := f, f, f
	version.Version = 2
	keyID.KeyID = "0002"
	sum.Sum[31] ^= 1
	for name, c := range map[string]struct {
		g    Fingerprint
		want bool
	}{
		"same":          {k.sum(fingerprintJSON, []byte("1")), true},
		"other version": {version, false},
		"other key id":  {keyID, false},
		"last bit":      {sum, false},
		"other data":    {k.sum(fingerprintJSON, []byte("2")), false},
		"kind value":    {k.sum(fingerprintValue, []byte("1")), false},
		"kind raw":      {k.sum(fingerprintRaw, []byte("1")), false},
		"other secret":  {testFingerprintKey(t, "0001", 8).sum(fingerprintJSON, []byte("1")), false},
	} {
		t.Run(name, func(t *testing.T) {
			if f.Equal(c.g) != c.want || c.g.Equal(f) != c.want {
				t.Errorf("Equal is not %v", c.want)
			}
		})
	}
}

func TestFingerprintText(t *testing.T) {
	f := testFingerprintKey(t, "key_A-1", 7).sum(fingerprintRaw, nil)
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var back Fingerprint
	if err := json.Unmarshal(text, &back); err != nil || !back.Equal(f) {
		t.Errorf("%s came back as %v, %v", text, back, err)
	}
	if newer, err := ParseFingerprint("fp255" + f.String()[3:]); err != nil || newer.Version != 255 {
		t.Errorf("a newer version: %v, %v", newer, err)
	}
	if _, err := (Fingerprint{}).MarshalText(); err == nil || !(Fingerprint{}).IsZero() {
		t.Error("a fingerprint never set was written")
	}
	s := f.String()
	for name, bad := range map[string]string{
		"empty":         "",
		"no version":    "fp" + s[3:],
		"version zero":  "fp0" + s[3:],
		"version 256":   "fp256" + s[3:],
		"version 01":    "fp01" + s[3:],
		"version +1":    "fp+1" + s[3:],
		"other prefix":  "xx1" + s[3:],
		"no key id":     "fp1::" + s[len(s)-64:],
		"key id blank":  "fp1:a b:" + s[len(s)-64:],
		"one colon":     "fp1:" + s[len(s)-64:],
		"three colons":  s + ":",
		"short digest":  s[:len(s)-2],
		"capitals":      s[:len(s)-64] + strings.Repeat("A", 64),
		"no hex":        s[:len(s)-1] + "g",
		"newline":       s + "\n",
		"key id of 65":  "fp1:" + strings.Repeat("k", 65) + ":" + s[len(s)-64:],
		"hostile bytes": "fp1:\x1b[2J:" + s[len(s)-64:],
	} {
		t.Run("refused/"+name, func(t *testing.T) {
			var ie *IdentityError
			if got, err := ParseFingerprint(bad); !errors.As(err, &ie) || !got.IsZero() {
				t.Errorf("got %v, %v", got, err)
			}
			before := f
			if err := before.UnmarshalText([]byte(bad)); err == nil || !before.Equal(f) {
				t.Errorf("UnmarshalText: %v, %v", before, err)
			}
		})
	}
}

func TestFingerprintKeyRefusesAndHides(t *testing.T) {
	for name, c := range map[string]struct {
		id     string
		secret int
	}{"no id": {"", 32}, "colon": {"a:b", 32}, "short secret": {"a", 31}} {
		t.Run(name, func(t *testing.T) {
			if _, err := newFingerprintKey(c.id, make([]byte, c.secret)); err == nil {
				t.Error("accepted")
			}
		})
	}
	t.Run("the secret is a copy", func(t *testing.T) {
		secret := bytes.Repeat([]byte{7}, 32)
		k, err := newFingerprintKey("a", secret)
		if err != nil {
			t.Fatal(err)
		}
		before := k.sum(fingerprintRaw, nil)
		clear(secret)
		if !k.sum(fingerprintRaw, nil).Equal(before) {
			t.Error("the caller's slice changes the key")
		}
	})
	t.Run("the secret is not printed", func(t *testing.T) {
		k, err := newFingerprintKey("a", bytes.Repeat([]byte("S"), 32))
		if err != nil {
			t.Fatal(err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			holder := struct{ keys []fingerprintKey }{[]fingerprintKey{k}}
			if out := fmt.Sprintf(verb+" "+verb+" "+verb, k, &k, holder); strings.Contains(out, "SSS") || strings.Contains(out, "5353") || strings.Contains(out, "83 83") {
				t.Errorf("%s prints %s", verb, out)
			}
		}
	})
}
