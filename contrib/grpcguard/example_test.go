package grpcguard_test

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/memstore"
)

// authenticate stands for the interceptor that finds out who calls.
func authenticate(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	return h(ctx, req)
}

func tenantOf(context.Context) (string, error) { return "tenant-1", nil }

// A client that hears no answer makes its call again. The handler ran once.
func ExampleServer() {
	guard, err := onceguard.New(context.Background(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	made := 0
	register := func(srv *grpc.Server) {
		service(srv, func(context.Context, string, *structpb.Struct) (*structpb.Struct, error) {
			made++
			return text(fmt.Sprintf("refund %d", made)), nil
		})
	}
	err = func() error {
		// doc: grpc-server
		refunds, err := grpcguard.NewServer(guard, grpcguard.ServerOptions{
			Scope:   func(ctx context.Context, _ string) (string, error) { return tenantOf(ctx) }, // of the authenticated caller
			Methods: map[string]grpcguard.Method{"/test.v1.Refunds/Create": {}},                   // in full; others pass
		})
		if err != nil {
			return err
		}
		srv := grpc.NewServer(grpc.ChainUnaryInterceptor(authenticate, refunds.Unary()))
		register(srv)
		if err := refunds.Check(srv); err != nil { // a misspelt method would be unguarded
			return err
		}
		// end doc
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go func() { _ = srv.Serve(ln) }()
		defer srv.Stop()
		return callTwice(ln.Addr().String())
	}()
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// refund 1, replayed []
	// refund 1, replayed [true]
}

func callTwice(addr string) error {
	cc, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = cc.Close() }()
	for range 2 {
		ctx := metadata.AppendToOutgoingContext(context.Background(), grpcguard.MetadataKey, "order-7")
		out := &structpb.Struct{}
		var header metadata.MD
		if err := cc.Invoke(ctx, create, text("order 7"), out, grpc.Header(&header)); err != nil {
			return err
		}
		fmt.Printf("%s, replayed %v\n", textOf(out), header.Get(grpcguard.MetadataReplayed))
	}
	return nil
}

// An order is paid once, however often the program tries.
func ExampleClient() {
	guard, err := onceguard.New(context.Background(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	made := 0
	srv := grpc.NewServer()
	service(srv, func(context.Context, string, *structpb.Struct) (*structpb.Struct, error) {
		made++
		return text(fmt.Sprintf("payment %d", made)), nil
	})
	go func() { _ = srv.Serve(ln) }()
	defer srv.Stop()
	address, credentials := ln.Addr().String(), insecure.NewCredentials()
	err = func() error {
		// doc: grpc-client
		payments, err := grpcguard.NewClient(guard, grpcguard.ClientOptions{
			Rules: map[string]grpcguard.Rule{"/test.v1.Refunds/Create": {Action: "payment.create"}},
		})
		if err != nil {
			return err
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials), grpc.WithChainUnaryInterceptor(payments.Unary()))
		if err != nil {
			return err
		}
		pay := func(ctx context.Context, order string, in, out *structpb.Struct) error {
			return conn.Invoke(grpcguard.WithKey(ctx, onceguard.KeyOf("order", order)), "/test.v1.Refunds/Create", in, out)
		}
		// end doc
		defer func() { _ = conn.Close() }()
		for range 2 {
			out := &structpb.Struct{}
			if err := pay(context.Background(), "A-7", text("100 EUR"), out); err != nil {
				return err
			}
			fmt.Println(textOf(out))
		}
		return nil
	}()
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// payment 1
	// payment 1
}
