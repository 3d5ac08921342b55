package pgstore

import (
	"encoding/binary"
	"time"
)

// Type numbers of PostgreSQL (pg_type.oid) that arrays name.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidTimestamptz = 1184
)

// serverEpoch is 2000-01-01 in microseconds of Unix time: from there the server
// counts.
const serverEpoch = 946_684_800_000_000

var binaryFormat = []int16{1}

// params are the parameters of one statement in the wire's binary form. Writing
// them by hand costs one buffer for a batch; through pgx each would cost
// several allocations for each member.
type params struct {
	arena []byte
	list  [][]byte
}

func (p *params) reset() { p.arena, p.list = p.arena[:0], p.list[:0] }

// add takes what encode appends as the next parameter.
func (p *params) add(encode func([]byte) []byte) {
	from := len(p.arena)
	p.arena = encode(p.arena)
	p.list = append(p.list, p.arena[from:len(p.arena):len(p.arena)])
}

// bytes passes b itself; nil is NULL.
func (p *params) bytes(b []byte) { p.list = append(p.list, b) }

func (p *params) text(s string) {
	p.add(func(b []byte) []byte { return append(b, s...) })
}

func (p *params) int8(n int64) {
	p.add(func(b []byte) []byte { return binary.BigEndian.AppendUint64(b, uint64(n)) })
}

func (p *params) int4(n int32) {
	p.add(func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(n)) })
}

func (p *params) int2(n int16) {
	p.add(func(b []byte) []byte { return binary.BigEndian.AppendUint16(b, uint16(n)) })
}

func (p *params) bool(v bool) {
	p.add(func(b []byte) []byte { return append(b, bit(v)) })
}

func (p *params) time(t *time.Time) {
	if t == nil {
		p.bytes(nil)
		return
	}
	p.int8(t.UnixMicro() - serverEpoch)
}

func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// array passes n elements; element appends the i-th with its length.
func (p *params) array(oid uint32, n int, element func(b []byte, i int) []byte) {
	p.add(func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, 1) // dimensions
		b = binary.BigEndian.AppendUint32(b, 1) // may hold NULLs
		b = binary.BigEndian.AppendUint32(b, oid)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = binary.BigEndian.AppendUint32(b, 1) // the first index
		for i := range n {
			b = element(b, i)
		}
		return b
	})
}

const null = ^uint32(0) // the length of a NULL

func elemBytes(b, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, null)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func elemText(b []byte, v string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

func elemInt8(b []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(v))
}

func elemInt4(b []byte, v int32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 4), uint32(v))
}

func elemInt2(b []byte, v int16) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(b, 2), uint16(v))
}

func elemBool(b []byte, v bool) []byte {
	return append(binary.BigEndian.AppendUint32(b, 1), bit(v))
}

func elemTime(b []byte, t *time.Time) []byte {
	if t == nil {
		return binary.BigEndian.AppendUint32(b, null)
	}
	return elemInt8(b, t.UnixMicro()-serverEpoch)
}
