package cutproxy

import (
	"bytes"
	"strings"
	"sync"
)

// statements follows the SQL texts of one connection: names of prepared
// statements and portals on the way to the server, and which of the requests
// that the server has been sent it is answering.
type statements struct {
	mu       sync.Mutex
	prepared map[string]string
	portals  map[string]string
	batch    []string // executed since the last Sync, as read from the client
	pending  []request
	idle     chan struct{} // closed and replaced each time pending becomes empty
}

// request is something sent to the server that it answers in order.
type request struct {
	kind byte // 'E' Execute, 'S' Sync, 'Q' simple Query and whatever else ends in ReadyForQuery
	sql  string
}

func newStatements() *statements {
	return &statements{prepared: map[string]string{}, portals: map[string]string{}, idle: make(chan struct{})}
}

// fromClient returns the SQL of a frame as it is read from the client.
func (s *statements) fromClient(f Frame) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Type {
	case 'Q':
		sql, _ := cString(f.Body)
		return sql
	case 'P':
		name, rest := cString(f.Body)
		sql, _ := cString(rest)
		s.prepared[name] = sql
		return sql
	case 'B':
		portal, rest := cString(f.Body)
		name, _ := cString(rest)
		s.portals[portal] = s.prepared[name]
		return s.prepared[name]
	case 'D', 'C':
		return s.named(f)
	case 'E':
		portal, _ := cString(f.Body)
		s.batch = append(s.batch, s.portals[portal])
		return s.portals[portal]
	case 'S':
		sql := strings.Join(s.batch, ";\n")
		s.batch = nil
		return sql
	}
	return ""
}

// named answers for Describe and Close, of a statement or a portal. Close is
// not acted upon: a later Parse or Bind of the same name overwrites.
func (s *statements) named(f Frame) string {
	if len(f.Body) == 0 {
		return ""
	}
	name, _ := cString(f.Body[1:])
	if f.Body[0] == 'S' {
		return s.prepared[name]
	}
	return s.portals[name]
}

// sent notes a frame that goes to the server now.
func (s *statements) sent(f Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Type {
	case 'E', 'S', 'Q':
		s.pending = append(s.pending, request{f.Type, f.SQL})
	case 'F':
		s.pending = append(s.pending, request{'Q', f.SQL})
	}
}

// fromServer returns the SQL of a frame as it is read from the server.
func (s *statements) fromServer(f Frame) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return ""
	}
	head := s.pending[0]
	switch f.Type {
	case 'C', 'I', 's':
		if head.kind == 'E' {
			s.pending = s.pending[1:]
		}
	case 'E':
		// The server skips the rest of the batch.
		for len(s.pending) > 0 && s.pending[0].kind == 'E' {
			s.pending = s.pending[1:]
		}
	case 'Z':
		for len(s.pending) > 0 {
			head = s.pending[0]
			s.pending = s.pending[1:]
			if head.kind != 'E' {
				break
			}
		}
	}
	if len(s.pending) == 0 {
		close(s.idle)
		s.idle = make(chan struct{})
	}
	return head.sql
}

// unanswered returns a channel that is closed when the server has answered all
// it was sent, or nil if it has.
func (s *statements) unanswered() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.pending) == 0 {
		return nil
	}
	return s.idle
}

// cString cuts a zero-terminated string off.
func cString(b []byte) (string, []byte) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return string(b), nil
	}
	return string(b[:i]), b[i+1:]
}
