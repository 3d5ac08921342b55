package mcpwire

// Glance learns the little that decides about a message while its bytes pass by
// in any portions, in memory that does not grow with the message: whether it is a
// response, its id, its method, the name in its params, and isError in its
// result. It is for messages that are too large to be read whole; what it has not
// seen yet may still come, and it checks no syntax. The zero value is ready.
type Glance struct {
	Method  []byte // raw
	ID      []byte // raw
	Tool    []byte // raw, the member name of params
	IsError []byte // raw, the member isError of result
	Answer  bool   // has a result or an error
	Result  bool   // has a result
	Array   bool   // a batch

	stack []byte // the open brackets
	names [3]string
	text  []byte // the string or scalar being read, up to maxGlance
	state glanceState
	esc   bool
	name  bool // the next string names a member
}

type glanceState uint8

const (
	between glanceState = iota
	inText
	inScalar
)

// maxGlance bounds ids, methods and names that are remembered; longer ones are
// cut and match nothing. maxDepth bounds what is told apart by depth.
const (
	maxGlance = 4096
	maxDepth  = 10_000
)

// Write implements io.Writer; it never fails.
func (g *Glance) Write(p []byte) (int, error) {
	for _, c := range p {
		g.next(c)
	}
	return len(p), nil
}

func (g *Glance) next(c byte) {
	switch g.state {
	case inText:
		g.keep(c)
		switch {
		case g.esc:
			g.esc = false
		case c == '\\':
			g.esc = true
		case c == '"':
			g.state = between
			g.token()
		}
		return
	case inScalar:
		switch c {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			g.state = between
			g.token()
		default:
			g.keep(c)
			return
		}
	}
	switch c {
	case '"':
		g.state, g.text = inText, append(g.text[:0], c)
	case '{', '[':
		g.open(c)
	case '}', ']':
		if len(g.stack) > 0 {
			g.stack = g.stack[:len(g.stack)-1]
		}
		g.name = false
	case ',':
		g.name = g.inObject()
	case ':':
		g.name = false
	case ' ', '\t', '\r', '\n':
	default:
		g.state, g.text = inScalar, append(g.text[:0], c)
	}
}

func (g *Glance) keep(c byte) {
	if len(g.text) < maxGlance {
		g.text = append(g.text, c)
	}
}

func (g *Glance) inObject() bool {
	return len(g.stack) > 0 && g.stack[len(g.stack)-1] == '{'
}

func (g *Glance) open(c byte) {
	if len(g.stack) == 0 && c == '[' {
		g.Array = true
	}
	if len(g.stack) < maxDepth {
		g.stack = append(g.stack, c)
	}
	g.name = c == '{'
}

// token is called with a whole string or scalar in text.
func (g *Glance) token() {
	depth := len(g.stack)
	if g.name {
		if depth > 0 && depth < len(g.names) {
			g.names[depth] = decoded(g.text)
		}
		if n := g.names[1]; depth == 1 && !g.Array && (n == "result" || n == "error") {
			g.Answer = true
			g.Result = g.Result || n == "result"
		}
		g.name = false
		return
	}
	switch {
	case depth == 1:
		switch g.names[1] {
		case "id":
			g.ID = append([]byte(nil), g.text...)
		case "method":
			g.Method = append([]byte(nil), g.text...)
		}
	case depth == 2 && g.inObject() && g.names[1] == "params" && g.names[2] == "name":
		g.Tool = append([]byte(nil), g.text...)
	case depth == 2 && g.inObject() && g.names[1] == "result" && g.names[2] == "isError":
		g.IsError = append([]byte(nil), g.text...)
	}
}
