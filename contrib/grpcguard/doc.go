// Package grpcguard puts the guard at the gRPC boundary, for unary calls.
//
// [Server] guards methods of a service: the first call with the metadata key
// idempotency-key runs the handler, every later one with the same key gets the
// same message or the same refusal and runs nothing.
//
//	refunds, err := grpcguard.NewServer(guard, grpcguard.ServerOptions{
//		Scope:   func(ctx context.Context, _ string) (string, error) { return tenantOf(ctx) },
//		Methods: map[string]grpcguard.Method{"/billing.v1.Refunds/Create": {}},
//	})
//	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(authenticate, refunds.Unary()))
//
// [Client] guards outgoing calls: each is sent at most once per key of its
// context, and nothing below it (grpc's retry policy, an inner interceptor) sends
// it again.
//
// Streams, and methods that are not named, pass through untouched.
//
// # What one request is
//
// The same key means the same request: the full method and the message. Messages
// are compared in a form of this package's own (fields by number, map entries by
// key, unknown fields kept), not by the bytes received: protobuf has no canonical
// encoding, and Go shuffles map entries on every call, so that a plain retry would
// look like another request. proto.MarshalOptions.Deterministic is not it either:
// it promises the same bytes within one binary, and a receipt lives for longer.
// A field that a client of another version fills in is another request; Meaning
// narrows what counts. The content of a google.protobuf.Any is compared byte by
// byte, since its type need not be known here.
package grpcguard
