package grpcguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/underway"
)

// ClientOptions configure the guard of outgoing calls.
type ClientOptions struct {
	// Rules are the guarded methods by full method, "/billing.v1.Refunds/Create".
	Rules map[string]Rule
	// Scope returns the tenant that a call acts for. Nil: the guard's scope.
	Scope func(ctx context.Context, fullMethod string) (string, error)
	// AllowUnguarded lets a call pass whose context has a key (WithKey) and whose
	// method no rule names, such as a read. Without it such a call is an error,
	// and nothing is sent.
	AllowUnguarded bool
}

// Rule says how calls of one unary method are guarded. The zero value works.
type Rule struct {
	// Action is the named kind of effect. It is identity and never changes.
	// Empty: the full method without its first slash.
	Action string
	// Key names the effect where the context has no key (WithKey). The zero Key
	// means that there is none. Nil: the context's alone.
	Key func(ctx context.Context, req proto.Message) (onceguard.Key, error)
	// Optional lets calls without a key go out unguarded. Without it they are an
	// error, and nothing is sent.
	Optional bool
	// Meaning returns what of a request counts for a mismatch. Nil: Canonical, all
	// of it.
	Meaning func(req proto.Message) ([]byte, error)
	// Policy is at-most-once unless set.
	Policy onceguard.Policy
	Limits onceguard.Limits
	// MetadataKey carries the downstream key, which is derived from the request's
	// identity and a secret of the store and is the same on every attempt. It
	// replaces a value that the call has already. Empty: "idempotency-key".
	MetadataKey string
	// KeyLength cuts the downstream key; at least onceguard.MinDownstreamKey.
	// Zero: all 52 characters.
	KeyLength int
	// Classify says what a status from the peer means, codes.OK aside; nil is
	// ClassifyPeer. StatusSucceeded counts as unknown. It is not asked about a
	// status that was made on this side.
	Classify func(*status.Status) onceguard.StatusClass
}

// Client guards outgoing unary calls. It is safe for concurrent use, and one may
// serve several connections.
type Client struct {
	guard *onceguard.Guard
	opts  ClientOptions
	early underway.Count
	ready func() error // in tests, instead of Attempt.Ready
}

// NewClient refuses options that could not protect anything.
func NewClient(g *onceguard.Guard, o ClientOptions) (*Client, error) {
	rules := make(map[string]Rule, len(o.Rules))
	for name, r := range o.Rules {
		if err := r.fill(g, name); err != nil {
			return nil, fmt.Errorf("grpcguard: rule %q: %w", name, err)
		}
		rules[name] = r
	}
	o.Rules = rules
	return &Client{guard: g, opts: o}, nil
}

func (r *Rule) fill(g *onceguard.Guard, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if r.Action == "" {
		r.Action = actionOf(name)
	}
	if r.MetadataKey == "" {
		r.MetadataKey = MetadataKey
	}
	if r.Classify == nil {
		r.Classify = ClassifyPeer
	}
	if r.KeyLength != 0 && r.KeyLength < onceguard.MinDownstreamKey {
		return fmt.Errorf("KeyLength is %d; at least %d characters keep keys apart", r.KeyLength, onceguard.MinDownstreamKey)
	}
	return probe(g, r.Action, r.Policy, r.Limits)
}

// Drain waits for calls whose callers have gone, or until ctx ends. Call it before
// the guard and the connection are closed.
func (c *Client) Drain(ctx context.Context) error {
	if err := c.early.Wait(ctx); err != nil {
		return fmt.Errorf("grpcguard: guarded calls are still under way; what they do may have happened: %w", err)
	}
	return nil
}

// Unary returns the interceptor. Errors are gRPC statuses and *onceguard.Error at
// once: errors.Is(err, onceguard.ErrUncertain), onceguard.MayHaveRun(err) and
// status.Code(err) all work. A refusal, and what surely did not happen, has the
// peer's own status.
//
// The end of the caller's context does not end a call that was started: the caller
// gets ErrInProgress with the code of its context's end, the call goes on by itself,
// without a deadline but the action's MaxRun, and a retry with the same key collects
// its answer.
//
// Within an attempt the message is handed to grpc once. grpc's own retry policy
// (service config) and interceptors inside this one cannot send it again; what grpc
// repeats before that, while no message has left, is harmless.
func (c *Client) Unary() grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		rule, guarded := c.opts.Rules[method]
		if !guarded {
			if _, keyed := keyOf(ctx); keyed && !c.opts.AllowUnguarded {
				return refuse(actionOf(method), fmt.Errorf("the context has a key, and no rule names %s: add one, or set AllowUnguarded; nothing was sent", method))
			}
			return invoker(ctx, method, req, reply, cc, opts...)
		}
		key, err := rule.key(ctx, req)
		if errors.Is(err, errNoKey) && rule.Optional {
			return invoker(ctx, method, req, reply, cc, opts...)
		}
		if err != nil {
			return refuse(rule.Action, fmt.Errorf("%s: %w; nothing was sent. Name the effect by what it is about, such as the order, and never by a fresh random value", method, err))
		}
		o := &outgoing{Client: c, rule: rule, method: method, cc: cc, invoker: invoker, ended: make(chan struct{})}
		return o.start(ctx, key, req, reply, opts)
	}
}

// key names the effect of a call.
func (r Rule) key(ctx context.Context, req any) (onceguard.Key, error) {
	if key, ok := keyOf(ctx); ok {
		return key, key.Err()
	}
	msg, ok := messageOf(req)
	if r.Key == nil || !ok {
		return onceguard.Key{}, errNoKey
	}
	key, err := r.Key(ctx, msg)
	if err != nil {
		return key, err
	}
	return usable(key)
}

// refuse is the error of a call that cannot be guarded.
func refuse(action string, err error) error {
	ge := &onceguard.Error{Code: onceguard.ErrInvalid, Action: action, Err: err}
	return &callError{ge, tell(ReasonMisconfigured, "", 0, nil)}
}

// callError is an error of the guard with the status that grpc's callers ask for. A
// handler that passes it on shows the status to its own caller, so the status has
// neither key nor store in it; Error has.
type callError struct {
	guard  *onceguard.Error
	status *status.Status
}

func (e *callError) Error() string { return e.guard.Error() }

// Unwrap lets errors.As find the guard's error.
func (e *callError) Unwrap() error { return e.guard }

// GRPCStatus is what status.FromError and status.Code see.
func (e *callError) GRPCStatus() *status.Status { return e.status }

func logPanic(action string, p any, stack []byte) {
	slog.Error("grpcguard: a guarded call panicked; its effect may have happened", "action", action, "panic", fmt.Sprint(p), "stack", string(stack))
}
