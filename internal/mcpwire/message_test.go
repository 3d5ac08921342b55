package mcpwire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// brief is what a test compares of a message.
type brief struct {
	Kind                              Kind
	ID, Method, Params, Result, Error string
	Ambiguous                         bool
	Members                           []brief
}

func briefly(m Message) brief {
	b := brief{m.Kind, string(m.ID), m.Method, string(m.Params), string(m.Result), string(m.Error), m.Ambiguous, nil}
	for _, member := range m.Members {
		b.Members = append(b.Members, briefly(member))
	}
	return b
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want brief
	}{
		"request":            {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}`, brief{Kind: Request, ID: "1", Method: "tools/call", Params: `{"name":"a"}`}},
		"big id":             {`{"id":9007199254740993,"method":"m"}`, brief{Kind: Request, ID: "9007199254740993", Method: "m"}},
		"fraction id":        {`{"id":1.5,"method":"m"}`, brief{Kind: Request, ID: "1.5", Method: "m"}},
		"exponent id":        {`{"id":-1.50E+2 ,"method":"m"}`, brief{Kind: Request, ID: "-1.50E+2", Method: "m"}},
		"text id":            {`{"id":"a\"}","method":"m"}`, brief{Kind: Request, ID: `"a\"}"`, Method: "m"}},
		"null id":            {`{"id":null,"method":"m"}`, brief{Kind: Request, ID: "null", Method: "m"}},
		"white space":        {" \t{ \"method\" :\r\n \"m\" , \"params\" : [ 1 , 2 ] } \r\n", brief{Kind: Notification, Method: "m", Params: "[ 1 , 2 ]"}},
		"unknown members":    {`{"x":{"id":7,"method":"n"},"method":"m","y":[{"params":{}}]}`, brief{Kind: Notification, Method: "m"}},
		"escaped":            {`{"m\u0065thod":"tools\/c\u0061ll","id":1}`, brief{Kind: Request, ID: "1", Method: "tools/call"}},
		"result":             {`{"result":{"a":"}{"},"jsonrpc":"2.0","id":2}`, brief{Kind: Response, ID: "2", Result: `{"a":"}{"}`}},
		"error":              {`{"id":null,"error":{"code":-32601}}`, brief{Kind: Response, ID: "null", Error: `{"code":-32601}`}},
		"twice":              {`{"method":"a","method":"tools/call","id":1}`, brief{Kind: Request, ID: "1", Method: "tools/call", Ambiguous: true}},
		"other letters":      {`{"method":"a","Method":"tools/call","id":1}`, brief{Kind: Request, ID: "1", Method: "a", Ambiguous: true}},
		"method no text":     {`{"method":1,"id":1}`, brief{Kind: Invalid, ID: "1"}},
		"empty object":       {`{}`, brief{}},
		"empty array":        {`[ ]`, brief{Kind: Batch}},
		"scalar":             {`17`, brief{}},
		"cut":                {`{"id":1,"method":"m"`, brief{}},
		"two in a line":      {`{"id":1,"method":"m"}{"id":2,"method":"m"}`, brief{}},
		"empty":              {``, brief{}},
		"batch":              {`[{"id":1,"method":"a"}, {"method":"b"},3,{"id":1,"result":{}}]`, brief{Kind: Batch, Members: []brief{{Kind: Request, ID: "1", Method: "a"}, {Kind: Notification, Method: "b"}, {}, {Kind: Response, ID: "1", Result: "{}"}}}},
		"ambiguous in batch": {`[{"id":1,"id":2,"method":"a"}]`, brief{Kind: Batch, Ambiguous: true, Members: []brief{{Kind: Request, ID: "2", Method: "a", Ambiguous: true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			m := Parse([]byte(c.in))
			if diff := cmp.Diff(c.want, briefly(m)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if string(m.Raw) != c.in {
				t.Errorf("raw %q", m.Raw)
			}
		})
	}
}

func TestCalls(t *testing.T) {
	for in, want := range map[string]bool{
		`{"id":1,"method":"tools/call"}`:                            true,
		`{"id":1,"method":"tools\/call"}`:                           true,
		`{"id":1,"method":"x","METHOD":"tools/call"}`:               true,
		`{"id":1,"method":"tools/call","method":"x"}`:               true,
		`[{"method":"x"},{"id":1,"method":"tools/call"}]`:           true,
		`{"id":1,"method":"x"}{"id":2,"method":"tools/call"}`:       true,
		`{"id":1,"method":"tools/call",}`:                           true,
		`{"id":1,"method":"\u0074ools/call",}`:                      true,
		`{"id":1,"method":"x","params":{"method":"tools/call"}}`:    false,
		`{"id":1,"method":"x","params":{"a":"tools/call"}}`:         false,
		`{"id":1,"method":"tools/list"}`:                            false,
		`Starting the server at C:\users\me`:                        false,
		`{"id":"\u0061","method":"other",`:                          false,
		`{"id":1,"method":"\u00tools/calling`:                       true,
		"\n":                                                        false,
		`{"id":1,"result":{"content":[{"text":"use tools/call"}]}}`: false,
	} {
		m := Parse([]byte(in))
		if got := m.Calls("tools/call"); got != want {
			t.Errorf("%s: %v, want %v", in, got, want)
		}
	}
}

func TestRewriting(t *testing.T) {
	m := Parse([]byte(` { "x":1, "params" : {"name":"a"} ,"id":1.0,"method":"m" }` + "\r\n"))
	if got, want := string(m.WithParams([]byte(`{"b":2}`))), ` { "x":1, "params" : {"b":2} ,"id":1.0,"method":"m" }`+"\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	b := Parse([]byte(`[{"id":1,"method":"a"},{"result":{"a":1},"id":2}]`))
	if got, want := string(b.Members[1].WithResult([]byte(`null`))), `{"result":null,"id":2}`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := string(Failure([]byte("1.5"), ErrorObject(CodeInternal, "a <b> \"c\"\n"))), `{"jsonrpc":"2.0","id":1.5,"error":{"code":-32603,"message":"a <b> \"c\"\n"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := string(Result(nil, []byte(`{}`))), `{"jsonrpc":"2.0","id":null,"result":{}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := string(OneLine([]byte("{\r\n \"a\":\n1}"))); got != `{ "a":1}` {
		t.Errorf("got %q", got)
	}
}

func TestIDKey(t *testing.T) {
	same := [][2]string{{`"a"`, `"\u0061"`}, {"1", "1.0"}, {"10", "1e1"}, {"0", "-0"}, {"1.5", "15e-1"}, {" 1", "1 "}}
	for _, c := range same {
		if IDKey([]byte(c[0])) != IDKey([]byte(c[1])) {
			t.Errorf("%s and %s differ", c[0], c[1])
		}
	}
	other := [][2]string{{`"1"`, "1"}, {"9007199254740993", "9007199254740992"}, {"1.5", "1"}, {"null", `"null"`}, {"1e999999999", "1e999999998"}, {"null", "0"}}
	for _, c := range other {
		if IDKey([]byte(c[0])) == IDKey([]byte(c[1])) {
			t.Errorf("%s and %s are equal", c[0], c[1])
		}
	}
}

func TestSole(t *testing.T) {
	if v, ok := Sole([]byte(`{"b":{"a":2}, "\u0061" : [3] }`), "a"); string(v) != "[3]" || !ok {
		t.Errorf("got %s, %v", v, ok)
	}
	for _, in := range []string{`[1]`, ``, `{"b":1}`, `{"a":`, `"a"`, `{"A":1}`, `{"a":1,"a":1}`, `{"a":1,"A":1}`} {
		if v, ok := Sole([]byte(in), "a"); ok {
			t.Errorf("%s: got %s", in, v)
		}
	}
	if s, ok := Text([]byte(` "x\n" `)); s != "x\n" || !ok {
		t.Errorf("got %q, %v", s, ok)
	}
	if _, ok := Text([]byte(`12`)); ok {
		t.Error("a number is a text")
	}
}

// Whatever comes, Parse agrees with encoding/json about what is there, and its
// parts are parts of the message.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{}}}`, `[{"id":1.5,"result":{}},2]`,
		`{"id":null,"error":{"code":-1}}`, `{"a":"\\\"}","method":"\ud800"}`, " {\r\n}", `{"method":"a","Method":"b"}`, `{"":[[{"x":1e5}]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		m := Parse(in)
		if !bytes.Equal(in, before) {
			t.Fatal("Parse wrote into the message")
		}
		var want map[string]json.RawMessage
		if json.Unmarshal(in, &want) != nil || want == nil {
			return
		}
		for name, got := range map[string][]byte{"id": m.ID, "params": m.Params, "result": m.Result, "error": m.Error} {
			if !bytes.Equal(got, want[name]) {
				t.Errorf("%s is %q, encoding/json says %q", name, got, want[name])
			}
		}
		if m.Params != nil {
			if back := m.WithParams(m.Params); !bytes.Equal(back, in) {
				t.Errorf("putting the params back gives %q", back)
			}
			if changed := Parse(m.WithParams([]byte(`[0]`))); string(changed.Params) != "[0]" || string(changed.ID) != string(m.ID) {
				t.Errorf("after a change: %+v", changed)
			}
		}
		if m.ID != nil {
			if again := Parse(Failure(m.ID, ErrorObject(-1, "x"))); !strings.EqualFold(string(again.ID), string(m.ID)) || again.Kind != Response {
				t.Errorf("an answer to %q is %+v", m.ID, again)
			}
		}
		var g Glance
		_, _ = g.Write(in)
		if g.ID != nil && !m.Ambiguous && len(m.ID) < maxGlance && !bytes.Equal(g.ID, m.ID) {
			t.Errorf("a glance sees the id %q, not %q", g.ID, m.ID)
		}
	})
}
