package grpcguard

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// meaningVersion begins what is fingerprinted. Fingerprints outlive releases: a
// change of the form below needs another version, and retries of older requests
// would then be mismatches.
const meaningVersion = "grpc/1"

// meaning joins what a request means; every part carries its length.
func meaning(method, principal string, message []byte) []byte {
	var out []byte
	for _, part := range [][]byte{[]byte(meaningVersion), []byte(method), []byte(principal), message} {
		out = binary.BigEndian.AppendUint64(out, uint64(len(part)))
		out = append(out, part...)
	}
	return out
}

// Canonical returns the form in which requests are compared: the wire format with
// fields in the order of their numbers, map entries in the order of their encoded
// keys, and unknown fields kept among them. Fields that are not populated are left
// out. It depends on the message and its schema alone, not on the protobuf
// library's version or its luck with maps; and a field that the schema learns later
// mostly keeps its bytes. The form never changes.
//
// Not canonical are the bytes inside unknown fields and inside google.protobuf.Any.
func Canonical(m protoreflect.Message) ([]byte, error) {
	type field struct {
		number protowire.Number
		wire   []byte
	}
	var fields []field
	var failed error
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		wire, err := appendField(nil, fd, v)
		if err != nil {
			failed = fmt.Errorf("%s: %w", fd.FullName(), err)
			return false
		}
		fields = append(fields, field{fd.Number(), wire})
		return true
	})
	if failed != nil {
		return nil, failed
	}
	for rest := m.GetUnknown(); len(rest) > 0; {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return nil, fmt.Errorf("an unknown field of %s: %w", m.Descriptor().FullName(), protowire.ParseError(n))
		}
		fields = append(fields, field{number, rest[:n]})
		rest = rest[n:]
	}
	// Stable: occurrences of one unknown field keep their order, which has meaning.
	slices.SortStableFunc(fields, func(a, b field) int { return int(a.number) - int(b.number) })
	out := []byte{}
	for _, f := range fields {
		out = append(out, f.wire...)
	}
	return out, nil
}

func appendField(out []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch {
	case fd.IsMap():
		return appendMap(out, fd, v.Map())
	case fd.IsList() && fd.IsPacked():
		var packed []byte
		for i := range v.List().Len() {
			var err error
			if packed, err = appendValue(packed, fd, v.List().Get(i)); err != nil {
				return nil, err
			}
		}
		out = protowire.AppendTag(out, fd.Number(), protowire.BytesType)
		return protowire.AppendBytes(out, packed), nil
	case fd.IsList():
		for i := range v.List().Len() {
			var err error
			if out, err = appendTagged(out, fd, v.List().Get(i)); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return appendTagged(out, fd, v)
}

func appendMap(out []byte, fd protoreflect.FieldDescriptor, m protoreflect.Map) ([]byte, error) {
	type entry struct{ key, value []byte }
	var entries []entry
	var failed error
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		key, err := appendTagged(nil, fd.MapKey(), k.Value())
		if err == nil {
			var value []byte
			value, err = appendTagged(nil, fd.MapValue(), v)
			entries = append(entries, entry{key, value})
		}
		failed = err
		return err == nil
	})
	if failed != nil {
		return nil, failed
	}
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	for _, e := range entries {
		out = protowire.AppendTag(out, fd.Number(), protowire.BytesType)
		out = protowire.AppendBytes(out, append(e.key, e.value...))
	}
	return out, nil
}

var wireTypes = map[protoreflect.Kind]protowire.Type{
	protoreflect.Fixed32Kind: protowire.Fixed32Type, protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.FloatKind: protowire.Fixed32Type,
	protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.Sfixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
	protoreflect.StringKind: protowire.BytesType, protoreflect.BytesKind: protowire.BytesType, protoreflect.MessageKind: protowire.BytesType,
	protoreflect.GroupKind: protowire.StartGroupType,
}

func appendTagged(out []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	// Every kind that is not listed is a varint, which is the zero Type.
	out = protowire.AppendTag(out, fd.Number(), wireTypes[fd.Kind()])
	return appendValue(out, fd, v)
}

func appendValue(out []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) ([]byte, error) {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protowire.AppendVarint(out, protowire.EncodeBool(v.Bool())), nil
	case protoreflect.EnumKind:
		return protowire.AppendVarint(out, uint64(v.Enum())), nil
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return protowire.AppendVarint(out, uint64(v.Int())), nil
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(out, protowire.EncodeZigZag(v.Int())), nil
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
		return protowire.AppendVarint(out, v.Uint()), nil
	case protoreflect.Fixed32Kind:
		return protowire.AppendFixed32(out, uint32(v.Uint())), nil
	case protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(out, uint32(v.Int())), nil
	case protoreflect.FloatKind:
		return protowire.AppendFixed32(out, math.Float32bits(float32(v.Float()))), nil
	case protoreflect.Fixed64Kind:
		return protowire.AppendFixed64(out, v.Uint()), nil
	case protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(out, uint64(v.Int())), nil
	case protoreflect.DoubleKind:
		return protowire.AppendFixed64(out, math.Float64bits(v.Float())), nil
	case protoreflect.StringKind:
		return protowire.AppendString(out, v.String()), nil
	case protoreflect.BytesKind:
		return protowire.AppendBytes(out, v.Bytes()), nil
	case protoreflect.MessageKind, protoreflect.GroupKind:
		inner, err := Canonical(v.Message())
		if err != nil {
			return nil, err
		}
		if fd.Kind() == protoreflect.MessageKind {
			return protowire.AppendBytes(out, inner), nil
		}
		return protowire.AppendGroup(out, fd.Number(), inner), nil
	}
	return nil, fmt.Errorf("kind %s is not known here", fd.Kind())
}
