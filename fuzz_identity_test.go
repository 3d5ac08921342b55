package onceguard

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzCanonicalJSON(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "vectors", "canonical.json"))
	if err != nil {
		f.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(text, &file); err != nil {
		f.Fatal(err)
	}
	for _, v := range file.Cases {
		if v.Input != nil {
			f.Add([]byte(*v.Input))
		}
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		out, err := CanonicalJSON(doc)
		if err != nil {
			ce := err.(*CanonicalError)
			if out != nil || ce.Offset < 0 || ce.Offset > len(doc) {
				t.Fatalf("output %q, offset %d of %d", out, ce.Offset, len(doc))
			}
			if (ce.Code == codeSyntax || ce.Code == codeTrailing || ce.Code == codeNotFinite) && json.Valid(doc) {
				t.Fatalf("encoding/json reads what is refused with %v", err)
			}
			return
		}
		again, err := CanonicalJSON(out)
		if err != nil || !bytes.Equal(again, out) {
			t.Fatalf("not idempotent: %q, then %q, %v", out, again, err)
		}
		want, got := decodeExact(t, doc), decodeExact(t, out)
		if !sameJSON(want, got) {
			t.Fatalf("%q means something else than %q:\n%s", out, doc, cmp.Diff(want, got))
		}
		viaGo, err := canonicalValue(json.RawMessage(doc))
		if err != nil || !bytes.Equal(viaGo, out) {
			t.Fatalf("as a Go value: %q, %v", viaGo, err)
		}
	})
}

func decodeExact(t *testing.T, doc []byte) any {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", doc, err)
	}
	return v
}

// sameJSON compares numbers by value, through big.Rat, which shares nothing
// with the code under test.
func sameJSON(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, v := range a {
			w, ok := b[name]
			if !ok || !sameJSON(v, w) {
				return false
			}
		}
		return true
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !sameJSON(a[i], b[i]) {
				return false
			}
		}
		return true
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		if b == "0" && !strings.ContainsAny(mantissa(string(a)), "123456789") {
			return true // big.Rat cannot hold the exponent of 0e999999999999
		}
		x, okX := new(big.Rat).SetString(string(a))
		y, okY := new(big.Rat).SetString(string(b))
		return okX && okY && x.Cmp(y) == 0
	default:
		return a == b
	}
}

func mantissa(number string) string {
	if i := strings.IndexAny(number, "eE"); i >= 0 {
		return number[:i]
	}
	return number
}

// FuzzKey builds keys of up to two parts, out of order and hostile, and holds
// their form to be readable and never shared by different parts.
func FuzzKey(f *testing.F) {
	f.Add("order", "A-1", "try", "2", "a", "1", "b", "2")
	f.Add("a", "1/b=2", "", "", "a", "1", "b", "2")
	f.Add("a", "%2F", "", "", "a", "/", "", "")
	f.Add("b", "1", "a", "2", "a", "2", "b", "1")
	f.Add("q", "\x00", "", "", "q", "\u202e../\xff", "", "")
	f.Add("q", "e\u0301", "", "", "q", "\u00e9", "", "")
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, m1, w1, m2, w2 string) {
		k, parts := fuzzKey(t, n1, v1, n2, v2)
		l, others := fuzzKey(t, m1, w1, m2, w2)
		if k.Err() == nil && l.Err() == nil {
			if same := cmp.Equal(parts, others); same != (k.Encoded() == l.Encoded()) {
				t.Fatalf("%q and %q encode to %q and %q", parts, others, k.Encoded(), l.Encoded())
			}
			if (k.String() == l.String()) != (k.Encoded() == l.Encoded()) {
				t.Fatalf("%q and %q print as %q and %q", k.Encoded(), l.Encoded(), k, l)
			}
		}
		if raw := RawKey(v1); raw.Err() == nil {
			roundTrip(t, raw, []KeyPart{{"", v1}})
			if k.Err() == nil && raw.Encoded() == k.Encoded() {
				t.Fatalf("raw %q equals parts %q", v1, parts)
			}
		}
		// What ParseKey reads, it writes.
		if p, err := ParseKey(v1); err == nil && p.Encoded() != v1 {
			t.Fatalf("%q was read as %q", v1, p.Encoded())
		}
	})
}

func fuzzKey(t *testing.T, n1, v1, n2, v2 string) (Key, []KeyPart) {
	args, parts := []any{n1, v1}, []KeyPart{{n1, v1}}
	if n2 != "" {
		args, parts = append(args, n2, v2), append(parts, KeyPart{n2, v2})
		if n2 < n1 {
			parts[0], parts[1] = parts[1], parts[0]
		}
	}
	k := KeyOf(args...)
	for _, r := range k.String() {
		if r < 0x20 || r == 0x7f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			t.Fatalf("%q prints a control character", k)
		}
	}
	if k.Err() == nil {
		roundTrip(t, k, parts)
	}
	return k, parts
}

func roundTrip(t *testing.T, k Key, parts []KeyPart) {
	if len(k.Encoded()) > MaxKeyLen {
		t.Fatalf("%d bytes", len(k.Encoded()))
	}
	back, err := ParseKey(k.Encoded())
	if err != nil {
		t.Fatalf("%q: %v", k.Encoded(), err)
	}
	if diff := cmp.Diff(parts, back.Parts()); diff != "" || back.Encoded() != k.Encoded() {
		t.Fatalf("%q came back as %q\n%s", k.Encoded(), back.Encoded(), diff)
	}
}

func FuzzParseRequestID(f *testing.F) {
	f.Add(RequestID{}.String())
	f.Add(RequestID{31: 255}.String())
	f.Add("req_")
	f.Add("REQ_AAAA====\n")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseRequestID(s)
		if err == nil && id.String() != s {
			t.Fatalf("%q was read as %s", s, id)
		}
		if err != nil && !id.IsZero() {
			t.Fatalf("%q: an ID beside %v", s, err)
		}
	})
}
