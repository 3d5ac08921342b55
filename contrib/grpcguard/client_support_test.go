package grpcguard_test

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
)

// client guards test.v1.Refunds/Create by one rule.
func client(t testing.TB, g *onceguard.Guard, r grpcguard.Rule) *grpcguard.Client {
	t.Helper()
	c, err := grpcguard.NewClient(g, grpcguard.ClientOptions{Rules: map[string]grpcguard.Rule{create: r}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func intercept(c *grpcguard.Client, inner ...grpc.UnaryClientInterceptor) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(append([]grpc.UnaryClientInterceptor{c.Unary()}, inner...)...)
}
