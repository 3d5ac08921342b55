package onceguard

import (
	"strconv"
	"strings"
)

// CanonicalVersion is the version of the form that [CanonicalJSON] writes. A
// change in what is written for any document needs another version.
const CanonicalVersion = 1

// Bounds of [CanonicalJSON]. What is past them is refused, never cut.
const (
	// MaxCanonicalLen is the greatest length in bytes of a document, and of
	// its canonical form.
	MaxCanonicalLen = 8 << 20
	// MaxCanonicalDepth is how deep arrays and objects may nest.
	MaxCanonicalDepth = 128
	// MaxNumberDigits is how many significant digits a number may have.
	MaxNumberDigits = 4096
	// MaxNumberExponent bounds the power of ten of a number's first
	// significant digit, both ways.
	MaxNumberExponent = 9999
)

// CanonicalJSON returns the one form of a JSON document, so that documents
// which mean the same are the same bytes. It is version [CanonicalVersion].
//
// No blanks are written. Strings and the order of names are as in RFC 8785:
// names sort by UTF-16 code units; only '"', '\\' and characters below U+0020
// are escaped, with the short escapes \b \t \n \f \r where they exist and
// lower-case \u00xx elsewhere. Text is not normalised.
//
// Numbers are exact decimals of any size, and each value has one text: 1, 1.0,
// 1e0 and 10e-1 are 1; -0 is 0; 9007199254740993 stays as it is, where RFC
// 8785 would make it equal to its neighbour. The layout is that of ECMAScript:
// plain digits for values from 1e-6 to below 1e21, such as 0.000001 or
// 123.45, and d.ddde+21 or 1e-7 outside. So the result equals RFC 8785's
// wherever each number is the shortest text of a double.
//
// Refused with a [*CanonicalError]: a name given twice in an object (compared
// after unescaping), lone surrogates, invalid UTF-8, NaN and Infinity, a byte
// order mark, anything after the document, and anything past the bounds above.
func CanonicalJSON(doc []byte) ([]byte, error) {
	if len(doc) > MaxCanonicalLen {
		return nil, &CanonicalError{Offset: MaxCanonicalLen, Code: codeTooLarge, Problem: "document of " + strconv.Itoa(len(doc)) + " bytes, at most " + strconv.Itoa(MaxCanonicalLen) + " are allowed"}
	}
	p := canonicalParser{}
	return p.parse(doc)
}

// parse is CanonicalJSON with the parser's buffers, which may have been used
// before. The output is always a new one.
func (p *canonicalParser) parse(doc []byte) ([]byte, error) {
	p.src, p.pos, p.depth, p.out = doc, 0, 0, make([]byte, 0, len(doc))
	p.names, p.members, p.steps = p.names[:0], p.members[:0], p.steps[:0]
	if err := p.document(); err != nil {
		return nil, err
	}
	if len(p.out) > MaxCanonicalLen {
		return nil, &CanonicalError{Offset: len(doc), Code: codeTooLarge, Problem: "canonical form of " + strconv.Itoa(len(p.out)) + " bytes, at most " + strconv.Itoa(MaxCanonicalLen) + " are allowed"}
	}
	return p.out, nil
}

// Codes of a [CanonicalError]. The cross-language vectors use the first ones.
const (
	codeSyntax        = "syntax"
	codeTrailing      = "trailing-data"
	codeDuplicate     = "duplicate-name"
	codeLoneSurrogate = "lone-surrogate"
	codeInvalidUTF8   = "invalid-utf8"
	codeNotFinite     = "not-finite"
	codeDigits        = "too-many-digits"
	codeExponent      = "exponent-out-of-range"
	codeTooDeep       = "too-deep"
	codeTooLarge      = "too-large"
	// The next ones come from Go values only.
	codeUnsupported = "unsupported-type"
	codeCycle       = "cycle"
	codeAmbiguous   = "ambiguous-field"
	codeMarshaler   = "marshaler"
)

// CanonicalError says why an input has no canonical form. Nothing was claimed
// and no effect ran. It names places, never values of the input.
type CanonicalError struct {
	// Offset is the byte of the document at fault, from 0; -1 for a Go value.
	Offset int
	// Pointer is the place as a JSON pointer (RFC 6901), "" for the whole. A
	// very long one is cut and ends in "…".
	Pointer string
	// Code names the kind of fault for programs: syntax, trailing-data,
	// duplicate-name, lone-surrogate, invalid-utf8, not-finite,
	// too-many-digits, exponent-out-of-range, too-deep or too-large, and for
	// Go values also unsupported-type, cycle, ambiguous-field or marshaler.
	Code string
	// Problem says what was wrong and what would be right.
	Problem string
	// Err is the error of a MarshalJSON or MarshalText method, if any.
	Err error
}

// Error implements error.
func (e *CanonicalError) Error() string {
	var b strings.Builder
	b.WriteString("onceguard: input has no canonical form: ")
	if e.Offset >= 0 {
		b.WriteString("byte ")
		b.WriteString(strconv.Itoa(e.Offset))
		b.WriteString(", ")
	}
	if e.Pointer == "" {
		b.WriteString("top level")
	} else {
		b.WriteString("at ")
		b.WriteString(strconv.Quote(e.Pointer))
	}
	b.WriteString(": ")
	b.WriteString(e.Problem)
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the error of a MarshalJSON or MarshalText method, or nil.
func (e *CanonicalError) Unwrap() error { return e.Err }

// pointerStep is one step of a JSON pointer: a name, or an index if name is nil.
type pointerStep struct {
	name  []byte
	index int
}

// pointerTo writes a JSON pointer. Names come from outside, so the length is
// bounded.
func pointerTo(steps []pointerStep) string {
	const most = 256
	var b []byte
	for _, s := range steps {
		b = append(b, '/')
		if s.name == nil {
			b = strconv.AppendInt(b, int64(s.index), 10)
			continue
		}
		for _, c := range s.name {
			switch c {
			case '~':
				b = append(b, "~0"...)
			case '/':
				b = append(b, "~1"...)
			default:
				b = append(b, c)
			}
			if len(b) > most {
				break
			}
		}
		if len(b) > most {
			return strings.ToValidUTF8(string(b[:most]), "") + "…"
		}
	}
	return string(b)
}
