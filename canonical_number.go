package onceguard

import (
	"bytes"
	"strconv"
)

// number reads a number of RFC 8259 section 6 and writes its canonical text.
func (p *canonicalParser) number() error {
	at := p.pos
	negative := p.take('-')
	whole := p.digits()
	switch {
	case len(whole) == 0 && bytes.HasPrefix(p.src[p.pos:], []byte("Infinity")):
		return p.fail(at, codeNotFinite, "NaN and Infinity are not JSON; leave the number out or send text")
	case len(whole) == 0:
		return p.fail(p.pos, codeSyntax, "a digit belongs after '-'")
	case len(whole) > 1 && whole[0] == '0':
		return p.fail(at, codeSyntax, "number with a leading zero")
	}
	var fraction, exponent []byte
	if p.take('.') {
		if fraction = p.digits(); len(fraction) == 0 {
			return p.fail(p.pos, codeSyntax, "a digit belongs after '.'")
		}
	}
	down := false
	if p.take('e') || p.take('E') {
		down = p.take('-')
		if !down {
			p.take('+')
		}
		if exponent = p.digits(); len(exponent) == 0 {
			return p.fail(p.pos, codeSyntax, "a digit belongs in the exponent")
		}
	}
	code := p.appendNumber(negative, whole, fraction, exponent, down)
	switch code {
	case codeDigits:
		return p.fail(at, code, "number with more than "+strconv.Itoa(MaxNumberDigits)+" significant digits; send it as a string")
	case codeExponent:
		return p.fail(at, code, "number beyond 1e±"+strconv.Itoa(MaxNumberExponent)+"; send it as a string")
	}
	return nil
}

func (p *canonicalParser) digits() []byte {
	from := p.pos
	for p.pos < len(p.src) && '0' <= p.src[p.pos] && p.src[p.pos] <= '9' {
		p.pos++
	}
	return p.src[from:p.pos]
}

// appendNumber writes whole.fraction × 10^exponent, or returns the code of the
// bound it breaks. The value is brought to significant digits d (no zero at
// either end) and point, the place of the decimal point counted from the first
// of them: 0.d × 10^point. No arithmetic is done on the digits, so nothing is
// rounded, and the work is bounded by the length of the text.
func (p *canonicalParser) appendNumber(negative bool, whole, fraction, exponent []byte, down bool) (code string) {
	d := append(append(p.scratch[:0], whole...), fraction...)
	p.scratch = d
	point := int64(len(whole))
	significant := bytes.TrimLeft(d, "0")
	point -= int64(len(d) - len(significant))
	d = bytes.TrimRight(significant, "0")
	if len(d) == 0 {
		p.out = append(p.out, '0') // also -0 and 0e999999999999
		return ""
	}
	if len(d) > MaxNumberDigits {
		return codeDigits
	}
	exponent = bytes.TrimLeft(exponent, "0")
	if len(exponent) > 10 {
		// More than the digits of any document could make up for.
		return codeExponent
	}
	var shift int64
	for _, c := range exponent {
		shift = shift*10 + int64(c-'0')
	}
	if down {
		shift = -shift
	}
	point += shift
	if power := point - 1; power > MaxNumberExponent || power < -MaxNumberExponent {
		return codeExponent
	}
	if negative {
		p.out = append(p.out, '-')
	}
	p.out = appendDecimal(p.out, d, int(point))
	return ""
}

// appendDecimal lays out 0.d × 10^point as ECMA-262 Number::toString does.
func appendDecimal(dst, d []byte, point int) []byte {
	switch {
	case len(d) <= point && point <= 21:
		dst = append(dst, d...)
		return appendZeros(dst, point-len(d))
	case 0 < point && point <= 21:
		dst = append(append(dst, d[:point]...), '.')
		return append(dst, d[point:]...)
	case -6 < point && point <= 0:
		dst = appendZeros(append(dst, "0."...), -point)
		return append(dst, d...)
	}
	dst = append(dst, d[0])
	if len(d) > 1 {
		dst = append(append(dst, '.'), d[1:]...)
	}
	dst = append(dst, 'e')
	if point > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, int64(point-1), 10)
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}
