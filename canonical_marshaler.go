package onceguard

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
)

// marshalerKind says which method of a type, if any, speaks for it.
type marshalerKind uint8

const (
	noMarshaler marshalerKind = iota
	jsonMarshaler
	textMarshaler
)

var (
	jsonMarshalerType = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// marshalerOf looks at the pointer type, whose method set has those of the
// value as well: what an input means must not depend on whether the caller
// passed T or *T.
func marshalerOf(t reflect.Type) marshalerKind {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return noMarshaler
	}
	p := reflect.PointerTo(t)
	switch {
	case p.Implements(jsonMarshalerType):
		return jsonMarshaler
	case p.Implements(textMarshalerType):
		return textMarshaler
	}
	return noMarshaler
}

// pointerToCopy makes methods on the pointer callable. The copy is shallow.
func pointerToCopy(v reflect.Value) any {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p.Interface()
}

func (w *valueWriter) marshaler(v reflect.Value, how marshalerKind) error {
	if how == textMarshaler {
		text, err := pointerToCopy(v).(encoding.TextMarshaler).MarshalText()
		if err != nil {
			return w.failBy(v, "MarshalText", err)
		}
		return w.text(string(text))
	}
	doc, err := pointerToCopy(v).(json.Marshaler).MarshalJSON()
	if err != nil {
		return w.failBy(v, "MarshalJSON", err)
	}
	return w.document(doc)
}

func (w *valueWriter) rawMessage(doc []byte) error {
	if len(doc) == 0 {
		w.out = append(w.out, "null"...)
		return nil
	}
	return w.document(doc)
}

// document writes JSON made elsewhere. It is checked on its own, so that no
// text can reach out of its place in the input.
func (w *valueWriter) document(doc []byte) error {
	canonical, err := CanonicalJSON(doc)
	if err != nil {
		return w.under(err)
	}
	w.out = append(w.out, canonical...)
	return nil
}

func (w *valueWriter) number(s string) error {
	if s == "" {
		s = "0" // as encoding/json does
	}
	if c := s[0]; c != '-' && (c < '0' || c > '9') {
		return w.fail(codeSyntax, "json.Number that is no number")
	}
	return w.document([]byte(s))
}

// under moves an error of a nested document to its place in the input.
func (w *valueWriter) under(err error) error {
	var ce *CanonicalError
	if !errors.As(err, &ce) {
		return err
	}
	moved := *ce
	moved.Pointer = pointerTo(w.steps) + ce.Pointer
	moved.Problem += " (JSON text held by the value, byte " + strconv.Itoa(ce.Offset) + ")"
	moved.Offset = -1
	return &moved
}

func (w *valueWriter) failBy(v reflect.Value, method string, cause error) error {
	return &CanonicalError{Offset: -1, Pointer: pointerTo(w.steps), Code: codeMarshaler, Problem: v.Type().String() + "." + method + " failed", Err: cause}
}
