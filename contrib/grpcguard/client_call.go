package grpcguard

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/onceguard/onceguard"
)

// outgoing is one guarded call on its way.
type outgoing struct {
	*Client
	rule    Rule
	method  string
	cc      *grpc.ClientConn
	invoker grpc.UnaryInvoker
	req     proto.Message
	blank   proto.Message // of the reply's type
	opts    []grpc.CallOption

	// Written by the run, read when it has ended.
	ended    chan struct{}
	receipt  onceguard.Receipt[answer]
	err      error
	panicked any
	replies  replies
	ran      bool
	live     proto.Message
	failed   error

	mu   sync.Mutex
	left bool // the caller has gone
}

// start guards the call on a goroutine of its own, and returns before its end where
// the caller's context ends.
func (o *outgoing) start(ctx context.Context, key onceguard.Key, req, reply any, opts []grpc.CallOption) error {
	kept, to, err := take(opts)
	if err != nil {
		return refuse(o.rule.Action, err)
	}
	in, ok := messageOf(req)
	out, ok2 := messageOf(reply)
	if !ok || !ok2 {
		return refuse(o.rule.Action, fmt.Errorf("%s: a %T for a %T is no protobuf call; nothing was sent", o.method, reply, req))
	}
	// The caller may change its request once it has given up waiting.
	o.req, o.blank, o.opts = proto.Clone(in), out.ProtoReflect().New().Interface(), kept
	mean, err := meaningOf(o.method, "", o.req, o.rule.Meaning)
	if err != nil {
		return refuse(o.rule.Action, fmt.Errorf("%s: %w; nothing was sent", o.method, err))
	}
	guard := o.guard
	if o.Client.opts.Scope != nil {
		scope, err := o.Client.opts.Scope(ctx, o.method)
		if err != nil || scope == "" {
			return refuse(o.rule.Action, fmt.Errorf("%s: no scope: %w; nothing was sent", o.method, err))
		}
		guard = guard.Scoped(scope)
	}
	o.early.Enter()
	go func() {
		defer o.early.Leave()
		defer o.finish()
		o.receipt, o.err = onceguard.Do(ctx, guard, onceguard.Request{
			Action: o.rule.Action, Key: key, RawInput: mean, Policy: o.rule.Policy, Limits: o.rule.Limits, Codec: answers,
		}, o.send)
	}()
	select {
	case <-o.ended:
	case <-ctx.Done():
		if o.leave() {
			return o.gone(ctx, guard, key)
		}
	}
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.result(out, to)
}

// finish ends the goroutine of start. A panic goes on in the caller's; if that has
// gone, nobody but the log would hear of it.
func (o *outgoing) finish() {
	p := recover()
	o.mu.Lock()
	defer o.mu.Unlock()
	defer close(o.ended)
	o.panicked = p
	if p == nil && o.err == nil && o.receipt.RequestID.IsZero() {
		o.err = &onceguard.Error{Code: onceguard.ErrUncertain, Action: o.rule.Action, MayHaveRun: true, Reason: "the call ended its goroutine (runtime.Goexit)"}
	}
	if p != nil && o.left {
		logPanic(o.rule.Action, p, debug.Stack())
	}
}

// leave is false when the end came first.
func (o *outgoing) leave() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.ended:
		return false
	default:
		o.left = true
		return true
	}
}

// gone is what a caller hears whose context ended.
func (o *outgoing) gone(ctx context.Context, guard *onceguard.Guard, key onceguard.Key) error {
	id, _ := onceguard.NewRequestID(guard.Scope(), o.rule.Action, key)
	ge := &onceguard.Error{
		Code: onceguard.ErrInProgress, RequestID: id, Scope: guard.Scope(), Action: o.rule.Action, Key: key.String(),
		RetryAfter: time.Second, MayHaveRun: true, Err: context.Cause(ctx),
	}
	p := tell(ReasonInProgress, "", time.Second, facts(ge)).Proto()
	p.Code = int32(status.FromContextError(ctx.Err()).Code())
	return &callError{ge, status.FromProto(p)}
}

// send is the effect: one attempt.
func (o *outgoing) send(ctx context.Context, a *onceguard.Attempt) (answer, error) {
	o.ran, o.live, o.failed, o.replies = false, nil, nil, replies{}
	downstream := a.DownstreamKey()
	if o.rule.KeyLength != 0 {
		var err error
		if downstream, err = a.DownstreamKeyLen(o.rule.KeyLength); err != nil {
			return answer{}, err
		}
	}
	md, _ := metadata.FromOutgoingContext(ctx) // a copy
	if md == nil {
		md = metadata.MD{}
	}
	md.Set(o.rule.MetadataKey, downstream)
	ready := a.Ready
	if o.ready != nil {
		ready = o.ready
	}
	w := newWire(ready)
	reply := proto.Clone(o.blank)
	err := o.invoker(metadata.NewOutgoingContext(ctx, md), o.method, o.req, reply, o.cc, o.replies.options(o.opts, w)...)
	o.ran, o.failed = true, err
	if err == nil {
		if _, unsent := w.unsent(); unsent {
			// An inner interceptor answered by itself: what it means is its own.
			o.failed = errors.New("an interceptor answered without sending the call")
			return answer{}, o.failed
		}
		o.live = reply
		return answerOf(reply), nil
	}
	if why, unsent := w.unsent(); unsent {
		if why != nil { // grpc calls it an encoding error
			o.failed = status.Error(codes.Unavailable, why.Error())
			return answer{}, why
		}
		return answer{}, onceguard.NotExecuted(err)
	}
	st, isStatus := status.FromError(err)
	if !isStatus || !o.replies.spoken() {
		return answer{}, err
	}
	class := o.rule.Classify(st)
	if class == onceguard.StatusRefused && a.Number() > 1 && o.rule.Policy.Kind != onceguard.AtMostOnceKind && beforeKey(st) {
		return answer{}, err // the attempt before may have happened
	}
	if marked := declared(class, err); marked != nil {
		return answer{status: st.Proto()}, marked
	}
	return answer{}, err
}
