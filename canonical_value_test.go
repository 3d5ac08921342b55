package onceguard

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

type (
	inner struct{ A, B int }
	line  struct {
		SKU string `json:"sku"`
		N   int
	}
	node struct {
		Name string
		Next *node
	}
	baseID   struct{ ID string }
	pointing struct {
		*baseID
		N int
	}
	valueText   struct{ s string }
	pointerJSON struct{ s string }
	money       struct {
		Amount   int
		Currency string
	}
	emptiable struct{ N int }
	hidden    struct{ a int }
	textInt   int
	badJSON   struct{}
)

func (v valueText) MarshalText() ([]byte, error)    { return []byte("text:" + v.s), nil }
func (v *pointerJSON) MarshalJSON() ([]byte, error) { return []byte(`{"s": "` + v.s + `"}`), nil }
func (m money) IsZero() bool                        { return m.Amount == 0 }
func (e emptiable) IsZero() bool                    { return e.N < 0 }
func (i textInt) MarshalText() ([]byte, error)      { return []byte("i" + string(rune('0'+i))), nil }
func (badJSON) MarshalJSON() ([]byte, error)        { return []byte(`1,"x":2`), nil }

var errMarshal = errors.New("marshal failed")

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, errMarshal }

func TestCanonicalValue(t *testing.T) {
	zero, no, empty := 0, false, ""
	at := time.Date(2026, 3, 1, 12, 0, 0, 500, time.FixedZone("x", 3600))
	loop := map[string]int{"z": 1, "a": 0}
	for name, c := range map[string]struct {
		in   any
		want string
	}{
		"nil":                 {nil, `null`},
		"string":              {"a<\n\u2028", "\"a<\\n\u2028\""},
		"integers":            {[]any{int8(-1), uint64(math.MaxUint64), int64(math.MinInt64)}, `[-1,18446744073709551615,-9223372036854775808]`},
		"floats":              {[]float64{1, 0.1, 1e21, 1e-7, math.Copysign(0, -1), 1 << 53}, `[1,0.1,1e+21,1e-7,0,9007199254740992]`},
		"float32":             {[]float32{0.1, 16777216}, `[0.1,16777216]`},
		"bytes":               {[]byte{0, 255}, `"AP8="`},
		"named bytes":         {json.RawMessage(`{"b":1.0,"a":2}`), `{"a":2,"b":1}`},
		"array of bytes":      {[2]byte{1, 2}, `[1,2]`},
		"map sorted and kept": {loop, `{"a":0,"z":1}`},
		"map of integers":     {map[int]string{10: "", 9: "x"}, `{"10":"","9":"x"}`},
		"map of text":         {map[textInt]int{1: 1}, `{"i1":1}`},
		"map of times":        {map[time.Time]int{at: 1}, `{"2026-03-01T11:00:00.0000005Z":1}`},
		"map zero structs":    {map[string]inner{"a": {}}, `{"a":{}}`},
		"nil slice":           {[]string(nil), `[]`},
		"nil map":             {map[string]int(nil), `{}`},
		"nil pointer":         {(*inner)(nil), `null`},
		"nil in a slice":      {[]any{nil, (*int)(nil), []int(nil)}, `[null,null,[]]`},
		"pointer":             {&inner{A: 1}, `{"A":1}`},
		"zero struct":         {inner{}, `{}`},
		"zero fields left out": {struct {
			A string
			B int
			C []int
			D map[string]int
			E *int
			F any
			G inner
			H [2]int
			I time.Time
			J float64
			K bool
			L json.RawMessage
			M json.Number
			N struct{ X struct{ Y []string } }
		}{C: []int{}, D: map[string]int{}, J: math.Copysign(0, -1), N: struct{ X struct{ Y []string } }{X: struct{ Y []string }{Y: []string{}}}}, `{}`},
		"set to zero stays": {struct {
			A *int
			B *bool
			C *string
			D any
			E []int
			F *inner
			G map[string]*int
		}{&zero, &no, &empty, 0, []int{0}, &inner{}, map[string]*int{"x": nil}}, `{"A":0,"B":false,"C":"","D":0,"E":[0],"F":{},"G":{"x":null}}`},
		"nested zero fields": {struct{ L []line }{[]line{{"x", 0}, {"", 2}}}, `{"L":[{"sku":"x"},{"N":2}]}`},
		"tags": {struct {
			A int `json:"b"`
			B int `json:"-"`
			//lint:ignore SA5008 the odd spelling is the case
			C int `json:"-,"`
			D int `json:",omitempty"`
			E int `json:"a b,omitempty"`
			//lint:ignore SA5008 the odd spelling is the case
			F int `json:"bad\"name"`
			g int
		}{1, 2, 3, 4, 5, 6, 7}, `{"-":3,"D":4,"F":6,"a b":5,"b":1}`},
		"option string": {struct {
			A int         `json:",string"`
			B float64     `json:",string"`
			C bool        `json:",string"`
			D string      `json:",string"`
			E *int        `json:",string"`
			F json.Number `json:",string"`
			//lint:ignore SA5008 the option must have no effect here
			G []int   `json:",string"`
			H textInt `json:",string"`
		}{1, 100, true, `a"`, &zero, "1.50", []int{1}, 2}, `{"A":"1","B":"100","C":"true","D":"\"a\\\"\"","E":"0","F":"1.5","G":[1],"H":"i2"}`},
		"embedded": {struct {
			inner
			line
			B int
		}{inner{1, 2}, line{"x", 3}, 4}, `{"A":1,"B":4,"N":3,"sku":"x"}`},
		"embedded pointer":     {pointing{&baseID{"x"}, 1}, `{"ID":"x","N":1}`},
		"embedded nil pointer": {pointing{nil, 1}, `{"N":1}`},
		"embedded with a name": {struct {
			inner `json:"in"`
			A     int
		}{inner{1, 2}, 3}, `{"A":3,"in":{"A":1,"B":2}}`},
		"tagged wins at one depth": {struct {
			inner
			Other struct{ X int } `json:"A"`
		}{inner: inner{1, 2}}, `{"B":2}`},
		"time in UTC":         {at, `"2026-03-01T11:00:00.0000005Z"`},
		"duration":            {time.Second, `1000000000`},
		"number":              {json.Number("1.500"), `1.5`},
		"big number":          {json.Number("9007199254740993"), `9007199254740993`},
		"text":                {valueText{"a"}, `"text:a"`},
		"text by pointer":     {&valueText{"a"}, `"text:a"`},
		"JSON on the pointer": {pointerJSON{"a"}, `{"s":"a"}`},
		"JSON by pointer":     {&pointerJSON{"a"}, `{"s":"a"}`},
		"JSON in a map":       {map[string]pointerJSON{"k": {"a"}}, `{"k":{"s":"a"}}`},
		"zero with a method":  {struct{ A pointerJSON }{}, `{}`},
		"set with a method":   {struct{ A pointerJSON }{pointerJSON{"x"}}, `{"A":{"s":"x"}}`},
		"big integer":         {big.NewInt(0).Lsh(big.NewInt(1), 64), `18446744073709551616`},
		"address":             {netip.MustParseAddr("::1"), `"::1"`},
		"IsZero not asked":    {struct{ M money }{money{0, "EUR"}}, `{"M":{"Currency":"EUR"}}`},
		"IsZero asked": {struct {
			M emptiable `json:",omitzero"`
		}{emptiable{-1}}, `{}`},
		"IsZero asked, set": {struct {
			M emptiable `json:",omitzero"`
		}{emptiable{2}}, `{"M":{"N":2}}`},
		"list":                 {node{"a", &node{"b", nil}}, `{"Name":"a","Next":{"Name":"b"}}`},
		"shared, but no cycle": {[]*inner{{1, 2}, {1, 2}}, `[{"A":1,"B":2},{"A":1,"B":2}]`},
		"no fields":            {struct{}{}, `{}`},
		"only hidden by choice": {struct {
			A func() `json:"-"`
		}{}, `{}`},
		"embedded without fields": {struct {
			hidden
			N int
		}{hidden{1}, 2}, `{"N":2}`},
		"names that sort": {map[string]int{"\ufb33": 1, "\U0001f600": 2}, "{\"\U0001f600\":2,\"\ufb33\":1}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := canonicalValue(c.in)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if again, err := CanonicalJSON(got); err != nil || string(again) != c.want {
				t.Errorf("not canonical: %s, %v", again, err)
			}
		})
	}
}

