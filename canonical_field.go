package onceguard

import (
	"encoding"
	"reflect"
	"strconv"
	"time"
)

// fields writes a struct without its zero fields.
func (w *valueWriter) fields(v reflect.Value) error {
	plan := planOf(v.Type())
	if plan.problem != "" {
		if plan.at != "" {
			w.steps = append(w.steps, pointerStep{name: []byte(plan.at)})
		}
		return w.fail(plan.code, plan.problem)
	}
	w.out = append(w.out, '{')
	first := true
	for _, f := range plan.fields {
		fv, ok := fieldByIndex(v, f.index)
		if !ok || f.leftOut(fv) {
			continue
		}
		if !first {
			w.out = append(w.out, ',')
		}
		first = false
		w.out = append(appendCanonicalString(w.out, f.name), ':')
		if err := w.field(f, fv); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *valueWriter) field(f planField, v reflect.Value) error {
	from := len(w.out)
	if err := w.at(pointerStep{name: f.step}, v); err != nil {
		return err
	}
	if !f.quoted || string(w.out[from:]) == "null" {
		return nil
	}
	// The second pass does not look inside strings, so the quoted literal
	// must already be in its one form.
	literal, err := CanonicalJSON(w.out[from:])
	if err != nil {
		return w.under(err)
	}
	w.out = appendCanonicalString(w.out[:from], literal)
	return nil
}

// fieldByIndex is false if the way leads through a nil embedded pointer.
func fieldByIndex(v reflect.Value, index []int) (reflect.Value, bool) {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, true
}

// leftOut reports whether a struct field counts as never set. An IsZero method
// is asked only where the tag says omitzero: a Money.IsZero that looks at the
// amount alone would make no difference between currencies.
func (f planField) leftOut(v reflect.Value) bool {
	if f.omitzero && v.CanInterface() && !(v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer && v.IsNil()) {
		if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
		if z, ok := pointerToCopy(v).(interface{ IsZero() bool }); ok {
			return z.IsZero()
		}
	}
	return isUnset(v)
}

func isUnset(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return v.IsNil()
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Float32, reflect.Float64:
		return v.Float() == 0 // -0 as well
	case reflect.Array:
		if marshalerOf(v.Type()) != noMarshaler {
			return v.IsZero()
		}
		for i := range v.Len() {
			if !isUnset(v.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		return isUnsetStruct(v)
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		return false // refused by type, whether set or not
	}
	return v.IsZero()
}

func isUnsetStruct(v reflect.Value) bool {
	if v.Type() == timeType {
		return v.Interface().(time.Time).IsZero()
	}
	if marshalerOf(v.Type()) != noMarshaler {
		return v.IsZero()
	}
	plan := planOf(v.Type())
	if plan.problem != "" {
		return false // so that the writer meets it and says so
	}
	for _, f := range plan.fields {
		if fv, ok := fieldByIndex(v, f.index); ok && !f.leftOut(fv) {
			return false
		}
	}
	return true
}

// entries writes a map. Names are as in encoding/json: strings, integers, and
// types with MarshalText.
func (w *valueWriter) entries(v reflect.Value) error {
	w.out = append(w.out, '{')
	first := true
	for it := v.MapRange(); it.Next(); {
		name, err := w.entryName(it.Key())
		if err != nil {
			return err
		}
		if !first {
			w.out = append(w.out, ',')
		}
		first = false
		from := len(w.out)
		if err := w.text(name); err != nil {
			w.out = w.out[:from]
			return err
		}
		w.out = append(w.out, ':')
		if err := w.at(pointerStep{name: append([]byte{}, name...)}, it.Value()); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	return nil
}

func (w *valueWriter) entryName(k reflect.Value) (string, error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if k.Type() == timeType {
		// As for values: the instant counts, the zone does not.
		return k.Interface().(time.Time).UTC().Format(time.RFC3339Nano), nil
	}
	if m, ok := k.Interface().(encoding.TextMarshaler); ok {
		if k.Kind() == reflect.Pointer && k.IsNil() {
			return "", nil
		}
		text, err := m.MarshalText()
		if err != nil {
			return "", w.failBy(k, "MarshalText", err)
		}
		return string(text), nil
	}
	switch k.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(k.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return "", w.fail(codeUnsupported, "a map with keys of type "+k.Type().String()+" has no JSON form; use string or integer keys")
}
