package grpcguard

import (
	"errors"
	"fmt"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// answer is what a call came to, as a receipt keeps it: a message with its type, or
// the status of a refusal.
type answer struct {
	message *anypb.Any
	status  *spb.Status
	problem error // why the message cannot be kept
}

// messageOf accepts what grpc's proto codec accepts.
func messageOf(v any) (proto.Message, bool) {
	switch m := v.(type) {
	case proto.Message:
		return m, m != nil
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m), m != nil
	}
	return nil, false
}

// answerOf packs a message. One that cannot be packed leaves a receipt without
// body: the effect has happened by then.
func answerOf(v any) answer {
	m, ok := messageOf(v)
	if !ok {
		return answer{problem: fmt.Errorf("a %T is no protobuf message", v)}
	}
	packed := &anypb.Any{}
	if err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		return answer{problem: err}
	}
	return answer{message: packed}
}

// unpack makes the message anew. Its type has to be linked into the program.
func (a answer) unpack() (proto.Message, error) {
	if a.message == nil {
		return nil, errors.New("the receipt holds no message")
	}
	t, err := protoregistry.GlobalTypes.FindMessageByURL(a.message.TypeUrl)
	if err != nil {
		return nil, fmt.Errorf("the stored message is a %s: %w", a.message.TypeUrl, err)
	}
	m := t.New().Interface()
	return m, a.unpackInto(m)
}

func (a answer) unpackInto(m proto.Message) error {
	if a.message == nil {
		return errors.New("the receipt holds no message")
	}
	return a.message.UnmarshalTo(m)
}

// answers is the codec of receipts: one byte for what follows, then a
// google.protobuf.Any or a google.rpc.Status.
var answers answerCodec

type answerCodec struct{}

const (
	tagMessage = 'm'
	tagStatus  = 's'
)

func (answerCodec) Name() string { return "grpc" }

func (answerCodec) Encode(v any) ([]byte, error) {
	a, ok := v.(answer)
	switch {
	case !ok:
		return nil, fmt.Errorf("grpcguard: the codec encodes answers, not %T", v)
	case a.problem != nil:
		return nil, a.problem
	case a.status != nil:
		return proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{tagStatus}, a.status)
	}
	return proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{tagMessage}, a.message)
}

func (answerCodec) Decode(data []byte, v any) error {
	a, ok := v.(*answer)
	if !ok || len(data) == 0 {
		return fmt.Errorf("grpcguard: %d bytes for a %T are no answer", len(data), v)
	}
	switch data[0] {
	case tagMessage:
		a.message = &anypb.Any{}
		return proto.Unmarshal(data[1:], a.message)
	case tagStatus:
		a.status = &spb.Status{}
		return proto.Unmarshal(data[1:], a.status)
	}
	return fmt.Errorf("grpcguard: an answer of kind %q is not known here", data[0])
}

// statusOf reads the status of an error as grpc's server does. Wrappers that add no
// text, such as onceguard.Refused, do not show.
func statusOf(err error) *status.Status {
	for inner := errors.Unwrap(err); inner != nil && inner.Error() == err.Error(); inner = errors.Unwrap(err) {
		err = inner
	}
	if st, ok := status.FromError(err); ok {
		return st
	}
	return status.FromContextError(err)
}
