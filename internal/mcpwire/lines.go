package mcpwire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// InspectLimit is the size, in bytes, up to which messages are read whole. Larger
// ones are only looked at as they pass.
const InspectLimit = 16 << 20

// ErrTooLarge is returned for a line or an event that is larger than its reader
// was told to keep.
var ErrTooLarge = errors.New("mcpwire: a message is larger than the limit")

// Lines reads messages from a pipe, one on each line (MCP, transports, stdio).
// Not safe for concurrent use.
type Lines struct {
	r     *bufio.Reader
	limit int
	long  bool // inside a line that was too large
}

// NewLines reads from r and keeps lines of up to limit bytes.
func NewLines(r io.Reader, limit int) *Lines {
	return &Lines{r: bufio.NewReaderSize(r, 64<<10), limit: limit}
}

// Next returns the next line with its end, as it came; the last one may have
// none. The bytes are the caller's. It returns io.EOF after the last line. With
// ErrTooLarge it returns the beginning of a line, and Rest must be called next.
func (l *Lines) Next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line, nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(line) > l.limit {
				l.long = true
				return line, ErrTooLarge
			}
		case len(line) > 0 && err == io.EOF:
			return line, nil
		default:
			return line, err
		}
	}
}

// Rest copies what is left of a line that was too large, with its end.
func (l *Lines) Rest(w io.Writer) error {
	for l.long {
		part, err := l.r.ReadSlice('\n')
		l.long = errors.Is(err, bufio.ErrBufferFull)
		if _, werr := w.Write(part); werr != nil {
			return werr
		}
		if err != nil && !l.long && err != io.EOF {
			return err
		}
	}
	return nil
}

// Ended reports whether a line has its end: the last one of a pipe may not.
func Ended(line []byte) bool { return bytes.HasSuffix(line, []byte("\n")) }

// Blank reports a line that holds no message.
func Blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }
