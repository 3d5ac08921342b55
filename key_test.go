package onceguard

import (
	"encoding/json"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type (
	namedString string
	namedInt    int16
	namedUint   uint8
	namedBool   bool
	bareArray   [16]byte
	panicArray  [4]byte
	errorArray  [4]byte
)

// String must not count: it is for people.
func (namedInt) String() string { return "seven" }

func (panicArray) MarshalText() ([]byte, error) { panic("boom") }
func (errorArray) MarshalText() ([]byte, error) { return nil, errors.New("no text\n") }

func TestKeyOfKinds(t *testing.T) {
	for name, c := range map[string]struct {
		value any
		want  string
	}{
		"string":       {"A-1", "A-1"},
		"named string": {namedString("A-1"), "A-1"},
		"int":          {-7, "-7"},
		"int8":         {int8(-7), "-7"},
		"int64":        {int64(-1 << 63), "-9223372036854775808"},
		"named int":    {namedInt(7), "7"},
		"month":        {time.March, "3"},
		"uint64":       {uint64(1<<64 - 1), "18446744073709551615"},
		"named uint":   {namedUint(7), "7"},
		"bool":         {true, "true"},
		"named bool":   {namedBool(false), "false"},
		"json integer": {json.Number("12345678901234567890123"), "12345678901234567890123"},
		"json minus":   {json.Number("-5"), "-5"},
		"uuid":         {testUUID{0xab, 1}, "ab010000-0000-0000-0000-000000000000"},
		"request ID":   {RequestID{1}, RequestID{1}.String()},
	} {
		t.Run(name, func(t *testing.T) {
			k := KeyOf("id", c.value)
			if err := k.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]KeyPart{{"id", c.want}}, k.Parts()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeyOfRefuses(t *testing.T) {
	id := "A-1"
	for name, c := range map[string]struct {
		args []any
		part string
		want string // in the message
	}{
		"nothing":           {nil, "", "no parts"},
		"name alone":        {[]any{"order"}, "order", "no value"},
		"odd count":         {[]any{"order", "A", "try"}, "try", "no value"},
		"name not a string": {[]any{7, "A"}, "", "argument 1 is a int"},
		"name twice":        {[]any{"a", 1, "b", 2, "a", 3}, "a", "given twice"},
		"empty name":        {[]any{"", 1}, "", "empty name"},
		"empty string":      {[]any{"order", ""}, "order", "empty"},
		"named empty":       {[]any{"order", namedString("")}, "order", "empty"},
		"nil":               {[]any{"order", nil}, "order", "nil"},
		"time":              {[]any{"at", time.Unix(1, 0)}, "at", "time.Time"},
		"duration":          {[]any{"for", time.Second}, "for", "time.Duration"},
		"float64":           {[]any{"amount", 1.5}, "amount", "float64"},
		"float32":           {[]any{"amount", float32(1)}, "amount", "float32"},
		"complex":           {[]any{"amount", 1i}, "amount", "complex128"},
		"json fraction":     {[]any{"amount", json.Number("1.0")}, "amount", "json.Number"},
		"json minus zero":   {[]any{"amount", json.Number("-0")}, "amount", "json.Number"},
		"json zero first":   {[]any{"amount", json.Number("01")}, "amount", "json.Number"},
		"json minus alone":  {[]any{"amount", json.Number("-")}, "amount", "json.Number"},
		"pointer":           {[]any{"order", &id}, "order", "*string"},
		"nil pointer":       {[]any{"order", (*string)(nil)}, "order", "*string"},
		"big integer":       {[]any{"n", big.NewInt(1)}, "n", "String()"},
		"struct":            {[]any{"order", struct{ ID string }{"A"}}, "order", "struct"},
		"struct with text":  {[]any{"addr", netip.MustParseAddr("::1")}, "addr", "netip.Addr"},
		"error":             {[]any{"order", errors.New("x")}, "order", "*errors.errorString"},
		"slice":             {[]any{"order", []string{"A"}}, "order", "[]string"},
		"bytes":             {[]any{"order", []byte("A")}, "order", "[]uint8"},
		"map":               {[]any{"order", map[string]string{}}, "order", "map"},
		"func":              {[]any{"order", func() {}}, "order", "func()"},
		"chan":              {[]any{"order", make(chan int)}, "order", "chan int"},
		"uintptr":           {[]any{"order", uintptr(1)}, "order", "uintptr"},
		"array of bytes":    {[]any{"order", bareArray{1}}, "order", "without a text"},
		"array of ints":     {[]any{"order", [2]int{1, 2}}, "order", "without a text"},
		"zero uuid":         {[]any{"order", testUUID{}}, "order", "all-zero"},
		"panicking text":    {[]any{"order", panicArray{1}}, "order", "panicked"},
		"failing text":      {[]any{"order", errorArray{1}}, "order", `failed: "no text\n"`},
		"NUL":               {[]any{"order", "a\x00b"}, "order", "NUL at byte 1"},
		"invalid UTF-8":     {[]any{"order", "ab\xffc"}, "order", "invalid UTF-8 at byte 2"},
		"10 MB":             {[]any{"order", strings.Repeat("x", 10<<20)}, "", "10485766 bytes, at most 512"},
	} {
		t.Run(name, func(t *testing.T) {
			k := KeyOf(c.args...)
			var ie *IdentityError
			if !errors.As(k.Err(), &ie) {
				t.Fatalf("error %v is no *IdentityError; key %s", k.Err(), k)
			}
			if ie.Field != "key" || ie.Part != c.part || !strings.Contains(ie.Error(), c.want) || ie.Mend == "" {
				t.Errorf("error %q (part %q, mend %q), want part %q and %q", ie, ie.Part, ie.Mend, c.part, c.want)
			}
			if k.Encoded() != "" || k.Parts() != nil {
				t.Errorf("a refused key encodes to %q with parts %v", k.Encoded(), k.Parts())
			}
			if _, err := NewRequestID("default", "a", k); !errors.As(err, &ie) {
				t.Errorf("NewRequestID accepted it: %v", err)
			}
		})
	}
}

func TestZeroKeyIsMissing(t *testing.T) {
	var k Key
	if err := k.Err(); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
	if _, err := NewRequestID("default", "a", k); err == nil {
		t.Error("a request ID without a key")
	}
	if at, ok := k.IssuedAt(); ok {
		t.Errorf("issued at %v", at)
	}
	if err := k.WithIssuedAt(time.Unix(1.7e9, 0)).Err(); err == nil {
		t.Error("WithIssuedAt made a missing key usable")
	}
}

func TestKeyOrderOfPartsIsNotIdentity(t *testing.T) {
	a, b := KeyOf("order", "A-1", "try", 2), KeyOf("try", 2, "order", "A-1")
	if a.Encoded() != b.Encoded() {
		t.Errorf("%q and %q differ", a.Encoded(), b.Encoded())
	}
}

func TestKeyString(t *testing.T) {
	for name, c := range map[string]struct {
		key  Key
		want string
	}{
		"plain":          {KeyOf("order", "A-1", "try", 2), "order=A-1/try=2"},
		"inner blank":    {KeyOf("name", "a b"), "name=a b"},
		"outer blank":    {KeyOf("name", " a"), `name=" a"`},
		"slash":          {KeyOf("path", "a/b"), `path="a/b"`},
		"equals":         {KeyOf("q", "a=b"), `q="a=b"`},
		"quote":          {KeyOf("q", `a"b`), `q="a\"b"`},
		"newline":        {KeyOf("q", "a\nkey=b"), `q="a\nkey=b"`},
		"escape code":    {KeyOf("q", "\x1b[31m"), `q="\x1b[31m"`},
		"bidi override":  {KeyOf("q", "a\u202eb"), `q="a\u202eb"`},
		"bidi isolate":   {KeyOf("q", "\u2066x"), `q="\u2066x"`},
		"zero width":     {KeyOf("q", "a\u200bb"), `q="a\u200bb"`},
		"no-break space": {KeyOf("q", "a\u00a0b"), `q="a\u00a0b"`},
		"umlaut":         {KeyOf("q", "Jörg"), "q=Jörg"},
		"raw":            {RawKey("evt_1"), "evt_1"},
		"raw like named": {RawKey("order=A-1"), `"order=A-1"`},
		"invalid":        {KeyOf("order", "a\x00\x1b"), `invalid key (key part "order": NUL at byte 1 of "a\x00\x1b"; write binary identifiers as hexadecimal or base64 text)`},
		"hostile name":   {KeyOf("a\x1b[2J", 1), `invalid key (key part "a\x1b[2J": byte 1 of the name is not allowed; use a lower-case letter and then letters a-z, digits, '_', '.' or '-')`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.key.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestIdentityErrorIsShort(t *testing.T) {
	for name, k := range map[string]Key{
		"value": KeyOf("order", strings.Repeat("ä", 1<<20)+"\x00"),
		"name":  KeyOf(strings.Repeat("\u202e", 1<<20), 1),
		"raw":   RawKey("\xff" + strings.Repeat("x", 1<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			if msg := k.Err().Error(); len(msg) > 1000 {
				t.Errorf("message of %d bytes", len(msg))
			}
		})
	}
}

func TestParseKey(t *testing.T) {
	for name, k := range map[string]Key{
		"named":   KeyOf("order", "A-1", "path", "a/b%2F=c", "try", 2),
		"raw":     RawKey("a/b=%"),
		"control": KeyOf("q", "\n\x7f\u202e"),
		"longest": RawKey(strings.Repeat("x", MaxKeyLen-1)),
		"slot":    RequestID{1}.Slot("mail-3"),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseKey(k.Encoded())
			if err != nil {
				t.Fatal(err)
			}
			if got.Encoded() != k.Encoded() {
				t.Errorf("got %q, want %q", got.Encoded(), k.Encoded())
			}
			if diff := cmp.Diff(k.Parts(), got.Parts()); diff != "" {
				t.Error(diff)
			}
		})
	}
	for name, c := range map[string]struct{ encoded, want string }{
		"empty":               {"", "empty"},
		"raw empty":           {"=", "empty"},
		"raw NUL":             {"=a\x00", "NUL"},
		"no equals":           {"order", "no '='"},
		"empty piece":         {"a=1/", "no '='"},
		"empty value":         {"a=", "empty value"},
		"bad name":            {"A=1", "name is not allowed"},
		"empty name inside":   {"a=1/=2", "empty name"},
		"twice":               {"a=1/a=2", "given twice"},
		"unsorted":            {"b=1/a=2", `stands after "b"`},
		"lower-case escape":   {"a=%2f", "neither"},
		"needless escape":     {"a=%41", "neither"},
		"cut escape":          {"a=%2", "neither"},
		"percent alone":       {"a=%", "neither"},
		"invalid UTF-8":       {"a=\xff", "invalid UTF-8"},
		"invalid raw UTF-8":   {"=\xff", "invalid UTF-8"},
		"too long":            {"a=" + strings.Repeat("x", MaxKeyLen), "514 bytes"},
		"name of 65":          {strings.Repeat("n", 65) + "=1", "at most 64"},
		"blank around a name": {"a=1/ b=2", "name is not allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := ParseKey(c.encoded)
			var ie *IdentityError
			if !errors.As(err, &ie) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want %q", err, c.want)
			}
			if k.Err() == nil {
				t.Error("the key that came with the error is usable")
			}
		})
	}
}

func TestKeyIssuedAt(t *testing.T) {
	event := time.Date(2026, 3, 1, 12, 0, 0, 5, time.FixedZone("x", 3600))
	uuid7 := "01890a5d-ac96-774b-bcce-b302099a8057"
	t.Run("explicit time wins and is in UTC", func(t *testing.T) {
		k := KeyOf("order", uuid7).WithIssuedAt(event)
		at, ok := k.IssuedAt()
		if !ok || !at.Equal(event) || at.Location() != time.UTC {
			t.Errorf("got %v %v", at, ok)
		}
	})
	t.Run("is not identity and not encoded", func(t *testing.T) {
		plain := RawKey("evt_1")
		dated := plain.WithIssuedAt(event)
		if dated.Encoded() != plain.Encoded() || dated.String() != plain.String() {
			t.Errorf("%q and %q differ", dated.Encoded(), plain.Encoded())
		}
		back, err := ParseKey(dated.Encoded())
		if err != nil {
			t.Fatal(err)
		}
		if at, ok := back.IssuedAt(); ok {
			t.Errorf("%v came back", at)
		}
		if _, ok := plain.IssuedAt(); ok {
			t.Error("WithIssuedAt changed the key it was called on")
		}
	})
	t.Run("old times are kept, so that they can expire", func(t *testing.T) {
		at, ok := RawKey("evt_1").WithIssuedAt(time.Unix(1, 0)).IssuedAt()
		if !ok || at.Unix() != 1 {
			t.Errorf("got %v %v", at, ok)
		}
	})
	t.Run("zero time is an error", func(t *testing.T) {
		if err := RawKey("evt_1").WithIssuedAt(time.Time{}).Err(); err == nil {
			t.Error("accepted")
		}
	})
	t.Run("milliseconds taken for seconds are an error", func(t *testing.T) {
		if err := RawKey("evt_1").WithIssuedAt(time.Unix(1772366400000, 0)).Err(); err == nil || !strings.Contains(err.Error(), "UnixMilli") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("uuid look-alikes", func(t *testing.T) {
		for _, s := range []string{
			"01890a5d-ac96-774b-bcce-b302099a805",   // short
			"01890a5d-ac96-774b-bcce-b302099a8057 ", // long
			"01890a5dxac96-774b-bcce-b302099a8057",  // no hyphen
			"01890a5d-ac96-774b-bcce-b302099a805g",  // no digit
			"01890a5d-ac96-774b-bcce-b302099a805\x17",
		} {
			if at, ok := RawKey(s).IssuedAt(); ok {
				t.Errorf("%q was read as %v", s, at)
			}
		}
	})
}