// A field added in a later release must not turn a retry into a mismatch.
func TestCanonicalValueNewField(t *testing.T) {
	type v1 struct{ Order string }
	type v2 struct {
		Order   string
		Note    string
		Lines   []line
		Options struct{ Fast bool }
		At      time.Time
		Limit   *int
	}
	a, errA := canonicalValue(v1{"A-1"})
	b, errB := canonicalValue(v2{Order: "A-1"})
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("%s and %s differ (%v, %v)", a, b, errA, errB)
	}
}

func TestCanonicalValueRefuses(t *testing.T) {
	cycle := &node{Name: "a"}
	cycle.Next = &node{"b", cycle}
	loop := map[string]any{}
	loop["self"] = loop
	ring := make([]any, 1)
	ring[0] = ring
	type pointer *pointer
	var self pointer
	self = &self
	var deep any
	for range 200 {
		deep = []any{deep}
	}
	// Built here, because go vet would refuse it in source.
	oneTagTwice := reflect.Zero(reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
		{Name: "B", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
	})).Interface()
	for name, c := range map[string]struct {
		in      any
		code    string
		pointer string
	}{
		"func":               {struct{ A struct{ F func() } }{}, "unsupported-type", "/A/F"},
		"chan":               {map[string]any{"a": []any{make(chan int)}}, "unsupported-type", "/a/0"},
		"complex":            {[]any{1i}, "unsupported-type", "/0"},
		"uintptr":            {uintptr(1), "unsupported-type", ""},
		"NaN":                {[]float64{0, math.NaN()}, "not-finite", "/1"},
		"infinity":           {map[string]float32{"a": float32(math.Inf(-1))}, "not-finite", "/a"},
		"invalid UTF-8":      {struct{ A string }{"\xff"}, "invalid-utf8", "/A"},
		"invalid name":       {map[string]int{"\xff": 1}, "invalid-utf8", ""},
		"cycle of pointers":  {cycle, "cycle", "/Next/Next"},
		"cycle of a map":     {loop, "cycle", "/self"},
		"cycle of a slice":   {ring, "cycle", "/0"},
		"cycle of itself":    {self, "cycle", ""},
		"too deep":           {deep, "too-deep", strings.Repeat("/0", 127) + "…"},
		"map of floats":      {map[float64]int{1: 1}, "unsupported-type", ""},
		"map of bools":       {struct{ A map[bool]int }{map[bool]int{true: 1}}, "unsupported-type", "/A"},
		"only unexported":    {struct{ A hidden }{hidden{1}}, "unsupported-type", "/A"},
		"only unexported, 0": {struct{ A hidden }{}, "unsupported-type", "/A"},
		"year 10000":         {struct{ At time.Time }{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "unsupported-type", "/At"},
		"bad number":         {struct{ N json.Number }{"1x"}, "trailing-data", "/N"},
		"number injects":     {struct{ N json.Number }{`1,"M":2`}, "trailing-data", "/N"},
		"number a string":    {struct{ N json.Number }{`"1"`}, "syntax", "/N"},
		"raw duplicate":      {struct{ R json.RawMessage }{json.RawMessage(`{"a":{"b":1,"b":2}}`)}, "duplicate-name", "/R/a/b"},
		"raw injects":        {struct{ R json.RawMessage }{json.RawMessage(`1,"S":2`)}, "trailing-data", "/R"},
		"marshaler injects":  {[]badJSON{{}}, "trailing-data", "/0"},
		"marshaler fails":    {map[string]failing{"a": {}}, "marshaler", "/a"},
		"equals at one depth": {struct {
			X struct {
				inner
				line2
			}
		}{X: struct {
			inner
			line2
		}{inner: inner{A: 1}}}, "ambiguous-field", "/X/A"},
		"one tag twice": {oneTagTwice, "ambiguous-field", "/x"},
		"methods that cancel out": {struct {
			valueText
			textToo
			N int
		}{N: 1}, "ambiguous-field", "/valueText"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := canonicalValue(c.in)
			var ce *CanonicalError
			if !errors.As(err, &ce) {
				t.Fatalf("got %s, %v", out, err)
			}
			if ce.Code != c.code || ce.Pointer != c.pointer && !strings.HasSuffix(c.pointer, "…") || ce.Offset != -1 {
				t.Errorf("got %s at %q, offset %d (%v); want %s at %q", ce.Code, ce.Pointer, ce.Offset, err, c.code, c.pointer)
			}
		})
	}
	t.Run("cause is kept", func(t *testing.T) {
		if _, err := canonicalValue(failing{}); !errors.Is(err, errMarshal) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("map names that meet", func(t *testing.T) {
		_, err := canonicalValue(map[sameText]int{{1}: 1, {2}: 2})
		var ce *CanonicalError
		if !errors.As(err, &ce) || ce.Code != "duplicate-name" || ce.Pointer != "/same" || ce.Offset != -1 {
			t.Errorf("error %v", err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		_, err := canonicalValue(strings.Repeat("x", MaxCanonicalLen))
		var ce *CanonicalError
		if !errors.As(err, &ce) || ce.Code != "too-large" {
			t.Errorf("error %v", err)
		}
	})
}

type (
	line2    struct{ A int }
	textToo  struct{ S string }
	sameText struct{ n int }
)

func (textToo) MarshalText() ([]byte, error)  { return nil, nil }
func (sameText) MarshalText() ([]byte, error) { return []byte("same"), nil }
