package cutproxy

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func client(typ byte, body string) Frame {
	return Frame{Dir: ToServer, Type: typ, Body: []byte(body)}
}

// TestAnswersAreMatchedWithRequests plays whole conversations, and wants for each
// frame of the server the SQL it belongs to.
func TestAnswersAreMatchedWithRequests(t *testing.T) {
	parse := func(name, sql string) Frame { return client('P', name+"\x00"+sql+"\x00\x00\x00") }
	bind := func(portal, name string) Frame { return client('B', portal+"\x00"+name+"\x00\x00\x00\x00\x00\x00\x00") }
	execute := func(portal string) Frame { return client('E', portal+"\x00\x00\x00\x00\x00") }
	sync := client('S', "")
	for _, tt := range []struct {
		name   string
		client []Frame
		server string
		want   []string
	}{
		{"startup", nil, "RSKZ", []string{"", "", "", ""}},
		{"simple query of two statements", []Frame{client('Q', "a; b\x00")}, "CCZ", []string{"a; b", "a; b", "a; b"}},
		{
			"pipeline of two",
			[]Frame{parse("s", "a"), bind("", "s"), execute(""), parse("", "b"), bind("", ""), execute(""), sync},
			"12C12CZ",
			[]string{"a", "a", "a", "b", "b", "b", "a;\nb"},
		},
		{
			"an error skips the rest of its batch, and no more",
			[]Frame{parse("", "a"), bind("", ""), execute(""), parse("", "b"), bind("", ""), execute(""), sync, client('Q', "c\x00")},
			"12EZCZ",
			[]string{"a", "a", "a", "a;\nb", "c", "c"},
		},
		{"error at the commit itself", []Frame{parse("", "a"), bind("", ""), execute(""), sync}, "12CEZ", []string{"a", "a", "a", "a", "a"}},
		{"named portals", []Frame{parse("s", "a"), parse("u", "b"), bind("p", "s"), bind("q", "u"), execute("q"), execute("p"), sync}, "1122sCZ", []string{"b", "b", "b", "b", "b", "a", "b;\na"}},
		{"empty query", []Frame{parse("", ""), bind("", ""), execute(""), sync}, "12IZ", []string{"", "", "", ""}},
		{"prepare alone", []Frame{parse("s", "a"), sync}, "1Z", []string{"", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStatements()
			for _, f := range tt.client {
				f.SQL = s.fromClient(f)
				s.sent(f)
			}
			idle := s.unanswered()
			if (idle != nil) != (len(tt.client) > 0) {
				t.Error("unanswered does not fit what was sent")
			}
			var got []string
			for i := range len(tt.server) {
				got = append(got, s.fromServer(Frame{Dir: ToClient, Type: tt.server[i]}))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("SQL (-want +got):\n%s", diff)
			}
			if s.unanswered() != nil {
				t.Error("something is left unanswered")
			}
			if idle != nil {
				select {
				case <-idle:
				default:
					t.Error("nobody was told that all is answered")
				}
			}
		})
	}
}

func FuzzReadFrames(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08\x00\x03\x00\x00Q\x00\x00\x00\x07go\x00"))
	f.Add([]byte("\x00\x00\x00\x04"))
	f.Add([]byte("P\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var joined []byte
		r := bytes.NewReader(data)
		first, err := readUntyped(r)
		if err != nil {
			return
		}
		joined = append(joined, first.raw...)
		s := newStatements()
		for {
			frame, err := readTyped(r)
			if err != nil {
				break
			}
			frame.SQL = s.fromClient(frame)
			s.sent(frame)
			s.fromServer(frame)
			joined = append(joined, frame.raw...)
		}
		if string(joined) != string(data[:len(joined)]) {
			t.Fatalf("forwarded %q for %q", joined, data)
		}
	})
}
