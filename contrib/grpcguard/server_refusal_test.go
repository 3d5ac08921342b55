package grpcguard_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/guardtest"
)

// TestOwnAnswers: every answer of the guard itself, as a client sees it.
func TestOwnAnswers(t *testing.T) {
	methods := func(m grpcguard.Method) func(*grpcguard.ServerOptions) {
		return func(o *grpcguard.ServerOptions) { o.Methods = map[string]grpcguard.Method{create: m} }
	}
	seen := map[string]bool{}
	for _, c := range []struct {
		name    string
		reason  string
		code    codes.Code
		key     string
		options []func(*grpcguard.ServerOptions)
		before  func(t *testing.T, g *onceguard.Guard, w *world, cc *grpc.ClientConn)
		effects int
	}{
		{name: "no key", reason: grpcguard.ReasonKeyMissing, code: codes.InvalidArgument},
		{name: "key too long", reason: grpcguard.ReasonKeyMalformed, code: codes.InvalidArgument, key: strings.Repeat("k", 600)},
		{
			name: "own key function fails", reason: grpcguard.ReasonKeyMalformed, code: codes.InvalidArgument, key: "k",
			options: []func(*grpcguard.ServerOptions){methods(grpcguard.Method{Key: func(context.Context, proto.Message) (onceguard.Key, error) {
				return onceguard.Key{}, errors.New("no request_id")
			}})},
		},
		{
			name: "own key function finds none", reason: grpcguard.ReasonKeyMissing, code: codes.InvalidArgument, key: "k",
			options: []func(*grpcguard.ServerOptions){methods(grpcguard.Method{Key: func(context.Context, proto.Message) (onceguard.Key, error) {
				return onceguard.Key{}, nil
			}})},
		},
		{
			name: "no scope", reason: grpcguard.ReasonScopeDenied, code: codes.PermissionDenied, key: "k",
			options: []func(*grpcguard.ServerOptions){func(o *grpcguard.ServerOptions) {
				o.Scope = func(context.Context, string) (string, error) { return "", nil }
			}},
		},
		{
			name: "bad scope", reason: grpcguard.ReasonMisconfigured, code: codes.Internal, key: "k",
			options: []func(*grpcguard.ServerOptions){func(o *grpcguard.ServerOptions) {
				o.Scope = func(context.Context, string) (string, error) { return "a\x00b", nil }
			}},
		},
		{
			name: "store down", reason: grpcguard.ReasonStoreUnavailable, code: codes.Unavailable, key: "k",
			before: func(t *testing.T, g *onceguard.Guard, _ *world, _ *grpc.ClientConn) { guardtest.StoreOf(t, g).Down() },
		},
		{
			name: "another message", reason: grpcguard.ReasonKeyReused, code: codes.FailedPrecondition, key: "k",
			before: func(t *testing.T, _ *onceguard.Guard, _ *world, cc *grpc.ClientConn) {
				call(t.Context(), cc, create, "k", text("another"))
			}, effects: 1,
		},
		{
			name: "key older than the memory", reason: grpcguard.ReasonKeyExpired, code: codes.FailedPrecondition, key: "k",
			options: []func(*grpcguard.ServerOptions){methods(grpcguard.Method{Key: func(context.Context, proto.Message) (onceguard.Key, error) {
				return onceguard.RawKey("old").WithIssuedAt(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)), nil
			}})},
		},
		{
			name: "message too large to keep", reason: grpcguard.ReasonAlreadyCompleted, code: codes.AlreadyExists, key: "k",
			options: []func(*grpcguard.ServerOptions){methods(grpcguard.Method{Limits: onceguard.Limits{MaxResult: 8}})},
			before: func(t *testing.T, _ *onceguard.Guard, _ *world, cc *grpc.ClientConn) {
				if g := call(t.Context(), cc, create, "k", text("a")); g.text != "did a" {
					t.Errorf("the first caller got %+v", g)
				}
			}, effects: 1,
		},
		{
			name: "unknown outcome", reason: grpcguard.ReasonOutcomeUnknown, code: codes.Unknown, key: "k",
			before: func(t *testing.T, _ *onceguard.Guard, w *world, cc *grpc.ClientConn) {
				w.become(func(context.Context, string, *structpb.Struct) (*structpb.Struct, error) { panic("handler") })
				if got := call(t.Context(), cc, create, "k", text("a")); status.Code(got.err) != codes.Internal {
					t.Errorf("the panic became %v", got.err)
				}
			},
		},
		{
			name: "frozen", reason: grpcguard.ReasonStoreFrozen, code: codes.Unavailable, key: "k",
			before: func(t *testing.T, g *onceguard.Guard, _ *world, _ *grpc.ClientConn) {
				guardtest.StoreOf(t, g).SetEpoch("after a failover")
			},
		},
		{
			name: "in progress", reason: grpcguard.ReasonInProgress, code: codes.Aborted, key: "k",
			before: func(t *testing.T, _ *onceguard.Guard, w *world, cc *grpc.ClientConn) {
				started, release := w.held()
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					call(t.Context(), cc, create, "k", text("a"))
				}()
				<-started
				t.Cleanup(func() { release(); <-ended })
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, w, cc := setup(t, c.options...)
			if c.before != nil {
				c.before(t, g, w, cc)
			}
			got := call(t.Context(), cc, create, c.key, text("a"))
			if got.reason() != c.reason || status.Code(got.err) != c.code {
				t.Errorf("got %v (%s)", got.err, got.reason())
			}
			w.want(t, c.effects)
			if want := grpcguard.Reasons()[c.reason]; got.fact("retry") != want[1] || want[0] != c.code.String() {
				t.Errorf("the detail says retry %q; the table has %q", got.fact("retry"), want)
			}
			seen[c.reason] = true
		})
	}
	for name := range grpcguard.Reasons() {
		if !seen[name] {
			t.Errorf("no case shows %s", name)
		}
	}
}

