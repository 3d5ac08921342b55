package mcpwire

import (
	"bytes"
	"strconv"
)

// Null is the id of an answer to something whose id could not be read.
var Null = []byte("null")

// Codes of JSON-RPC errors.
const (
	CodeParse          = -32700 // no JSON
	CodeInvalidRequest = -32600 // no request that can be served
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeInternal       = -32603
)

// Result builds a response with a raw id and a raw result, on one line and
// without a line's end.
func Result(id, result []byte) []byte { return response(id, "result", result) }

// Failure builds a response with a raw id and a raw error object.
func Failure(id, failed []byte) []byte { return response(id, "error", failed) }

func response(id []byte, member string, value []byte) []byte {
	if id == nil {
		id = Null
	}
	b := make([]byte, 0, len(id)+len(value)+40)
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = append(b, id...)
	b = append(b, `,"`...)
	b = append(b, member...)
	b = append(b, `":`...)
	b = append(b, value...)
	return append(b, '}')
}

// ErrorObject builds a raw error object.
func ErrorObject(code int, message string) []byte {
	b := append([]byte(nil), `{"code":`...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, `,"message":`...)
	b = append(b, Quote(message)...)
	return append(b, '}')
}

// WithParams returns the message's bytes with other raw params in place of its
// own; everything else stays as it is. The message has params.
func (m *Message) WithParams(params []byte) []byte { return replace(m.Raw, m.Params, params) }

// WithResult returns the message's bytes with another raw result in place of its
// own. The message has a result.
func (m *Message) WithResult(result []byte) []byte { return replace(m.Raw, m.Result, result) }

// replace puts b in the place of part, which is a slice of whole.
func replace(whole, part, b []byte) []byte {
	at := cap(whole) - cap(part) // both end with the same array
	out := make([]byte, 0, len(whole)-len(part)+len(b))
	out = append(out, whole[:at]...)
	out = append(out, b...)
	return append(out, whole[at+len(part):]...)
}

// OneLine returns JSON without the line ends between its tokens, so that it fits
// on a line of its own. Inside strings there are none.
func OneLine(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if c != '\n' && c != '\r' {
			out = append(out, c)
		}
	}
	return out
}
