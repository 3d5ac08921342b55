package grpcguard_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
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

func TestReplay(t *testing.T) {
	_, w, cc := setup(t)
	first := call(t.Context(), cc, create, "k", text("a"))
	again := call(t.Context(), cc, create, "k", text("a"))
	if first.err != nil || first.text != "did a" || first.replayed() {
		t.Errorf("the first call got %+v", first)
	}
	if again.err != nil || again.text != "did a" || !again.replayed() {
		t.Errorf("the retry got %+v", again)
	}
	w.want(t, 1)
	if other := call(t.Context(), cc, create, "k2", text("a")); other.err != nil || other.replayed() {
		t.Errorf("another key got %+v", other)
	}
	w.want(t, 2)
}

// TestRetryShufflesMaps: Go encodes a map in another order on every call.
func TestRetryShufflesMaps(t *testing.T) {
	_, w, cc := setup(t)
	fields := map[string]any{"text": "a"}
	for i := range 20 {
		fields["f"+strings.Repeat("x", i)] = float64(i)
	}
	for range 10 {
		if g := call(t.Context(), cc, create, "k", message(t, fields)); g.err != nil {
			t.Fatal(g.err)
		}
	}
	w.want(t, 1)
}

// TestUnguarded: methods that are not named, optional keys, and streams.
func TestUnguarded(t *testing.T) {
	_, w, cc := setup(t, func(o *grpcguard.ServerOptions) { o.Methods = map[string]grpcguard.Method{create: {Optional: true}} })
	for _, c := range []struct{ name, method, key string }{{"another method", read, "k"}, {"no key, optional", create, ""}} {
		t.Run(c.name, func(t *testing.T) {
			before := w.Total()
			for range 2 {
				if g := call(t.Context(), cc, c.method, c.key, text("a")); g.err != nil || g.replayed() {
					t.Errorf("got %+v", g)
				}
			}
			w.want(t, before+2)
		})
	}
	t.Run("stream", func(t *testing.T) {
		before := w.Total()
		for range 2 {
			ctx := metadata.AppendToOutgoingContext(t.Context(), grpcguard.MetadataKey, "k")
			s, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/test.v1.Refunds/Watch")
			if err != nil {
				t.Fatal(err)
			}
			out := &structpb.Struct{}
			if err := errors.Join(s.SendMsg(text("a")), s.CloseSend(), s.RecvMsg(out)); err != nil || textOf(out) != "did a" {
				t.Errorf("got %v, %v", out, err)
			}
		}
		w.want(t, before+2)
	})
}

// TestHandlerStatus: what each code of a handler means, by a second call.
func TestHandlerStatus(t *testing.T) {
	refusals := map[codes.Code]bool{
		codes.InvalidArgument: true, codes.FailedPrecondition: true, codes.OutOfRange: true, codes.NotFound: true,
		codes.AlreadyExists: true, codes.PermissionDenied: true, codes.Unauthenticated: true, codes.Unimplemented: true,
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			_, w, cc := setup(t)
			st, err := status.New(code, "no: "+code.String()).WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "amount"}}})
			if err != nil {
				t.Fatal(err)
			}
			w.answers(st.Err())
			first := call(t.Context(), cc, create, "k", text("a"))
			again := call(t.Context(), cc, create, "k", text("a"))
			w.want(t, 1)
			if refusals[code] {
				for _, g := range []got{first, again} {
					if !proto.Equal(status.Convert(g.err).Proto(), st.Proto()) {
						t.Errorf("got %v, want the handler's status", g.err)
					}
				}
				if first.replayed() || !again.replayed() {
					t.Error("the refusal's replay, and it alone, must be marked")
				}
				return
			}
			for _, g := range []got{first, again} {
				if g.reason() != grpcguard.ReasonOutcomeUnknown || status.Code(g.err) != codes.Unknown {
					t.Errorf("got %v", g.err)
				}
			}
			if first.fact("handler_code") != code.String() {
				t.Errorf("the first caller is told %q", first.fact("handler_code"))
			}
		})
	}
}

// TestDeclared: what a handler declares goes before its code.
func TestDeclared(t *testing.T) {
	t.Run("not executed", func(t *testing.T) {
		_, w, cc := setup(t)
		w.answers(onceguard.NotExecuted(status.Error(codes.InvalidArgument, "no amount")))
		for range 2 {
			if g := call(t.Context(), cc, create, "k", text("a")); status.Code(g.err) != codes.InvalidArgument || g.reason() != "" || status.Convert(g.err).Message() != "no amount" {
				t.Errorf("got %v", g.err)
			}
		}
		w.want(t, 2)
		w.become(nil)
		if g := call(t.Context(), cc, create, "k", text("mended")); g.err != nil {
			t.Errorf("a key whose call did nothing must take another message: %v", g.err)
		}
	})
	t.Run("plain errors", func(t *testing.T) {
		_, w, cc := setup(t)
		w.answers(onceguard.NotExecuted(errOffline))
		if g := call(t.Context(), cc, create, "k", text("a")); status.Code(g.err) != codes.Unavailable {
			t.Errorf("not executed: %v", g.err)
		}
		w.answers(onceguard.Refused(errors.New("declined")))
		for range 2 {
			if g := call(t.Context(), cc, create, "k", text("a")); status.Code(g.err) != codes.FailedPrecondition || status.Convert(g.err).Message() != "declined" {
				t.Errorf("refused: %v", g.err)
			}
		}
		w.want(t, 2)
	})
	t.Run("classify", func(t *testing.T) {
		_, w, cc := setup(t, func(o *grpcguard.ServerOptions) {
			o.Methods = map[string]grpcguard.Method{create: {Classify: func(st *status.Status) onceguard.StatusClass {
				if st.Code() == codes.ResourceExhausted {
					return onceguard.StatusNotExecuted
				}
				return grpcguard.ClassifyHandler(st)
			}}}
		})
		w.answers(status.Error(codes.ResourceExhausted, "slow down"))
		for range 2 {
			if g := call(t.Context(), cc, create, "k", text("a")); status.Code(g.err) != codes.ResourceExhausted {
				t.Errorf("got %v", g.err)
			}
		}
		w.want(t, 2)
	})
}

