package grpcguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/onceguard/onceguard"
)

// MetadataKey is where a caller's key travels: one value of 1 to 511 bytes.
const MetadataKey = "idempotency-key"

// ServerOptions configure the guard of a server.
type ServerOptions struct {
	// Scope returns the tenant that the authenticated caller belongs to. Keys of
	// different scopes never meet. Required: see SingleTenant. An error, or an
	// empty scope, is answered with PERMISSION_DENIED and runs nothing.
	Scope func(ctx context.Context, fullMethod string) (string, error)
	// Principal narrows a receipt to one caller within the scope: the same key
	// from another principal is a mismatch. Nil: all callers of a scope share
	// their keys.
	Principal func(ctx context.Context) string
	// Methods are the guarded ones by full method, "/billing.v1.Refunds/Create".
	// Others pass untouched. Server.Check finds misspelt ones.
	Methods map[string]Method
	// Logger is told what no client can be told. Default slog.Default.
	Logger *slog.Logger
}

// Method says how one unary method is guarded. The zero value works.
type Method struct {
	// Action is the named kind of effect. It is identity and never changes.
	// Empty: the full method without its first slash.
	Action string
	// Key returns the call's key, such as a request_id field of the message. Nil
	// reads the metadata MetadataKey. The zero Key means that there is none, an
	// error that it is malformed.
	Key func(ctx context.Context, req proto.Message) (onceguard.Key, error)
	// Optional lets calls without a key run unguarded.
	Optional bool
	// Meaning returns what of a request counts for a mismatch, for clients that
	// do not repeat a message as it was. An error is answered as a malformed key
	// is. Nil: Canonical, all of it. The method always counts.
	Meaning func(req proto.Message) ([]byte, error)
	// Policy is at-most-once unless set.
	Policy onceguard.Policy
	// Limits are the guard's where they are zero. Wait is how long a duplicate
	// waits for the first caller, and never longer than its own deadline allows;
	// MaxResult bounds the message that a receipt keeps.
	Limits onceguard.Limits
	// Classify says what a handler's status means, codes.OK aside; nil is
	// ClassifyHandler. StatusSucceeded is no class of an error, and counts as
	// unknown. What a handler declares by onceguard.NotExecuted or Refused goes
	// before it.
	Classify func(*status.Status) onceguard.StatusClass
}

// SingleTenant is the Scope of a service with one tenant: all callers share one
// space of keys.
func SingleTenant(context.Context, string) (string, error) { return "default", nil }

// fill checks o and puts in the defaults.
func (o *ServerOptions) fill(g *onceguard.Guard) error {
	if o.Scope == nil {
		return errors.New("no Scope: it returns the tenant of the authenticated caller, and without it callers would see each other's answers; a service with one tenant says grpcguard.SingleTenant")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	methods := make(map[string]Method, len(o.Methods))
	for name, m := range o.Methods {
		if err := checkName(name); err != nil {
			return err
		}
		if m.Action == "" {
			m.Action = actionOf(name)
		}
		if m.Classify == nil {
			m.Classify = ClassifyHandler
		}
		if err := probe(g, m.Action, m.Policy, m.Limits); err != nil {
			return fmt.Errorf("method %s: %w", name, err)
		}
		methods[name] = m
	}
	o.Methods = methods
	return nil
}

func checkName(full string) error {
	service, method, ok := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	if !strings.HasPrefix(full, "/") || !ok || service == "" || method == "" || strings.Contains(method, "/") {
		return fmt.Errorf(`method %q: write it in full, as in "/billing.v1.Refunds/Create"`, full)
	}
	return nil
}

func actionOf(full string) string { return strings.TrimPrefix(full, "/") }

// probe lets the guard check action, policy and limits before any call: with a
// context that is over, only the checks before the store are made.
func probe(g *onceguard.Guard, action string, p onceguard.Policy, l onceguard.Limits) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := g.Preview(ctx, onceguard.Request{Action: action, Key: onceguard.RawKey("probe"), Policy: p, Limits: l, Codec: answers})
	if errors.Is(err, onceguard.ErrInvalid) {
		return err
	}
	if p.Kind == onceguard.TransactionalKind {
		return errors.New("the policy is transactional: a call has no transaction of the store; use onceguard.DoTx inside the handler")
	}
	return nil
}

// Check reports guarded methods that srv does not have, which would otherwise be
// unprotected without a word, and those that are streams. Call it after the
// services are registered.
func (s *Server) Check(srv *grpc.Server) error {
	kinds := map[string]bool{} // whether it is a stream
	for service, info := range srv.GetServiceInfo() {
		for _, m := range info.Methods {
			kinds["/"+service+"/"+m.Name] = m.IsClientStream || m.IsServerStream
		}
	}
	var wrong []error
	for name := range s.opts.Methods {
		switch stream, known := kinds[name]; {
		case !known:
			wrong = append(wrong, fmt.Errorf("grpcguard: %s is guarded, and the server has no such method", name))
		case stream:
			wrong = append(wrong, fmt.Errorf("grpcguard: %s is a stream, and unary calls alone are guarded", name))
		}
	}
	return errors.Join(wrong...)
}
