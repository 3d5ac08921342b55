package grpcguard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/onceguard/onceguard"
)

// Server guards the handlers of a gRPC server. It is safe for concurrent use.
type Server struct {
	guard *onceguard.Guard
	opts  ServerOptions
}

// NewServer refuses options that could not protect anything.
func NewServer(g *onceguard.Guard, o ServerOptions) (*Server, error) {
	if err := o.fill(g); err != nil {
		return nil, fmt.Errorf("grpcguard: %w", err)
	}
	return &Server{guard: g, opts: o}, nil
}

// Unary returns the interceptor. Chain it after authentication, and after what
// recovers from panics: a panic of the handler is an unknown outcome, stored as
// such, and goes on as it came.
//
// The end of the call (its deadline, a cancel, a lost connection) does not end a
// handler that has started: its context keeps the call's values and ends at MaxRun
// or with a lost lease. The call's goroutine stays with it, so that GracefulStop
// waits for it, and what it answers is for a retry to collect. Server.Stop does not
// wait without grpc.WaitForHandlers.
func (s *Server) Unary() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		m, guarded := s.opts.Methods[info.FullMethod]
		if !guarded {
			return handler(ctx, req)
		}
		c := &served{Server: s, method: m, name: info.FullMethod, handler: handler, req: req}
		return c.serve(ctx)
	}
}

// served is one guarded call on its way.
type served struct {
	*Server
	method  Method
	name    string
	handler grpc.UnaryHandler
	req     any
	id      onceguard.RequestID

	// Of the attempt that ran in this call.
	ran    bool
	live   any
	failed error // what the handler returned
	// classified: failed declared nothing, and class is what its status means.
	classified bool
	class      onceguard.StatusClass
}

func (c *served) serve(ctx context.Context) (any, error) {
	msg, ok := messageOf(c.req)
	if !ok {
		return nil, c.misconfigured(ctx, fmt.Errorf("a %T is no protobuf message", c.req))
	}
	key, err := c.method.key(ctx, msg)
	switch {
	case errors.Is(err, errNoKey) && c.method.Optional:
		return c.handler(ctx, c.req)
	case errors.Is(err, errNoKey):
		return nil, tell(ReasonKeyMissing, "", 0, nil).Err()
	case err != nil:
		return nil, tell(ReasonKeyMalformed, "the idempotency key could not be read: "+err.Error()+"; nothing was run", 0, nil).Err()
	}
	scope, err := c.opts.Scope(ctx, c.name)
	if err != nil || scope == "" {
		c.opts.Logger.WarnContext(ctx, "grpcguard: no scope; nothing was run", "method", c.name, "error", err)
		return nil, tell(ReasonScopeDenied, "", 0, nil).Err()
	}
	mean, err := c.meaning(ctx, msg)
	if err != nil {
		return nil, tell(ReasonKeyMalformed, "the request could not be read: "+err.Error()+"; nothing was run", 0, nil).Err()
	}
	if c.id, err = onceguard.NewRequestID(scope, c.method.Action, key); err != nil {
		return nil, c.misconfigured(ctx, err)
	}
	ctx, cancel := patience(ctx)
	defer cancel()
	receipt, err := onceguard.Do(ctx, c.guard.Scoped(scope), onceguard.Request{
		Action: c.method.Action, Key: key, RawInput: mean, Policy: c.method.Policy, Limits: c.method.Limits, Codec: answers,
		Classify: func(err error) error {
			c.classified, c.class = true, c.method.Classify(statusOf(err))
			return declared(c.class, err)
		},
	}, c.run)
	return c.answer(ctx, receipt, err)
}

// run is the effect.
func (c *served) run(ctx context.Context, a *onceguard.Attempt) (answer, error) {
	c.ran, c.live, c.failed, c.classified = false, nil, nil, false
	c.live, c.failed = c.handler(context.WithValue(ctx, attemptKey{}, a), c.req)
	c.ran = true
	if c.failed != nil {
		return answer{status: statusOf(c.failed).Proto()}, c.failed
	}
	return answerOf(c.live), nil
}

func (c *served) meaning(ctx context.Context, msg proto.Message) ([]byte, error) {
	principal := ""
	if c.opts.Principal != nil {
		principal = c.opts.Principal(ctx)
	}
	return meaningOf(c.name, principal, msg, c.method.Meaning)
}

// meaningOf is what a request is compared by.
func meaningOf(name, principal string, msg proto.Message, narrow func(proto.Message) ([]byte, error)) ([]byte, error) {
	form := func(m proto.Message) ([]byte, error) { return Canonical(m.ProtoReflect()) }
	if narrow != nil {
		form = narrow
	}
	body, err := form(msg)
	if err != nil {
		return nil, err
	}
	return meaning(name, principal, body), nil
}

func (c *served) misconfigured(ctx context.Context, err error) error {
	c.opts.Logger.ErrorContext(ctx, "grpcguard: the call cannot be guarded; nothing was run", "method", c.name, "error", err)
	return tell(ReasonMisconfigured, "", 0, nil).Err()
}

// patience ends a wait a little before the call's deadline, so that a duplicate
// hears that the first is in progress instead of nothing.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end.Add(-min(time.Until(end)/10, time.Second)))
}

type attemptKey struct{}

// Attempt returns the attempt that the guarded handler of ctx runs in, for its
// downstream key and checkpoints; false outside of a guarded handler.
func Attempt(ctx context.Context) (*onceguard.Attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*onceguard.Attempt)
	return a, ok
}
