package onceguard

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func mustRequestID(t testing.TB, scope, action string, k Key) RequestID {
	t.Helper()
	id, err := NewRequestID(scope, action, k)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestRequestIDIsTheDocumentedHash spells the hash out once more, by hand.
func TestRequestIDIsTheDocumentedHash(t *testing.T) {
	h := sha256.New()
	for _, f := range []string{"onceguard/1", "acme", "refund.create", "order=A-1/try=2"} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(f)))
		h.Write([]byte(f))
	}
	if got, want := mustRequestID(t, "acme", "refund.create", KeyOf("order", "A-1", "try", 2)), RequestID(h.Sum(nil)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRequestIDFieldsDoNotRunTogether(t *testing.T) {
	seen := map[RequestID][3]string{}
	for _, f := range [][3]string{
		{"a", "b", "c"}, {"ab", "b", "c"}, {"a", "bc", "c"}, {"a", "b", "cc"}, {"a", "bb", "c"}, {"aa", "b", "c"}, {"b", "a", "c"}, {"A", "b", "c"}, {"a", "B", "c"}, {"a", "b", "C"},
	} {
		id := mustRequestID(t, f[0], f[1], RawKey(f[2]))
		if other, ok := seen[id]; ok {
			t.Errorf("%v and %v share %s", f, other, id)
		}
		seen[id] = f
	}
}

func TestRequestIDText(t *testing.T) {
	id := mustRequestID(t, "default", "a", RawKey("k"))
	t.Run("round trip", func(t *testing.T) {
		got, err := ParseRequestID(id.String())
		if err != nil || got != id {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("JSON, as value and as name", func(t *testing.T) {
		text, err := json.Marshal(map[RequestID]RequestID{id: id})
		if err != nil {
			t.Fatal(err)
		}
		var back map[RequestID]RequestID
		if err := json.Unmarshal(text, &back); err != nil || back[id] != id {
			t.Errorf("%s came back as %v, %v", text, back, err)
		}
	})
	t.Run("a failed read leaves the ID alone", func(t *testing.T) {
		got := id
		if err := got.UnmarshalText([]byte("req_x")); err == nil || got != id {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("zero", func(t *testing.T) {
		if !(RequestID{}).IsZero() || id.IsZero() {
			t.Error("IsZero")
		}
	})
	s := id.String()
	last := s[len(s)-1]
	for name, bad := range map[string]string{
		"empty":          "",
		"no prefix":      s[4:],
		"other prefix":   "run_" + s[4:],
		"capitals":       strings.ToUpper(s),
		"capital prefix": "REQ_" + s[4:],
		"short":          s[:len(s)-1],
		"long":           s + "a",
		"padding":        s + "====",
		"blank before":   " " + s,
		"newline behind": s + "\n",
		"newline inside": s[:10] + "\n" + s[11:],
		"digit one":      s[:10] + "1" + s[11:],
		"stray bits":     s[:len(s)-1] + string(rune(last+1)), // last is a or q
		"hostile":        "req_\x1b[2J" + strings.Repeat("x", 1<<20),
	} {
		t.Run("refused/"+name, func(t *testing.T) {
			got, err := ParseRequestID(bad)
			var ie *IdentityError
			if !errors.As(err, &ie) || !got.IsZero() {
				t.Fatalf("got %v, %v", got, err)
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 600 {
				t.Errorf("message %q", err)
			}
		})
	}
}

func TestSlot(t *testing.T) {
	parent := mustRequestID(t, "default", "batch.send", KeyOf("batch", 17))
	other := mustRequestID(t, "default", "batch.send", KeyOf("batch", 18))
	keys := map[string]bool{}
	for _, k := range []Key{parent.Slot("a"), parent.Slot("b"), other.Slot("a"), parent.Slot("a/slot=b")} {
		if err := k.Err(); err != nil {
			t.Fatal(err)
		}
		keys[k.Encoded()] = true
	}
	if len(keys) != 4 {
		t.Errorf("slots share keys: %v", keys)
	}
	if retried := mustRequestID(t, "default", "batch.send", KeyOf("batch", 17)); !keys[retried.Slot("a").Encoded()] {
		t.Error("a slot is not the same twice")
	}
	if err := (RequestID{}).Slot("a").Err(); err == nil {
		t.Error("a slot of no parent")
	}
	if err := parent.Slot("").Err(); err == nil {
		t.Error("a slot without a name")
	}
}

func TestNewRequestIDDoesNotAllocate(t *testing.T) {
	k := KeyOf("order", "A-1", "try", 2)
	if n := testing.AllocsPerRun(100, func() { _, _ = NewRequestID("default", "refund.create", k) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequestID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		id, err := NewRequestID("default", "refund.create", KeyOf("order", "A-2026-000017", "try", 2))
		if err != nil || id.IsZero() {
			b.Fatal(err)
		}
	}
}
