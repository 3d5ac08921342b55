package mcpwire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	in := "a\r\n\n" + long + "\nb\n" + "last"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytewise": iotest.OneByteReader(strings.NewReader(in))} {
		t.Run(name, func(t *testing.T) {
			l := NewLines(r, 100<<10)
			var got []string
			for {
				line, err := l.Next()
				if errors.Is(err, ErrTooLarge) {
					if len(line) > 100<<10+64<<10 {
						t.Errorf("%d bytes were kept", len(line))
					}
					rest := bytes.NewBuffer(line)
					if err := l.Rest(rest); err != nil {
						t.Fatal(err)
					}
					got = append(got, rest.String())
					continue
				}
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(line))
			}
			if diff := cmp.Diff([]string{"a\r\n", "\n", long + "\n", "b\n", "last"}, got); diff != "" {
				t.Errorf("(-want +got)\n%.500s", diff)
			}
		})
	}
	if Ended([]byte("a")) || !Ended([]byte("a\r\n")) || !Blank([]byte(" \r\n")) || Blank([]byte("a\n")) {
		t.Error("the ends of lines are not seen")
	}
}

func TestLinesReportAFailedRead(t *testing.T) {
	broken := errors.New("broken")
	l := NewLines(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(broken)), 10)
	if line, err := l.Next(); !errors.Is(err, broken) || string(line) != "half" {
		t.Errorf("got %q, %v", line, err)
	}
}

func TestGlance(t *testing.T) {
	for in, want := range map[string]Glance{
		`{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"arguments":{"name":"no"},"name":"pay"}}`: {Method: []byte(`"tools/call"`), ID: []byte("1.5"), Tool: []byte(`"pay"`)},
		`{"result":{"content":[{"isError":false,"text":"}"}],"isError":true},"jsonrpc":"2.0","id":"a\"b"}`:   {ID: []byte(`"a\"b"`), IsError: []byte("true"), Answer: true, Result: true},
		`{"error":{"code":1,"id":5},"id":null}`: {ID: []byte("null"), Answer: true},
		`[{"id":1,"method":"m"}]`:               {Array: true},
		`{"result":"x`:                          {Answer: true, Result: true}, // as soon as the name is there
		`{"result":"x","id":1}`:                 {ID: []byte("1"), Answer: true, Result: true},
		`{"params":["name","x"],"id":2}`:        {ID: []byte("2")},
	} {
		var g Glance
		for i := range len(in) {
			_, _ = g.Write([]byte{in[i]})
		}
		got := Glance{Method: g.Method, ID: g.ID, Tool: g.Tool, IsError: g.IsError, Answer: g.Answer, Result: g.Result, Array: g.Array}
		if g.Array {
			got.Method, got.ID = nil, nil // of members, which a batch has several of
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Glance{})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", in, diff)
		}
	}
}

func TestEvents(t *testing.T) {
	in := "\xef\xbb\xbf: hello\n\nid: 7\r\nretry: 1500\r\ndata: \r\n\r\nevent: message\rdata:{\"a\":\rdata: 1}\rid\r\r: ping\n\ndata:  two spaces\nunknown: x\nid: a\x00b\nretry: 1x\n\ndata: unfinished\n"
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytewise": iotest.OneByteReader(strings.NewReader(in))} {
		t.Run(name, func(t *testing.T) {
			e := NewEvents(r, 1000)
			var got []Event
			var raw []byte
			for {
				ev, err := e.Next()
				raw = append(raw, ev.Raw...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				ev.Raw = nil
				if len(ev.Data) == 0 {
					ev.Data = nil
				}
				got = append(got, ev)
			}
			want := []Event{
				{},
				{ID: "7", HasID: true, Retry: 1500 * time.Millisecond},
				{Name: "message", Data: []byte("{\"a\":\n1}"), HasID: true},
				{},
				{Data: []byte(" two spaces")},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if string(raw) != in {
				t.Errorf("the stream is %q", raw)
			}
		})
	}
}

// An event is given out when its last line is there, whatever comes later.
func TestEventsDoNotWait(t *testing.T) {
	r, w := io.Pipe()
	e := NewEvents(r, 100)
	for _, text := range []string{"data: 1\n\n", "data: 1\r\r", "data: 1\r\n\r\n"} {
		go func() { _, _ = io.WriteString(w, text) }()
		if ev, err := e.Next(); err != nil || string(ev.Data) != "1" {
			t.Errorf("%q: %+v, %v", text, ev, err)
		}
	}
	_ = w.Close()
}

func TestEventsTooLarge(t *testing.T) {
	e := NewEvents(strings.NewReader("data: "+strings.Repeat("x", 200)+"\n\n"), 100)
	if ev, err := e.Next(); !errors.Is(err, ErrTooLarge) || len(ev.Raw) > 110 {
		t.Errorf("got %d bytes, %v", len(ev.Raw), err)
	}
}

func TestEventWithData(t *testing.T) {
	ev, err := NewEvents(strings.NewReader(": c\r\nid: 1\r\ndata: a\r\ndata: b\r\nevent: message\r\n\r\n"), 100).Next()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(ev.WithData([]byte("{}"))), ": c\r\nid: 1\r\ndata: {}\r\nevent: message\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	built, err := NewEvents(bytes.NewReader(DataEvent([]byte(`{"a":1}`))), 100).Next()
	if err != nil || string(built.Data) != `{"a":1}` || built.Name != "message" {
		t.Errorf("got %+v, %v", built, err)
	}
}

// The raw parts of a stream are the stream, however it is cut into reads, and
// what is read from it does not depend on that.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: 1\n\n"), 3)
	f.Add([]byte("\xef\xbb\xbfid: 1\r\rdata: x\r\n\r\n: c\n"), 1)
	f.Add([]byte("retry: 5\ndata\ndata:a\n\n\n\n"), 2)
	f.Fuzz(func(t *testing.T, in []byte, portion int) {
		read := func(r io.Reader) (out []string, raw []byte) {
			e := NewEvents(r, 1<<20)
			for {
				ev, err := e.Next()
				raw = append(raw, ev.Raw...)
				if err != nil {
					return out, raw
				}
				if len(ev.Data) > 0 {
					out = append(out, ev.Name+"|"+ev.ID+"|"+string(ev.Data))
					ev.Raw = bytes.TrimPrefix(ev.Raw, []byte("\n")) // of the line end before
					if changed, err := NewEvents(bytes.NewReader(ev.WithData([]byte("new"))), 1<<20).Next(); err != nil || string(changed.Data) != "new" || changed.ID != ev.ID {
						t.Errorf("with new data %q is %+v, %v", ev.Raw, changed, err)
					}
				}
			}
		}
		whole, raw := read(bytes.NewReader(in))
		if !bytes.Equal(raw, in) {
			t.Errorf("the parts of %q are %q", in, raw)
		}
		cut, raw := read(&portions{in, max(1, portion%7)})
		if !bytes.Equal(raw, in) {
			t.Errorf("the parts of %q, cut, are %q", in, raw)
		}
		if diff := cmp.Diff(whole, cut); diff != "" {
			t.Errorf("%q cut otherwise (-whole +cut)\n%s", in, diff)
		}
	})
}

type portions struct {
	b []byte
	n int
}

// Read implements io.Reader.
func (p *portions) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.b[:min(p.n, len(p.b))])
	p.b = p.b[n:]
	return n, nil
}
