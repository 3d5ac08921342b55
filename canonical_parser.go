package onceguard

import (
	"bytes"
	"strconv"
)

// canonicalParser reads a document once and writes its canonical form as it
// goes. encoding/json is not used: it merges duplicate names, mends broken
// text and reads numbers as floats.
type canonicalParser struct {
	src     []byte
	pos     int
	out     []byte
	depth   int
	names   []byte // unescaped names of the objects now open, one after another
	members []member
	steps   []parserStep
	scratch []byte
}

// parserStep is where the parser is: an index, or a name kept in names.
type parserStep struct {
	named bool
	name  span
	index int
}

func (p *canonicalParser) document() error {
	if bytes.HasPrefix(p.src, []byte("\xef\xbb\xbf")) {
		return p.fail(0, codeSyntax, "byte order mark; send the document without it")
	}
	if err := p.value(); err != nil {
		return err
	}
	p.blanks()
	if p.pos < len(p.src) {
		return p.fail(p.pos, codeTrailing, "more text after the document; send one document")
	}
	return nil
}

func (p *canonicalParser) value() error {
	p.blanks()
	if p.pos == len(p.src) {
		return p.fail(p.pos, codeSyntax, "document ends where a value belongs")
	}
	switch c := p.src[p.pos]; {
	case c == '{':
		return p.nested(p.object)
	case c == '[':
		return p.nested(p.array)
	case c == '"':
		raw, err := p.rawString()
		if err != nil {
			return err
		}
		p.out = appendCanonicalString(p.out, raw)
		return nil
	case c == '-' || '0' <= c && c <= '9':
		return p.number()
	default:
		return p.literal()
	}
}

func (p *canonicalParser) nested(read func() error) error {
	if p.depth == MaxCanonicalDepth {
		return p.fail(p.pos, codeTooDeep, "nested deeper than "+strconv.Itoa(MaxCanonicalDepth))
	}
	p.depth++
	err := read()
	p.depth--
	return err
}

func (p *canonicalParser) array() error {
	p.pos++
	p.out = append(p.out, '[')
	p.blanks()
	if p.take(']') {
		p.out = append(p.out, ']')
		return nil
	}
	for i := 0; ; i++ {
		p.steps = append(p.steps, parserStep{index: i})
		if err := p.value(); err != nil {
			return err
		}
		p.steps = p.steps[:len(p.steps)-1]
		p.blanks()
		if p.take(']') {
			p.out = append(p.out, ']')
			return nil
		}
		if !p.take(',') {
			return p.fail(p.pos, codeSyntax, "',' or ']' belongs here")
		}
		p.out = append(p.out, ',')
	}
}

func (p *canonicalParser) object() error {
	p.pos++
	p.out = append(p.out, '{')
	p.blanks()
	if p.take('}') {
		p.out = append(p.out, '}')
		return nil
	}
	start, firstName, firstMember := len(p.out), len(p.names), len(p.members)
	for {
		if err := p.member(); err != nil {
			return err
		}
		p.blanks()
		if p.take('}') {
			break
		}
		if !p.take(',') {
			return p.fail(p.pos, codeSyntax, "',' or '}' belongs here")
		}
		p.out = append(p.out, ',')
	}
	if err := p.sortMembers(start, p.members[firstMember:]); err != nil {
		return err
	}
	p.out = append(p.out, '}')
	p.names, p.members = p.names[:firstName], p.members[:firstMember]
	return nil
}

func (p *canonicalParser) member() error {
	p.blanks()
	at := p.pos
	if p.pos == len(p.src) || p.src[p.pos] != '"' {
		return p.fail(at, codeSyntax, "a name in double quotes belongs here")
	}
	raw, err := p.rawString()
	if err != nil {
		return err
	}
	m := member{at: int32(at), name: span{int32(len(p.names)), int32(len(p.names) + len(raw))}}
	p.names = append(p.names, raw...)
	m.body.from = int32(len(p.out))
	p.out = appendCanonicalString(p.out, raw)
	p.blanks()
	if !p.take(':') {
		return p.fail(p.pos, codeSyntax, "':' belongs here")
	}
	p.out = append(p.out, ':')
	p.steps = append(p.steps, parserStep{named: true, name: m.name})
	if err := p.value(); err != nil {
		return err
	}
	p.steps = p.steps[:len(p.steps)-1]
	m.body.to = int32(len(p.out))
	p.members = append(p.members, m)
	return nil
}

func (p *canonicalParser) literal() error {
	rest := p.src[p.pos:]
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(rest, []byte(word)) {
			p.pos += len(word)
			p.out = append(p.out, word...)
			return nil
		}
	}
	for _, word := range []string{"NaN", "Infinity", "+Infinity"} {
		if bytes.HasPrefix(rest, []byte(word)) {
			return p.fail(p.pos, codeNotFinite, "NaN and Infinity are not JSON; leave the number out or send text")
		}
	}
	return p.fail(p.pos, codeSyntax, "a value belongs here: {, [, a string in double quotes, a number, true, false or null")
}

func (p *canonicalParser) blanks() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

func (p *canonicalParser) take(c byte) bool {
	if p.pos < len(p.src) && p.src[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *canonicalParser) fail(at int, code, problem string) error {
	steps := make([]pointerStep, len(p.steps))
	for i, s := range p.steps {
		if s.named {
			steps[i].name = p.nameAt(s.name)
		} else {
			steps[i].index = s.index
		}
	}
	return &CanonicalError{Offset: at, Pointer: pointerTo(steps), Code: code, Problem: problem}
}
