package mcpwire

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"time"
)

// Event is one server-sent event
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type Event struct {
	Raw   []byte        // all of it as it came, with comments and the blank line at its end
	Name  string        // of the type; empty is "message"
	Data  []byte        // the data lines joined by line feeds; an event without data dispatches nothing
	ID    string        // what a client names to go on from here
	HasID bool          // an empty id forgets the earlier one
	Retry time.Duration // how long to wait before connecting again; 0 says nothing
}

// Events reads a stream of server-sent events. Not safe for concurrent use.
type Events struct {
	r     *bufio.Reader
	limit int
	begun bool
	cr    bool // the last line ended with a carriage return; a line feed may follow
}

// NewEvents reads from r and keeps events of up to limit bytes.
func NewEvents(r io.Reader, limit int) *Events {
	return &Events{r: bufio.NewReaderSize(r, 32<<10), limit: limit}
}

// Next returns the next event as soon as its last line is there. The Raws of all
// calls make up the stream, to the byte. With an error (io.EOF at the stream's
// end) Raw is what had come of an unfinished event, which dispatches nothing. An
// event over the limit is ErrTooLarge, and nothing can be read after it.
func (e *Events) Next() (Event, error) {
	var ev Event
	for {
		text, err := e.line(&ev)
		if err != nil {
			return Event{Raw: ev.Raw}, err
		}
		if !e.begun {
			e.begun = true
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		if len(text) == 0 {
			return ev, nil
		}
		ev.field(text)
	}
}

// line reads the next line and its end: CR, LF, or both.
func (e *Events) line(ev *Event) ([]byte, error) {
	start := len(ev.Raw)
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			return nil, err
		}
		ev.Raw = append(ev.Raw, c)
		rest := e.cr && c == '\n' // of the last line's end
		e.cr = false
		end := len(ev.Raw) - 1
		switch {
		case rest:
			start = len(ev.Raw)
		case c == '\n':
			return ev.Raw[start:end], nil
		case c == '\r':
			// Whether a line feed follows must not be waited for: the event may
			// be over, and the server silent.
			if e.r.Buffered() == 0 {
				e.cr = true
			} else if next, err := e.r.Peek(1); err == nil && next[0] == '\n' {
				_, _ = e.r.Discard(1)
				ev.Raw = append(ev.Raw, '\n')
			}
			return ev.Raw[start:end], nil
		case len(ev.Raw) > e.limit:
			return nil, ErrTooLarge
		}
	}
}

func (ev *Event) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "event":
		ev.Name = string(value)
	case "data":
		if ev.Data != nil {
			ev.Data = append(ev.Data, '\n')
		}
		ev.Data = append(ev.Data, value...)
		if ev.Data == nil {
			ev.Data = []byte{}
		}
	case "id":
		if bytes.IndexByte(value, 0) < 0 {
			ev.ID, ev.HasID = string(value), true
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			ev.Retry = time.Duration(ms) * time.Millisecond
		}
	}
}

// WithData returns the event's bytes with other data, which must be one line, in
// place of its own; all other lines stay as they are.
func (ev *Event) WithData(data []byte) []byte {
	out := make([]byte, 0, len(ev.Raw)+len(data))
	placed := false
	for rest := ev.Raw; len(rest) > 0; {
		n := bytes.IndexAny(rest, "\r\n")
		end := n + 1
		switch {
		case n < 0:
			n, end = len(rest), len(rest)
		case bytes.HasPrefix(rest[n:], []byte("\r\n")):
			end++
		}
		line := rest[:n]
		name, _, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")), []byte(":"))
		if string(name) != "data" {
			out = append(out, rest[:end]...)
		} else if !placed {
			placed = true
			out = append(append(out, "data: "...), data...)
			out = append(out, rest[n:end]...)
		}
		rest = rest[end:]
	}
	return out
}

// DataEvent builds an event that has data alone, which must be one line.
func DataEvent(data []byte) []byte {
	b := make([]byte, 0, len(data)+24)
	b = append(b, "event: message\ndata: "...)
	b = append(b, data...)
	return append(b, "\n\n"...)
}

// Rest is what follows an event that was too large, unread.
func (e *Events) Rest() io.Reader { return e.r }
