package grpcguard_test

import (
	"bytes"
	"encoding/hex"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard/contrib/grpcguard"
)

func canonical(t testing.TB, m proto.Message) []byte {
	t.Helper()
	out, err := grpcguard.Canonical(m.ProtoReflect())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// every describes a message with a field of each kind, each alone, repeated, packed
// and as a map's value where that exists.
func every(t testing.TB) protoreflect.MessageDescriptor {
	t.Helper()
	field := func(name string, n int32, kind descriptorpb.FieldDescriptorProto_Type, label descriptorpb.FieldDescriptorProto_Label, packed bool) *descriptorpb.FieldDescriptorProto {
		f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &n, Type: &kind, Label: &label}
		if packed {
			f.Options = &descriptorpb.FieldOptions{Packed: &packed}
		}
		switch kind {
		case descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
			f.TypeName = proto.String(".test.Every")
		case descriptorpb.FieldDescriptorProto_TYPE_GROUP:
			f.TypeName = proto.String(".test.Every.G")
		case descriptorpb.FieldDescriptorProto_TYPE_ENUM:
			f.TypeName = proto.String(".test.E")
		}
		return f
	}
	msg := &descriptorpb.DescriptorProto{Name: proto.String("Every"), NestedType: []*descriptorpb.DescriptorProto{{
		Name:  proto.String("G"),
		Field: []*descriptorpb.FieldDescriptorProto{field("x", 1, descriptorpb.FieldDescriptorProto_TYPE_INT32, descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, false)},
	}}}
	for kind := descriptorpb.FieldDescriptorProto_TYPE_DOUBLE; kind <= descriptorpb.FieldDescriptorProto_TYPE_SINT64; kind++ {
		name := kind.String()[len("TYPE_"):]
		n := int32(kind) * 10
		if kind == descriptorpb.FieldDescriptorProto_TYPE_GROUP { // a group is one alone
			msg.Field = append(msg.Field, field("g", n, kind, descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, false))
			continue
		}
		msg.Field = append(msg.Field, field("One_"+name, n, kind, descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, false),
			field("Many_"+name, n+1, kind, descriptorpb.FieldDescriptorProto_LABEL_REPEATED, false))
		switch kind {
		case descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_BYTES, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE:
		default:
			msg.Field = append(msg.Field, field("Packed_"+name, n+2, kind, descriptorpb.FieldDescriptorProto_LABEL_REPEATED, true))
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("every.proto"), Package: proto.String("test"), MessageType: []*descriptorpb.DescriptorProto{msg},
		EnumType: []*descriptorpb.EnumDescriptorProto{{Name: proto.String("E"), Value: []*descriptorpb.EnumValueDescriptorProto{
			{Name: proto.String("ZERO"), Number: proto.Int32(0)}, {Name: proto.String("MINUS"), Number: proto.Int32(-5)},
		}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return file.Messages().Get(0)
}

// sample is a value of fd's kind.
func sample(fd protoreflect.FieldDescriptor, depth int) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(-5)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(-7)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(-1 << 60)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(1 << 31)
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(1 << 63)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(-1.5)
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(2.25)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("text")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{0, 255})
	}
	m := dynamicpb.NewMessage(fd.Message())
	if depth > 0 {
		populate(m, depth-1)
	}
	return protoreflect.ValueOfMessage(m)
}

func populate(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !fd.IsList() {
			m.Set(fd, sample(fd, depth))
			continue
		}
		list := m.Mutable(fd).List()
		list.Append(sample(fd, depth))
		list.Append(sample(fd, depth))
	}
}

// TestCanonicalIsTheMessage: the form is wire format, and protobuf's own reader sees
// the message in it; every kind of field is there.
func TestCanonicalIsTheMessage(t *testing.T) {
	m := dynamicpb.NewMessage(every(t))
	populate(m, 1)
	back := dynamicpb.NewMessage(m.Descriptor())
	if err := proto.Unmarshal(canonical(t, m), back); err != nil || !proto.Equal(m, back) {
		t.Fatalf("it reads back as another message: %v", err)
	}
	fields := m.Descriptor().Fields()
	whole := canonical(t, m)
	for i := range fields.Len() {
		less := proto.Clone(m)
		less.ProtoReflect().Clear(fields.Get(i))
		if bytes.Equal(canonical(t, less), whole) {
			t.Errorf("%s does not count", fields.Get(i).Name())
		}
	}
}

// TestCanonicalOrder: neither the order of a map nor that of the fields counts.
func TestCanonicalOrder(t *testing.T) {
	want := canonical(t, message(t, map[string]any{"a": 1.0, "b": true, "c": []any{"x", nil}, "d": map[string]any{"e": "f", "g": "h"}}))
	for range 50 {
		m := message(t, map[string]any{"d": map[string]any{"g": "h", "e": "f"}, "c": []any{"x", nil}, "b": true, "a": 1.0})
		if got := canonical(t, m); !bytes.Equal(got, want) {
			t.Fatalf("%x, then %x", want, got)
		}
	}
	if got := canonical(t, message(t, map[string]any{"c": []any{nil, "x"}})); bytes.Equal(got, canonical(t, message(t, map[string]any{"c": []any{"x", nil}}))) {
		t.Error("the order of a list must count")
	}
}

// TestCanonicalUnknown: a field that this schema does not know counts, and a server
// that learns it reads the same form.
func TestCanonicalUnknown(t *testing.T) {
	m := dynamicpb.NewMessage(every(t))
	m.Set(m.Descriptor().Fields().ByName("One_STRING"), protoreflect.ValueOfString("known"))
	m.Set(m.Descriptor().Fields().ByName("One_INT64"), protoreflect.ValueOfInt64(5))
	wire, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	old := &structpb.Struct{} // knows none of these numbers
	if err := proto.Unmarshal(wire, old); err != nil {
		t.Fatal(err)
	}
	if got := canonical(t, old); !bytes.Equal(got, canonical(t, m)) {
		t.Errorf("unknown %x, known %x", got, canonical(t, m))
	}
	old.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 30, protowire.VarintType), 6))
	if bytes.Equal(canonical(t, old), canonical(t, m)) {
		t.Error("another unknown value must be another request")
	}
}

// TestCanonicalVector pins the form: stored fingerprints depend on it.
func TestCanonicalVector(t *testing.T) {
	m := message(t, map[string]any{"b": "x", "a": 1.5, "c": nil})
	const want = "0a0e0a01611209110000000000" + "00f83f" + "0a080a0162120" + "31a0178" + "0a070a0163120" + "20800"
	if got := hex.EncodeToString(canonical(t, m)); got != want {
		t.Errorf("got %s, want %s: a change makes every retry of an older request a mismatch", got, want)
	}
}