// TestUnsettled: the store goes away while the handler runs. The caller gets the
// message, marked, and never an error that would have it try another way.
func TestUnsettled(t *testing.T) {
	for name, c := range map[string]struct {
		fails error
		code  codes.Code
	}{
		"message":  {nil, codes.OK},
		"refusal":  {status.Error(codes.NotFound, "no"), codes.NotFound},
		"declared": {onceguard.Refused(status.Error(codes.Internal, "no")), codes.Internal},
		"released": {onceguard.NotExecuted(status.Error(codes.Internal, "no")), codes.Internal},
		"unknown":  {status.Error(codes.Internal, "no"), codes.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			g := guardtest.New(t, onceguard.Options{SettleWait: 50 * time.Millisecond})
			w := &world{}
			_, addr := serve(t, w.handle, guarded(t, g).Unary())
			w.become(func(context.Context, string, *structpb.Struct) (*structpb.Struct, error) {
				guardtest.StoreOf(t, g).Down()
				return text("done"), c.fails
			})
			got := call(t.Context(), dial(t, addr), create, "k", text("a"))
			if status.Code(got.err) != c.code || (c.fails == nil && got.text != "done") {
				t.Errorf("got %+v", got)
			}
			if got.header.Get(grpcguard.MetadataStatus) == nil || got.trailer.Get(grpcguard.MetadataStatus) == nil {
				t.Errorf("the answer is not marked: %v %v", got.header, got.trailer)
			}
			guardtest.StoreOf(t, g).Up()
		})
	}
}

