package onceguard

import "unicode/utf8"

// rawString reads a string at its opening quote and returns its text without
// escapes. The result is valid until the next call.
func (p *canonicalParser) rawString() ([]byte, error) {
	open := p.pos
	p.pos++
	start := p.pos
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		if c == '"' {
			p.pos++
			return p.src[start : p.pos-1], nil
		}
		if c == '\\' {
			return p.escapedString(open, start)
		}
		if err := p.character(c); err != nil {
			return nil, err
		}
	}
	return nil, p.fail(open, codeSyntax, "string without its closing quote")
}

// escapedString goes on where rawString met the first escape.
func (p *canonicalParser) escapedString(open, start int) ([]byte, error) {
	text := append(p.scratch[:0], p.src[start:p.pos]...)
	for p.pos < len(p.src) {
		c := p.src[p.pos]
		switch c {
		case '"':
			p.pos++
			p.scratch = text
			return text, nil
		case '\\':
			r, err := p.escape()
			if err != nil {
				return nil, err
			}
			text = utf8.AppendRune(text, r)
		default:
			from := p.pos
			if err := p.character(c); err != nil {
				return nil, err
			}
			text = append(text, p.src[from:p.pos]...)
		}
	}
	return nil, p.fail(open, codeSyntax, "string without its closing quote")
}

// character steps over one unescaped character.
func (p *canonicalParser) character(c byte) error {
	if c < 0x20 {
		return p.fail(p.pos, codeSyntax, "control character in a string; escape it")
	}
	if c < utf8.RuneSelf {
		p.pos++
		return nil
	}
	r, size := utf8.DecodeRune(p.src[p.pos:])
	if r == utf8.RuneError && size == 1 {
		return p.fail(p.pos, codeInvalidUTF8, "invalid UTF-8; send text as UTF-8 and binary data as base64")
	}
	p.pos += size
	return nil
}

// escape reads one escape, or two that form a surrogate pair.
func (p *canonicalParser) escape() (rune, error) {
	at := p.pos
	if at+1 >= len(p.src) {
		return 0, p.fail(at, codeSyntax, "document ends inside an escape")
	}
	p.pos += 2
	switch c := p.src[at+1]; c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return p.unicodeEscape(at)
	}
	return 0, p.fail(at, codeSyntax, `unknown escape; the escapes are \" \\ \/ \b \f \n \r \t and \u with four hexadecimal digits`)
}

func (p *canonicalParser) unicodeEscape(at int) (rune, error) {
	r, ok := p.hex4(at + 2)
	if !ok {
		return 0, p.fail(at, codeSyntax, `\u needs four hexadecimal digits`)
	}
	p.pos = at + 6
	const lone = "surrogate without its other half, which is no character"
	switch {
	case 0xDC00 <= r && r <= 0xDFFF:
		return 0, p.fail(at, codeLoneSurrogate, lone)
	case r < 0xD800 || r > 0xDBFF:
		return r, nil
	}
	if p.pos+1 >= len(p.src) || p.src[p.pos] != '\\' || p.src[p.pos+1] != 'u' {
		return 0, p.fail(at, codeLoneSurrogate, lone)
	}
	low, ok := p.hex4(p.pos + 2)
	if !ok {
		return 0, p.fail(p.pos, codeSyntax, `\u needs four hexadecimal digits`)
	}
	if low < 0xDC00 || low > 0xDFFF {
		return 0, p.fail(at, codeLoneSurrogate, lone)
	}
	p.pos += 6
	return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, nil
}

func (p *canonicalParser) hex4(from int) (rune, bool) {
	if from+4 > len(p.src) {
		return 0, false
	}
	var r rune
	for _, c := range p.src[from : from+4] {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// appendCanonicalString writes valid UTF-8 text as RFC 8785 section 3.2.2.2.
func appendCanonicalString[T string | []byte](dst []byte, text T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := range len(text) {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, `\b`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\n':
			dst = append(dst, `\n`...)
		case '\f':
			dst = append(dst, `\f`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, text[from:]...)
	return append(dst, '"')
}
