package httpguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"

	"github.com/onceguard/onceguard"
)

// Why a response's body is not in its receipt.
const (
	gapStreamed = "streamed"
	gapHijacked = "hijacked"
	gapTooLarge = "too-large"
)

// response is what a receipt keeps of a handler's answer.
type response struct {
	status int
	fields []field
	body   []byte
	// gap says why there is no body; length and digest then describe what was
	// sent of it.
	gap    string
	length int64
	digest [32]byte
}

func (p response) header() http.Header {
	h := make(http.Header, len(p.fields))
	for _, f := range p.fields {
		h[f.name] = f.values
	}
	return h
}

// responses is the codec of response. The form is a version byte and then,
// each number a uvarint and each text after its length: status, gap, the number
// of headers, per header its name, the number of values and the values; then the
// body, or for a gap its length and the 32 bytes of its digest. Bytes are kept
// as they are: a replay must not re-encode.
var responses onceguard.Codec = responseCodec{}

type responseCodec struct{}

const responseVersion = 1

// Name is recorded with every receipt.
func (responseCodec) Name() string { return "http-response" }

// Encode writes a response.
func (responseCodec) Encode(v any) ([]byte, error) {
	p, ok := v.(response)
	if !ok {
		return nil, fmt.Errorf("the http-response codec encodes responses, not %T", v)
	}
	b := make([]byte, 0, 64+len(p.body))
	b = append(b, responseVersion)
	b = binary.AppendUvarint(b, uint64(p.status))
	b = appendText(b, p.gap)
	b = binary.AppendUvarint(b, uint64(len(p.fields)))
	for _, f := range p.fields {
		b = appendText(b, f.name)
		b = binary.AppendUvarint(b, uint64(len(f.values)))
		for _, v := range f.values {
			b = appendText(b, v)
		}
	}
	if p.gap != "" {
		b = binary.AppendUvarint(b, uint64(p.length))
		return append(b, p.digest[:]...), nil
	}
	return appendText(b, string(p.body)), nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decode reads what Encode wrote, and nothing else.
func (responseCodec) Decode(data []byte, v any) error {
	p, ok := v.(*response)
	if !ok {
		return fmt.Errorf("the http-response codec decodes into a response, not %T", v)
	}
	if len(data) == 0 || data[0] != responseVersion {
		return errors.New("not a response of a version that is known here")
	}
	d := decoder{rest: data[1:]}
	got := response{status: int(d.number(999)), gap: d.text()}
	for range d.number(uint64(len(d.rest))) {
		f := field{name: d.text()}
		for range d.number(uint64(len(d.rest))) {
			f.values = append(f.values, d.text())
		}
		got.fields = append(got.fields, f)
	}
	if got.gap != "" {
		got.length = int64(d.number(math.MaxInt64))
		copy(got.digest[:], d.bytes(len(got.digest)))
	} else {
		got.body = d.bytes(int(d.number(uint64(len(d.rest)))))
	}
	if d.bad || len(d.rest) != 0 || got.status < 100 {
		return errors.New("a damaged response")
	}
	*p = got
	return nil
}

// decoder reads and remembers the first failure.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number(limit uint64) uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 || n > limit {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.rest) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string { return string(d.bytes(int(d.number(uint64(len(d.rest)))))) }

func (d *decoder) fail() { d.bad, d.rest = true, nil }