// TestResolvedWithoutMessage: a person says that it happened; there is no message.
func TestResolvedWithoutMessage(t *testing.T) {
	g, w, cc := setup(t)
	w.answers(status.Error(codes.Internal, "lost"))
	first := call(t.Context(), cc, create, "k", text("a"))
	id, err := onceguard.ParseRequestID(first.fact("request_id"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Resolve(t.Context(), onceguard.Resolution{ID: id, Attempt: 1, Verdict: onceguard.ResolveHappened, By: "ann", Reason: "seen in the ledger"}); err != nil {
		t.Fatal(err)
	}
	got := call(t.Context(), cc, create, "k", text("a"))
	if got.reason() != grpcguard.ReasonAlreadyCompleted || got.fact("state") != "succeeded" || got.fact("result") != "not-kept" {
		t.Errorf("got %v", got.err)
	}
	w.want(t, 1)
}

// TestKeys: two values, scopes, principals.
func TestKeys(t *testing.T) {
	_, w, cc := setup(t, func(o *grpcguard.ServerOptions) {
		one := func(ctx context.Context, name string) string {
			return strings.Join(metadata.ValueFromIncomingContext(ctx, name), "")
		}
		o.Scope = func(ctx context.Context, _ string) (string, error) { return "tenant-" + one(ctx, "tenant"), nil }
		o.Principal = func(ctx context.Context) string { return one(ctx, "user") }
	})
	as := func(tenant, user string) context.Context {
		return metadata.AppendToOutgoingContext(t.Context(), "tenant", tenant, "user", user)
	}
	if g := call(metadata.AppendToOutgoingContext(as("1", "ann"), grpcguard.MetadataKey, "other"), cc, create, "k", text("a")); g.reason() != grpcguard.ReasonKeyMalformed {
		t.Errorf("two keys: %v", g.err)
	}
	w.want(t, 0)
	for _, tenant := range []string{"1", "2"} {
		if g := call(as(tenant, "ann"), cc, create, "k", text("a")); g.err != nil || g.replayed() {
			t.Errorf("tenant %s: %+v", tenant, g)
		}
	}
	w.want(t, 2)
	if g := call(as("1", "bob"), cc, create, "k", text("a")); g.reason() != grpcguard.ReasonKeyReused {
		t.Errorf("another principal: %v", g.err)
	}
}

// TestOptionsRefused: what could not protect anything.
func TestOptionsRefused(t *testing.T) {
	g := guardtest.New(t)
	for name, o := range map[string]grpcguard.ServerOptions{
		"no scope":      {},
		"short name":    {Scope: grpcguard.SingleTenant, Methods: map[string]grpcguard.Method{"Create": {}}},
		"transactional": {Scope: grpcguard.SingleTenant, Methods: map[string]grpcguard.Method{create: {Policy: onceguard.Transactional}}},
		"no horizon":    {Scope: grpcguard.SingleTenant, Methods: map[string]grpcguard.Method{create: {Policy: onceguard.SafeRetry(0, onceguard.RefusalsRemembered)}}},
	} {
		if _, err := grpcguard.NewServer(g, o); err == nil {
			t.Errorf("server: %s is accepted", name)
		}
	}
	for name, r := range map[string]grpcguard.Rule{
		"short key":     {KeyLength: 8},
		"transactional": {Policy: onceguard.Transactional},
	} {
		if _, err := grpcguard.NewClient(g, grpcguard.ClientOptions{Rules: map[string]grpcguard.Rule{create: r}}); err == nil {
			t.Errorf("client: %s is accepted", name)
		}
	}
	s := guarded(t, g, func(o *grpcguard.ServerOptions) {
		o.Methods = map[string]grpcguard.Method{create: {}, "/test.v1.Refunds/Craete": {}, "/test.v1.Refunds/Watch": {}}
	})
	srv, _ := serve(t, (&world{}).handle)
	if err := s.Check(srv); err == nil || !strings.Contains(err.Error(), "Craete") || !strings.Contains(err.Error(), "Watch is a stream") || strings.Contains(err.Error(), "Create") {
		t.Errorf("Check says %v", err)
	}
	if err := guarded(t, g).Check(srv); err != nil {
		t.Error(err)
	}
}
