package grpcguard_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/guardtest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(playRole(role))
	}
	os.Exit(m.Run())
}

const (
	create = "/test.v1.Refunds/Create"
	read   = "/test.v1.Refunds/Read"
)

var quiet = slog.New(slog.DiscardHandler)

// handlerFunc is the service's one way to do anything.
type handlerFunc func(ctx context.Context, method string, in *structpb.Struct) (*structpb.Struct, error)

// service registers test.v1.Refunds by hand: two unary methods and a stream.
func service(srv grpc.ServiceRegistrar, h handlerFunc) {
	unary := func(name string) grpc.MethodDesc {
		full := "/test.v1.Refunds/" + name
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, dec func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
			in := &structpb.Struct{}
			if err := dec(in); err != nil {
				return nil, err
			}
			call := func(ctx context.Context, req any) (any, error) { return h(ctx, full, req.(*structpb.Struct)) }
			if chain == nil {
				return call(ctx, in)
			}
			return chain(ctx, in, &grpc.UnaryServerInfo{FullMethod: full}, call)
		}}
	}
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.v1.Refunds",
		Methods:     []grpc.MethodDesc{unary("Create"), unary("Read")},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			in := &structpb.Struct{}
			if err := stream.RecvMsg(in); err != nil {
				return err
			}
			out, err := h(stream.Context(), "/test.v1.Refunds/Watch", in)
			if err != nil {
				return err
			}
			return stream.SendMsg(out)
		}}},
	}, nil)
}

// serve starts a server on loopback that ends with t.
func serve(t testing.TB, h handlerFunc, chain ...grpc.UnaryServerInterceptor) (*grpc.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(chain...))
	service(srv, h)
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(srv.Stop)
	return srv, ln.Addr().String()
}

func dial(t testing.TB, addr string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(addr, append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// recovered turns a panic into a status, as servers in production do.
func recovered(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (_ any, err error) {
	defer func() {
		if recover() != nil {
			err = status.Error(codes.Internal, "panic")
		}
	}()
	return h(ctx, req)
}

func guarded(t testing.TB, g *onceguard.Guard, change ...func(*grpcguard.ServerOptions)) *grpcguard.Server {
	t.Helper()
	o := grpcguard.ServerOptions{Scope: grpcguard.SingleTenant, Methods: map[string]grpcguard.Method{create: {}}, Logger: quiet}
	for _, c := range change {
		c(&o)
	}
	s, err := grpcguard.NewServer(g, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func message(t testing.TB, fields map[string]any) *structpb.Struct {
	t.Helper()
	m, err := structpb.NewStruct(fields)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func text(s string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"text": structpb.NewStringValue(s)}}
}

func textOf(s *structpb.Struct) string { return s.GetFields()["text"].GetStringValue() }

// got is what a client learns.
type got struct {
	text            string
	err             error
	header, trailer metadata.MD
}

func (g got) reason() string {
	if info, ok := grpcguard.Info(status.Convert(g.err)); ok {
		return info.Reason
	}
	return ""
}

func (g got) fact(name string) string {
	if info, ok := grpcguard.Info(status.Convert(g.err)); ok {
		return info.Metadata[name]
	}
	return ""
}

func (g got) replayed() bool {
	return len(g.header.Get(grpcguard.MetadataReplayed)) == 1 && len(g.trailer.Get(grpcguard.MetadataReplayed)) == 1
}

// call makes one call with a key in its metadata; none if key is empty.
func call(ctx context.Context, cc *grpc.ClientConn, method, key string, in *structpb.Struct) (g got) {
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, grpcguard.MetadataKey, key)
	}
	out := &structpb.Struct{}
	g.err = cc.Invoke(ctx, method, in, out, grpc.Header(&g.header), grpc.Trailer(&g.trailer))
	g.text = textOf(out)
	return g
}

// world counts what took place, and lets tests hold the handler.
type world struct {
	guardtest.Ledger
	mu   sync.Mutex
	next handlerFunc
}

func (w *world) handle(ctx context.Context, method string, in *structpb.Struct) (*structpb.Struct, error) {
	w.mu.Lock()
	next := w.next
	w.mu.Unlock()
	if next != nil {
		return next(ctx, method, in)
	}
	w.Add("effect")
	return text("did " + textOf(in)), nil
}

func (w *world) become(h handlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = h
}

// answers makes the handler act and then fail.
func (w *world) answers(err error) {
	w.become(func(context.Context, string, *structpb.Struct) (*structpb.Struct, error) {
		w.Add("effect")
		return nil, err
	})
}

func (w *world) want(t *testing.T, n int) {
	t.Helper()
	if c := w.Count("effect"); c != n {
		t.Errorf("%d effects, want %d", c, n)
	}
}

// setup is a guarded server, a connection to it and the world behind it.
func setup(t *testing.T, change ...func(*grpcguard.ServerOptions)) (*onceguard.Guard, *world, *grpc.ClientConn) {
	t.Helper()
	g := guardtest.New(t, onceguard.Options{Limits: onceguard.Limits{Wait: 50 * time.Millisecond}, SettleWait: time.Second, StoreTimeout: time.Second})
	w := &world{}
	_, addr := serve(t, w.handle, recovered, guarded(t, g, change...).Unary())
	return g, w, dial(t, addr)
}

var errOffline = errors.New("the provider is offline")
