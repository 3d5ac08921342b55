package grpcguard_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/guardtest"
)

// TestUnreadableMessage: the effect has happened, so a message that cannot be kept,
// or whose type is not linked in, costs the replay its message and nothing else.
func TestUnreadableMessage(t *testing.T) {
	for name, c := range map[string]struct {
		message any
		result  string
	}{
		"type not linked in": {dynamicpb.NewMessage(every(t)), "damaged"},
		"no protobuf":        {"plain text", "unstorable"},
	} {
		t.Run(name, func(t *testing.T) {
			intercept := guarded(t, guardtest.New(t)).Unary()
			ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(grpcguard.MetadataKey, "k"))
			runs := 0
			run := func() (any, error) {
				return intercept(ctx, text("a"), &grpc.UnaryServerInfo{FullMethod: create}, func(context.Context, any) (any, error) {
					runs++
					return c.message, nil
				})
			}
			if m, err := run(); err != nil || m != c.message {
				t.Errorf("the first caller got %v, %v", m, err)
			}
			_, err := run()
			if g := (got{err: err}); g.reason() != grpcguard.ReasonAlreadyCompleted || g.fact("state") != "succeeded" || g.fact("result") != c.result {
				t.Errorf("the retry got %v %q %q", err, g.fact("state"), g.fact("result"))
			}
			if runs != 1 {
				t.Errorf("%d runs", runs)
			}
		})
	}
}
