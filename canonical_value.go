package onceguard

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// canonicalValue returns the canonical JSON of a Go input. It follows the tags
// and methods of encoding/json (names, "-", "string", omitempty, omitzero,
// embedded structs, json.Marshaler, encoding.TextMarshaler, RawMessage, Number,
// []byte as base64), and differs where identity asks for it:
//
//   - A struct field that is zero is left out, at every depth, so that a field
//     added in a later release does not turn each retry into a mismatch. Zero
//     also means an empty slice or map and a struct that would be {}. A pointer
//     or interface that is set stays, also to a zero value: that is how an
//     input says "set to 0". Entries of maps, slices and arrays stay.
//   - Outside struct fields, nil slices are [] and nil maps {}, as empty ones.
//   - A time.Time is its instant in UTC: the zone of a host is not identity.
//   - Methods on the pointer count also where encoding/json could not reach
//     them, so T and *T give one form.
//   - Refused instead of ignored or mended: chan, func, complex, uintptr, NaN,
//     Infinity, invalid UTF-8, cycles, two fields with one name, and structs
//     whose fields are all unexported and that have no method of their own:
//     their content would silently not count.
//
// Floats are their shortest exact decimals. As in encoding/json, a MarshalJSON
// that an outer struct inherits from an embedded one speaks for the whole.
// Errors are *CanonicalError with a pointer to the place and Offset -1.
func canonicalValue(v any) ([]byte, error) {
	w := valueWriters.Get().(*valueWriter)
	defer w.release()
	if err := w.write(reflect.ValueOf(v)); err != nil {
		return nil, err
	}
	// The writer's text is in Go's order and spelling; the second pass sorts,
	// refuses entries of a map that share a name, and checks the bounds.
	out, err := w.second.parse(w.out)
	if err != nil {
		var ce *CanonicalError
		if errors.As(err, &ce) {
			ce.Offset = -1
		}
	}
	return out, err
}

type valueWriter struct {
	out    []byte
	steps  []pointerStep
	depth  int
	open   map[openRef]bool // what is being written now, to see cycles
	second canonicalParser
}

// valueWriters saves the buffers of one input for the next.
var valueWriters = sync.Pool{New: func() any { return new(valueWriter) }}

// release gives the writer back, without the input's text and without buffers
// that a rare large input made.
func (w *valueWriter) release() {
	const most = 64 << 10
	if cap(w.out) > most || cap(w.second.names) > most || cap(w.second.scratch) > most || cap(w.second.members) > most/8 {
		return
	}
	for _, text := range [][]byte{w.out, w.second.names, w.second.scratch} {
		clear(text[:cap(text)])
	}
	clear(w.steps[:cap(w.steps)])
	p := &w.second
	*w = valueWriter{
		out: w.out[:0], steps: w.steps[:0],
		second: canonicalParser{names: p.names[:0], members: p.members[:0], steps: p.steps[:0], scratch: p.scratch[:0]},
	}
	valueWriters.Put(w)
}

type openRef struct {
	typ reflect.Type
	ptr uintptr
	len int
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	numberType = reflect.TypeFor[json.Number]()
)

func (w *valueWriter) write(v reflect.Value) error {
	if !v.IsValid() {
		w.out = append(w.out, "null"...)
		return nil
	}
	if len(w.out) > MaxCanonicalLen {
		return w.fail(codeTooLarge, "longer than "+strconv.Itoa(MaxCanonicalLen)+" bytes as JSON")
	}
	switch v.Kind() {
	case reflect.Interface:
		return w.write(v.Elem())
	case reflect.Pointer:
		if v.IsNil() {
			w.out = append(w.out, "null"...)
			return nil
		}
		return w.inside(openRef{v.Type(), v.Pointer(), 0}, func() error { return w.write(v.Elem()) })
	}
	switch v.Type() {
	case timeType:
		return w.time(v.Interface().(time.Time))
	case rawType:
		return w.rawMessage(v.Bytes())
	case numberType:
		return w.number(v.String())
	}
	if how := marshalerOf(v.Type()); how != noMarshaler {
		return w.marshaler(v, how)
	}
	return w.plain(v)
}

func (w *valueWriter) plain(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return w.fail(codeNotFinite, "NaN and Infinity have no canonical form; leave the field out or use text")
		}
		w.out = strconv.AppendFloat(w.out, f, 'e', -1, v.Type().Bits())
	case reflect.String:
		return w.text(v.String())
	case reflect.Slice:
		return w.slice(v)
	case reflect.Array:
		return w.nested(func() error { return w.elements(v) })
	case reflect.Map:
		return w.inside(openRef{v.Type(), v.Pointer(), 0}, func() error {
			return w.nested(func() error { return w.entries(v) })
		})
	case reflect.Struct:
		return w.nested(func() error { return w.fields(v) })
	default:
		return w.fail(codeUnsupported, "a "+v.Type().String()+` cannot be part of an input's identity; tag the field json:"-" or narrow the input with Identity`)
	}
	return nil
}

func (w *valueWriter) slice(v reflect.Value) error {
	elem := v.Type().Elem()
	if elem.Kind() == reflect.Uint8 && marshalerOf(elem) == noMarshaler {
		w.out = append(w.out, '"')
		w.out = base64.StdEncoding.AppendEncode(w.out, v.Bytes())
		w.out = append(w.out, '"')
		return nil
	}
	return w.inside(openRef{v.Type(), v.Pointer(), v.Len()}, func() error {
		return w.nested(func() error { return w.elements(v) })
	})
}

func (w *valueWriter) elements(v reflect.Value) error {
	w.out = append(w.out, '[')
	for i := range v.Len() {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.at(pointerStep{index: i}, v.Index(i)); err != nil {
			return err
		}
	}
	w.out = append(w.out, ']')
	return nil
}

func (w *valueWriter) text(s string) error {
	if !utf8.ValidString(s) {
		return w.fail(codeInvalidUTF8, "invalid UTF-8; use []byte for binary data")
	}
	w.out = appendCanonicalString(w.out, s)
	return nil
}

func (w *valueWriter) time(t time.Time) error {
	t = t.UTC()
	if y := t.Year(); y < 0 || y > 9999 {
		return w.fail(codeUnsupported, "time outside the years 0 to 9999, which RFC 3339 cannot write")
	}
	w.out = append(w.out, '"')
	w.out = t.AppendFormat(w.out, time.RFC3339Nano)
	w.out = append(w.out, '"')
	return nil
}

// at writes a value one step further down.
func (w *valueWriter) at(step pointerStep, v reflect.Value) error {
	w.steps = append(w.steps, step)
	err := w.write(v)
	w.steps = w.steps[:len(w.steps)-1]
	return err
}

func (w *valueWriter) nested(write func() error) error {
	if w.depth == MaxCanonicalDepth {
		return w.fail(codeTooDeep, "nested deeper than "+strconv.Itoa(MaxCanonicalDepth))
	}
	w.depth++
	err := write()
	w.depth--
	return err
}

// inside refuses to write something that is being written already. Empty
// slices share addresses and hold nothing, so they are no cycle.
func (w *valueWriter) inside(ref openRef, write func() error) error {
	if w.open[ref] && ref.ptr != 0 {
		return w.fail(codeCycle, "value that contains itself")
	}
	if w.open == nil {
		w.open = make(map[openRef]bool)
	}
	w.open[ref] = true
	err := write()
	delete(w.open, ref)
	return err
}

func (w *valueWriter) fail(code, problem string) error {
	return &CanonicalError{Offset: -1, Pointer: pointerTo(w.steps), Code: code, Problem: problem}
}
