package onceguard

import "slices"

// span is a stretch of one of the parser's buffers. 32 bits are enough for
// MaxCanonicalLen and halve the memory of an object with very many members.
type span struct{ from, to int32 }

// member is one member of an object: where its name stands in the document, its
// unescaped name, and its canonical text in the output, without the comma.
type member struct {
	at   int32
	name span
	body span
}

// nameAt never returns nil: in a pointerStep, nil would mean an index.
func (p *canonicalParser) nameAt(s span) []byte {
	return append([]byte{}, p.names[s.from:s.to]...)
}

// sortMembers puts the members of the object whose first member begins at start
// of the output into order, in place, and refuses a name given twice. Members
// that come in order, as from a canonical document, are not moved.
func (p *canonicalParser) sortMembers(start int, members []member) error {
	name := func(m member) []byte { return p.names[m.name.from:m.name.to] }
	compare := func(a, b member) int {
		if c := compareUTF16(name(a), name(b)); c != 0 {
			return c
		}
		return int(a.at) - int(b.at)
	}
	moved := !slices.IsSortedFunc(members, compare)
	if moved {
		slices.SortFunc(members, compare)
	}
	second := -1
	for i := 1; i < len(members); i++ {
		if compareUTF16(name(members[i-1]), name(members[i])) == 0 && (second < 0 || members[i].at < members[second].at) {
			second = i
		}
	}
	if second >= 0 {
		m := members[second]
		p.steps = append(p.steps, parserStep{named: true, name: m.name})
		return p.fail(int(m.at), codeDuplicate, "name given twice in one object; readers disagree on which counts, so send it once")
	}
	if !moved {
		return nil
	}
	p.scratch = append(p.scratch[:0], p.out[start:]...)
	p.out = p.out[:start]
	for i, m := range members {
		if i > 0 {
			p.out = append(p.out, ',')
		}
		p.out = append(p.out, p.scratch[int(m.body.from)-start:int(m.body.to)-start]...)
	}
	return nil
}

// compareUTF16 orders two valid UTF-8 texts by their UTF-16 code units, as RFC
// 8785 section 3.2.3 does. That is the order of the bytes, except that
// characters from U+10000 on (first byte F0 or more) become surrogates
// D800-DFFF and so come before U+E000-U+FFFF (first byte EE or EF).
func compareUTF16(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x >= 0xEE && y >= 0xEE && (x >= 0xF0) != (y >= 0xF0) {
			return int(y) - int(x)
		}
		return int(x) - int(y)
	}
	return len(a) - len(b)
}
