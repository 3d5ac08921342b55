package onceguard

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCanonicalJSONErrorsNameThePlace(t *testing.T) {
	for name, c := range map[string]struct {
		doc     string
		offset  int
		pointer string
		code    string
	}{
		"top":                   {`x`, 0, "", "syntax"},
		"duplicate":             {`{"order":{"amount":1,"amount":2}}`, 21, "/order/amount", "duplicate-name"},
		"first of many":         {`{"b":1,"a":1,"b":2,"a":2}`, 13, "/b", "duplicate-name"},
		"third of a name":       {`{"a":1,"a":2,"a":3}`, 7, "/a", "duplicate-name"},
		"index":                 {`[0,{"a":[1,NaN]}]`, 11, "/1/a/1", "not-finite"},
		"pointer escapes":       {`{"a/b~c":{"":nope}}`, 13, "/a~1b~0c/", "syntax"},
		"empty name":            {`{"":x}`, 4, "/", "syntax"},
		"unescaped name":        {`{"\u0061":[x]}`, 11, "/a/0", "syntax"},
		"after a closed object": {`{"a":{"b":1},"c":x}`, 17, "/c", "syntax"},
		"in a name":             {`{"a":1,"\ud800":1}`, 8, "", "lone-surrogate"},
		"in a string":           {"[\"a\xff\"]", 3, "/0", "invalid-utf8"},
		"trailing":              {`{} {}`, 3, "", "trailing-data"},
		"end":                   {`[1,`, 3, "/1", "syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := CanonicalJSON([]byte(c.doc))
			var ce *CanonicalError
			if !errors.As(err, &ce) || out != nil {
				t.Fatalf("got %s, %v", out, err)
			}
			if ce.Offset != c.offset || ce.Pointer != c.pointer || ce.Code != c.code {
				t.Errorf("got %d %q %s (%v), want %d %q %s", ce.Offset, ce.Pointer, ce.Code, ce, c.offset, c.pointer, c.code)
			}
		})
	}
	t.Run("message", func(t *testing.T) {
		_, err := CanonicalJSON([]byte("{\"a\x1b\":1}"))
		if err == nil || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("error %v", err)
		}
		_, err = CanonicalJSON([]byte(`{"\u001b":{"secret-value":"4111111111111111","secret-value":1}}`))
		want := `onceguard: input has no canonical form: byte 45, at "/\x1b/secret-value": name given twice in one object; readers disagree on which counts, so send it once`
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	t.Run("long names are cut", func(t *testing.T) {
		_, err := CanonicalJSON([]byte(`{"` + strings.Repeat("é", 1<<16) + `":x}`))
		if err == nil || len(err.Error()) > 600 || !strings.Contains(err.Error(), "…") {
			t.Errorf("message of %d bytes", len(fmt.Sprint(err)))
		}
	})
}

func TestCanonicalJSONBounds(t *testing.T) {
	code := func(doc []byte) string {
		_, err := CanonicalJSON(doc)
		var ce *CanonicalError
		if err != nil && !errors.As(err, &ce) {
			t.Fatalf("error of another type: %v", err)
		}
		if ce == nil {
			return ""
		}
		return ce.Code
	}
	text := func(n int) []byte { return []byte(`"` + strings.Repeat("x", n-2) + `"`) }
	for name, c := range map[string]struct {
		doc  []byte
		want string
	}{
		"longest document":         {text(MaxCanonicalLen), ""},
		"document too long":        {text(MaxCanonicalLen + 1), "too-large"},
		"canonical form too long":  {[]byte("[" + strings.Repeat("1e20,", MaxCanonicalLen/10) + "1]"), "too-large"},
		"very deep":                {bytes.Repeat([]byte("["), MaxCanonicalLen), "too-deep"},
		"very deep objects":        {bytes.Repeat([]byte(`{"a":`), MaxCanonicalLen/8), "too-deep"},
		"number of 8 million":      {bytes.Repeat([]byte("7"), MaxCanonicalLen), "too-many-digits"},
		"8 million zeros behind":   {[]byte("1." + strings.Repeat("0", MaxCanonicalLen-2)), ""},
		"8 million zeros in front": {[]byte("0." + strings.Repeat("0", MaxCanonicalLen-3) + "1"), "exponent-out-of-range"},
		"exponent of 8 million":    {[]byte("1e" + strings.Repeat("9", MaxCanonicalLen-2)), "exponent-out-of-range"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := code(c.doc); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestCanonicalJSONLeavesTheDocumentAlone(t *testing.T) {
	doc := []byte(` { "b" : "\u0061" , "a" : 1.0 } `)
	before := bytes.Clone(doc)
	out, err := CanonicalJSON(doc)
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		out[i] = 'x'
	}
	if !bytes.Equal(doc, before) {
		t.Errorf("document is now %q", doc)
	}
}

func TestCanonicalJSONManyMembers(t *testing.T) {
	var in, want bytes.Buffer
	in.WriteByte('{')
	want.WriteByte('{')
	const n = 2000
	for i := range n {
		if i > 0 {
			in.WriteByte(',')
			want.WriteByte(',')
		}
		fmt.Fprintf(&in, `"%04d":{"b":[%d.0],"a":{}}`, (i*1237)%n, (i*1237)%n)
		fmt.Fprintf(&want, `"%04d":{"a":{},"b":[%d]}`, i, i)
	}
	in.WriteByte('}')
	want.WriteByte('}')
	out, err := CanonicalJSON(in.Bytes())
	if err != nil || !bytes.Equal(out, want.Bytes()) {
		t.Errorf("error %v; %d bytes differ from the %d wanted", err, len(out), want.Len())
	}
}

func BenchmarkCanonicalJSON(b *testing.B) {
	doc := []byte(`{"order":"A-2026-000017","amount":1999.50,"currency":"EUR","customer":{"name":"J\u00f6rg","id":90071992547409931},"lines":[{"sku":"x-1","n":2},{"sku":"x-2","n":1}]}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := CanonicalJSON(doc); err != nil {
			b.Fatal(err)
		}
	}
}
