package onceguard

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// partValue turns a value given to KeyOf into its text. Kinds are decided by
// the type alone, not by String methods: those are made for people and change
// with a release, and a changed text would be a new key.
func partValue(v any) (text, problem, mend string) {
	switch v := v.(type) {
	case string:
		return v, "", ""
	case int:
		return strconv.Itoa(v), "", ""
	case int64:
		return strconv.FormatInt(v, 10), "", ""
	case bool:
		return strconv.FormatBool(v), "", ""
	case nil:
		return "", "value is nil", "give the identifier itself"
	case json.Number:
		// A string kind, but a number in disguise: 1 and 1.0 would be two keys.
		if !isPlainInteger(string(v)) {
			return "", "json.Number that is not a plain integer", "pass an integer, or text that never changes its spelling"
		}
		return string(v), "", ""
	case time.Time:
		return "", "value is a time.Time", "a time differs from one try to the next; if a date names the effect, pass it as text, as in t.Format(time.DateOnly), and pass an event's own time to WithIssuedAt"
	case time.Duration:
		return "", "value is a time.Duration", "pass an integer and name its unit, as in KeyOf(\"minutes\", 5)"
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.String:
		return rv.String(), "", ""
	case reflect.Bool:
		return strconv.FormatBool(rv.Bool()), "", ""
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(rv.Int(), 10), "", ""
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(rv.Uint(), 10), "", ""
	case reflect.Array:
		return arrayValue(v, rv)
	}
	return "", "value is a " + typeName(v), refusalMend(rv.Kind())
}

// arrayValue accepts UUID-like types: an array of bytes with its own text.
// All zero means that nobody filled it in, like an empty string.
func arrayValue(v any, rv reflect.Value) (text, problem, mend string) {
	m, ok := v.(encoding.TextMarshaler)
	if !ok || rv.Type().Elem().Kind() != reflect.Uint8 {
		return "", "value is a " + typeName(v) + " without a text of its own", "pass it as hexadecimal text"
	}
	if rv.IsZero() {
		return "", "value is an all-zero " + typeName(v), "give the identifier itself: an unset one would be shared by requests that have nothing in common"
	}
	// A third-party method must not turn building a key into a panic.
	defer func() {
		if r := recover(); r != nil {
			text, problem, mend = "", typeName(v)+".MarshalText panicked", "pass the identifier as text"
		}
	}()
	b, err := m.MarshalText()
	if err != nil {
		return "", typeName(v) + ".MarshalText failed: " + quoteShort(err.Error()), "pass the identifier as text"
	}
	return string(b), "", ""
}

func refusalMend(k reflect.Kind) string {
	switch k {
	case reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return "floats have many spellings and round; pass an integer in the smallest unit, or text"
	case reflect.Pointer:
		return "pass what it points to (for a big integer, its String())"
	case reflect.Struct, reflect.Map, reflect.Slice:
		return "pass its identifying fields, each under its own name"
	default:
		return "pass a string, an integer or a bool"
	}
}

func typeName(v any) string {
	if v == nil {
		return "nil"
	}
	return fmt.Sprintf("%T", v)
}

func isPlainInteger(s string) bool {
	digits := s
	if len(digits) > 0 && digits[0] == '-' {
		digits = digits[1:]
	}
	if digits == "" || digits[0] == '0' && s != "0" {
		return false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return false
		}
	}
	return true
}