// held makes the handler wait, and returns when it has started.
func (w *world) held() (started chan struct{}, release func()) {
	started, free := make(chan struct{}), make(chan struct{})
	w.become(func(ctx context.Context, _ string, in *structpb.Struct) (*structpb.Struct, error) {
		close(started)
		<-free
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		w.Add("effect")
		return text("did " + textOf(in)), nil
	})
	return started, sync.OnceFunc(func() { close(free) })
}

// TestInFlight: duplicates while the first is handled.
func TestInFlight(t *testing.T) {
	_, w, cc := setup(t)
	started, release := w.held()
	defer release()
	first := make(chan got, 1)
	go func() { first <- call(t.Context(), cc, create, "k", text("a")) }()
	<-started
	g := call(t.Context(), cc, create, "k", text("a"))
	if g.reason() != grpcguard.ReasonInProgress || status.Code(g.err) != codes.Aborted {
		t.Errorf("a duplicate got %v", g.err)
	}
	var delay time.Duration
	for _, d := range status.Convert(g.err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			delay = r.RetryDelay.AsDuration()
		}
	}
	if delay < 50*time.Second || delay > time.Minute {
		t.Errorf("RetryInfo says %s; the lease is a minute", delay)
	}
	if g.fact("retry") != grpcguard.RetrySameKey || g.fact("attempt") != "1" || g.fact("state") != "claimed" {
		t.Errorf("the detail says %v", g.err)
	}
	if g := call(t.Context(), cc, create, "k", text("b")); g.reason() != grpcguard.ReasonKeyReused || g.fact("request_id") != "" {
		t.Errorf("another message under the key got %v", g.err)
	}
	release()
	if g := <-first; g.err != nil {
		t.Error(g.err)
	}
	w.want(t, 1)
}

// TestConcurrent: many at once, one effect, one answer.
func TestConcurrent(t *testing.T) {
	_, w, cc := setup(t, func(o *grpcguard.ServerOptions) {
		o.Methods = map[string]grpcguard.Method{create: {Limits: onceguard.Limits{Wait: time.Minute}}}
	})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if g := call(t.Context(), cc, create, "k", text("a")); g.err != nil || g.text != "did a" {
				t.Errorf("got %+v", g)
			}
		})
	}
	all.Wait()
	w.want(t, 1)
}

// TestCallerGone: a cancel and a cut connection do not end the handler, and the
// retry collects its answer.
func TestCallerGone(t *testing.T) {
	for name, leave := range map[string]func(context.CancelFunc, *grpc.ClientConn){
		"cancel":         func(cancel context.CancelFunc, _ *grpc.ClientConn) { cancel() },
		"cut connection": func(_ context.CancelFunc, cc *grpc.ClientConn) { _ = cc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			g := guardtest.New(t)
			w := &world{}
			over := make(chan struct{})
			_, addr := serve(t, w.handle, func(ctx context.Context, req any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
				context.AfterFunc(ctx, sync.OnceFunc(func() { over <- struct{}{} }))
				return h(ctx, req)
			}, guarded(t, g).Unary())
			started, release := w.held()
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cc := dial(t, addr)
			first := make(chan got, 1)
			go func() { first <- call(ctx, cc, create, "k", text("a")) }()
			<-started
			leave(cancel, cc)
			if got := <-first; status.Code(got.err) != codes.Canceled {
				t.Errorf("the first caller got %v", got.err)
			}
			<-over // the server knows that the caller has gone
			release()
			go func() { <-over }() // of the retry's own end
			if got := call(t.Context(), dial(t, addr), create, "k", text("a")); got.err != nil || got.text != "did a" {
				t.Errorf("the retry got %+v", got)
			}
			w.want(t, 1)
		})
	}
}

// TestPatience: a duplicate stops waiting before its caller stops listening.
func TestPatience(t *testing.T) {
	end := time.Now().Add(time.Hour)
	ctx, cancel := context.WithDeadline(t.Context(), end)
	defer cancel()
	ctx, cancel2 := grpcguard.Patience(ctx)
	defer cancel2()
	if at, ok := ctx.Deadline(); !ok || end.Sub(at) != time.Second {
		t.Errorf("the wait ends %s before the call", end.Sub(at))
	}
	ctx, cancel3 := grpcguard.Patience(t.Context())
	defer cancel3()
	if _, ok := ctx.Deadline(); ok {
		t.Error("a call without a deadline got one")
	}
}
