package cutproxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Direction is where a frame goes.
type Direction int

// The two directions of a connection.
const (
	ToServer Direction = iota + 1
	ToClient
)

func (d Direction) String() string {
	if d == ToServer {
		return "to server"
	}
	return "to client"
}

// Types of the frames that open a connection. On the wire these have none; every
// real type is a printable character, so the numbers cannot clash. Requests for
// encryption are answered and never shown.
const (
	Startup       byte = 1
	CancelRequest byte = 2
	sslRequest    byte = 3
	gssencRequest byte = 4
)

// Frame is one message of the protocol. The type byte alone is ambiguous: 'S'
// is Sync to the server and ParameterStatus to the client.
type Frame struct {
	Conn   int // 1 for the first connection the proxy accepted
	Dir    Direction
	Type   byte
	Body   []byte // without type and length; not to be changed or kept
	Index  int    // 1 for the first frame of this direction of this connection
	Offset int64  // of its first byte in the stream of this direction

	// SQL is the text that belongs to the frame. To the server: the text of
	// Query, Parse, Bind, Describe and Execute (followed through names of
	// prepared statements and portals), and for Sync all that its batch
	// executes, joined by ";\n". To the client: that of the statement being
	// answered, and for ReadyForQuery again the whole batch.
	SQL string

	raw []byte
}

// Len returns the number of bytes on the wire, header included.
func (f Frame) Len() int { return len(f.raw) }

// Tag returns the command tag of a CommandComplete, such as "INSERT 0 1", and
// "" for every other frame.
func (f Frame) Tag() string {
	if f.Dir != ToClient || f.Type != 'C' {
		return ""
	}
	tag, _ := cString(f.Body)
	return tag
}

func (f Frame) String() string {
	name := fmt.Sprintf("%q", f.Type)
	switch f.Type {
	case Startup:
		name = "Startup"
	case CancelRequest:
		name = "CancelRequest"
	}
	return fmt.Sprintf("connection %d, %v, frame %d: %s, %d bytes, SQL %q", f.Conn, f.Dir, f.Index, name, f.Len(), f.SQL)
}

// maxFrame is the protocol's own limit for one message.
const maxFrame = 1 << 30

// readTyped reads one frame that starts with a type byte.
func readTyped(r io.Reader) (Frame, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	raw, err := readBody(r, head[:], 1)
	if err != nil {
		return Frame{}, err
	}
	return Frame{Type: head[0], Body: raw[5:], raw: raw}, nil
}

// readUntyped reads one of the frames that open a connection.
func readUntyped(r io.Reader) (Frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	raw, err := readBody(r, head[:], 0)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Type: Startup, Body: raw[4:], raw: raw}
	if len(f.Body) < 4 {
		return Frame{}, fmt.Errorf("cutproxy: a first message of %d bytes is not PostgreSQL", len(raw))
	}
	switch binary.BigEndian.Uint32(f.Body) {
	case 80877102:
		f.Type = CancelRequest
	case 80877103:
		f.Type = sslRequest
	case 80877104:
		f.Type = gssencRequest
	}
	return f, nil
}

// readBody completes a frame of which the header was read. The length counts
// itself, and not the type byte before it.
func readBody(r io.Reader, head []byte, typed int) ([]byte, error) {
	n := binary.BigEndian.Uint32(head[typed:])
	if n < 4 || n > maxFrame {
		return nil, fmt.Errorf("cutproxy: a message of length %d is not PostgreSQL", n)
	}
	// The buffer grows with what arrives, not with what the length promises.
	raw := bytes.NewBuffer(append([]byte(nil), head...))
	if _, err := io.CopyN(raw, r, int64(typed)+int64(n)-int64(len(head))); err != nil {
		return nil, fmt.Errorf("cutproxy: inside a message: %w", err)
	}
	return raw.Bytes(), nil
}
