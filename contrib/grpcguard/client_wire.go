package grpcguard

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// wire is the codec of one attempt. grpc encodes the message after it has a stream
// and right before it hands the message to the transport, and no unary handler runs
// without a message: what was never encoded was never executed. It is encoded once.
type wire struct {
	encoding.CodecV2
	ready func() error

	mu      sync.Mutex
	handed  bool
	stopped error // what Ready said
}

// errTwice stops an interceptor inside this one that calls its invoker again.
var errTwice = errors.New("grpcguard: this attempt has sent its message already, and is not repeated")

func newWire(ready func() error) *wire {
	return &wire{CodecV2: encoding.GetCodecV2(protocodec.Name), ready: ready}
}

// Marshal implements encoding.CodecV2.
func (w *wire) Marshal(v any) (mem.BufferSlice, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.handed {
		return nil, errTwice
	}
	if err := w.ready(); err != nil {
		w.stopped = err
		return nil, err
	}
	out, err := w.CodecV2.Marshal(v)
	w.handed = err == nil
	return out, err
}

// unsent reports whether no message was handed over, and why where Ready said so.
func (w *wire) unsent() (why error, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped, !w.handed
}

// returns are the places in the caller's memory that call options fill in. They are
// filled when the call is over, and not at all when the caller has gone.
type returns struct {
	header, trailer []*metadata.MD
	peers           []*peer.Peer
}

// take sorts the caller's options. The message's encoding must be protobuf.
func take(opts []grpc.CallOption) (kept []grpc.CallOption, r returns, err error) {
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			r.header = append(r.header, o.HeaderAddr)
		case grpc.TrailerCallOption:
			r.trailer = append(r.trailer, o.TrailerAddr)
		case grpc.PeerCallOption:
			r.peers = append(r.peers, o.PeerAddr)
		case grpc.ForceCodecCallOption, grpc.ForceCodecV2CallOption, grpc.CustomCodecCallOption:
			return nil, r, fmt.Errorf("a guarded call takes no %T: messages are compared and kept as protobuf", o)
		case grpc.ContentSubtypeCallOption:
			if !strings.EqualFold(o.ContentSubtype, protocodec.Name) {
				return nil, r, fmt.Errorf("a guarded call takes no content subtype %q: messages are compared and kept as protobuf", o.ContentSubtype)
			}
		default:
			kept = append(kept, o)
		}
	}
	return kept, r, nil
}

// replies is what an attempt gets beside the message.
type replies struct {
	header, trailer metadata.MD
	peer            peer.Peer
}

// options are the attempt's own, after the caller's, so that they hold.
//
// MaxRetryRPCBufferSize is what grpc keeps of a message in order to send it again.
// With none of it grpc commits to the attempt that the message was handed to: there
// is no retry by policy any more, nor one of a message that may have left.
func (r *replies) options(kept []grpc.CallOption, w *wire) []grpc.CallOption {
	return append(kept[:len(kept):len(kept)], grpc.Header(&r.header), grpc.Trailer(&r.trailer), grpc.Peer(&r.peer),
		grpc.ForceCodecV2(w), grpc.MaxRetryRPCBufferSize(0))
}

// spoken reports whether the other side answered in gRPC. Statuses made of a plain
// HTTP answer (a proxy's 404 is UNIMPLEMENTED) or of a broken connection have no
// content type.
func (r *replies) spoken() bool {
	return len(r.header.Get("content-type")) > 0 || len(r.trailer.Get("content-type")) > 0
}

func (r *replies) fill(to returns) {
	for _, h := range to.header {
		*h = r.header.Copy()
	}
	for _, t := range to.trailer {
		*t = r.trailer.Copy()
	}
	for _, p := range to.peers {
		*p = r.peer
	}
}
