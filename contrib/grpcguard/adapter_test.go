package grpcguard_test

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/guardtest"
)

// TestServerAdapter holds the server's interceptor to the suite for adapters.
func TestServerAdapter(t *testing.T) {
	guardtest.Run(t, guardtest.Adapter{Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
		_, addr := serve(t, func(ctx context.Context, _ string, in *structpb.Struct) (*structpb.Struct, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			reply, err := h(ctx, guardtest.Message{ID: md.Get(grpcguard.MetadataKey)[0], Payload: textOf(in)})
			return text(reply), err
		}, recovered, guarded(t, g).Unary())
		cc := dial(t, addr)
		return func(ctx context.Context, m guardtest.Message) guardtest.Answer {
			return learned(call(ctx, cc, create, m.ID, text(m.Payload)))
		}
	}})
}

// learned is what a client that reads codes and reasons knows.
func learned(g got) guardtest.Answer {
	a := guardtest.Answer{}
	if g.err != nil {
		a.Detail = g.err.Error()
	}
	switch code := status.Code(g.err); {
	case g.err == nil:
		a.Verdict, a.Reply = guardtest.Done, g.text
	case g.reason() == grpcguard.ReasonInProgress:
		a.Verdict = guardtest.InProgress
	case g.reason() == grpcguard.ReasonOutcomeUnknown:
		a.Verdict = guardtest.Uncertain
	case g.reason() == grpcguard.ReasonKeyReused:
		a.Verdict = guardtest.Mismatch
	case code == codes.Unavailable:
		a.Verdict = guardtest.Again
	case code == codes.FailedPrecondition && g.reason() == "":
		a.Verdict = guardtest.Refused
	case code == codes.Internal, code == codes.Canceled: // a panic that was recovered from; the caller has gone
		a.Verdict = guardtest.Uncertain
	}
	return a
}

// TestClientAdapter holds the client's interceptor to the same suite: the handler
// is the peer, and its errors are statuses.
func TestClientAdapter(t *testing.T) {
	guardtest.Run(t, guardtest.Adapter{Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
		_, addr := serve(t, func(ctx context.Context, _ string, in *structpb.Struct) (*structpb.Struct, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			reply, err := h(ctx, guardtest.Message{ID: md.Get("message-id")[0], Payload: textOf(in)})
			switch _, meant := onceguard.Do(context.Background(), guardtest.New(t), onceguard.Request{Action: "a", Key: onceguard.KeyOf("id", 1)},
				func(context.Context, *onceguard.Attempt) (string, error) { return "", err }); {
			case err == nil:
				return text(reply), nil
			case errors.Is(meant, onceguard.ErrNotExecuted):
				return nil, status.Error(codes.ResourceExhausted, "again")
			case errors.Is(meant, onceguard.ErrRefused):
				return nil, status.Error(codes.FailedPrecondition, "refused")
			}
			return nil, status.Error(codes.Internal, "unknown")
		}, recovered)
		c := client(t, g, grpcguard.Rule{Classify: func(st *status.Status) onceguard.StatusClass {
			if st.Code() == codes.ResourceExhausted { // documented by this service as before any work
				return onceguard.StatusNotExecuted
			}
			return grpcguard.ClassifyPeer(st)
		}})
		cc := dial(t, addr, intercept(c))
		return func(ctx context.Context, m guardtest.Message) guardtest.Answer {
			ctx = metadata.AppendToOutgoingContext(grpcguard.WithKey(ctx, onceguard.KeyOf("message", m.ID)), "message-id", m.ID)
			out := &structpb.Struct{}
			err := cc.Invoke(ctx, create, text(m.Payload), out)
			a := guardtest.Answer{Reply: textOf(out)}
			switch {
			case err == nil:
				a.Verdict = guardtest.Done
			case errors.Is(err, onceguard.ErrInProgress):
				a.Verdict = guardtest.InProgress
			case errors.Is(err, onceguard.ErrMismatch):
				a.Verdict = guardtest.Mismatch
			case errors.Is(err, onceguard.ErrRefused):
				a.Verdict = guardtest.Refused
			case !onceguard.MayHaveRun(err):
				a.Verdict = guardtest.Again
			default:
				a.Verdict = guardtest.Uncertain
			}
			if err != nil {
				a.Detail = err.Error()
			}
			return a
		}
	}})
}
