package onceguard

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// Codec turns results into the bytes that a receipt keeps. Decode must accept
// everything that Encode wrote in earlier releases, and must neither change nor
// keep data, which calls share.
type Codec interface {
	Name() string // recorded with every result, such as "json"
	Encode(v any) ([]byte, error)
	Decode(data []byte, v any) error
}

// JSON is the default codec, encoding/json without HTML escaping.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

func (jsonCodec) Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

// Raw keeps byte slices as they are: for adapters whose results are already
// bytes. It encodes []byte and nothing else.
var Raw Codec = rawCodec{}

type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

func (rawCodec) Encode(v any) ([]byte, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, fmt.Errorf("the raw codec encodes []byte, not %T", v)
	}
	return b, nil
}

func (rawCodec) Decode(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("the raw codec decodes into *[]byte, not %T", v)
	}
	*p = bytes.Clone(data)
	return nil
}

// storable reports, before the effect starts, whether values of t can be
// stored at all. What only shows in a value (NaN, a cycle) is found after the
// effect and leaves a receipt without a body.
func storable(c Codec, t reflect.Type) error {
	if c.Name() != JSON.Name() || t == nil {
		return nil
	}
	if _, known := storableTypes.Load(t); known {
		return nil
	}
	err := jsonable(t, map[reflect.Type]bool{})
	if err == nil {
		storableTypes.Store(t, true)
	}
	return err
}

// storableTypes are the types found storable as JSON; a program has few.
var storableTypes sync.Map

var (
	encoder     = reflect.TypeFor[json.Marshaler]()
	textEncoder = reflect.TypeFor[encoding.TextMarshaler]()
)

// marshals reports whether t, or a pointer to it, encodes itself.
func marshals(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Implements(encoder) || p.Implements(encoder) || t.Implements(textEncoder) || p.Implements(textEncoder)
}

func jsonable(t reflect.Type, seen map[reflect.Type]bool) error {
	if seen[t] || marshals(t) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("the result type holds a %s, which JSON cannot store", t)
	case reflect.Map:
		if k := t.Key(); k.Kind() != reflect.String && !k.Implements(textEncoder) && (k.Kind() < reflect.Int || k.Kind() > reflect.Uintptr) {
			return fmt.Errorf("the result type holds a map with keys of type %s, which JSON cannot store", k)
		}
		return jsonable(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return jsonable(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Tag.Get("json") == "-" || (!f.IsExported() && !f.Anonymous) {
				continue
			}
			if err := jsonable(f.Type, seen); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	}
	return nil
}
