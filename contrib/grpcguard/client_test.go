package grpcguard_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/contrib/grpcguard"
	"github.com/onceguard/onceguard/guardtest"
)

var order7 = onceguard.KeyOf("order", 7)

// peer is an unguarded server that notes the keys it sees.
type peer struct {
	world
	addr string
	srv  *grpc.Server
	keys []string
}

func newPeer(t *testing.T) *peer {
	p := &peer{}
	p.srv, p.addr = serve(t, func(ctx context.Context, method string, in *structpb.Struct) (*structpb.Struct, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		p.mu.Lock()
		p.keys = append(p.keys, strings.Join(md.Get(grpcguard.MetadataKey), ","))
		p.mu.Unlock()
		return p.handle(ctx, method, in)
	}, recovered)
	return p
}

func send(ctx context.Context, cc *grpc.ClientConn, in *structpb.Struct, opts ...grpc.CallOption) (string, error) {
	out := &structpb.Struct{}
	err := cc.Invoke(grpcguard.WithKey(ctx, order7), create, in, out, opts...)
	return textOf(out), err
}

func TestClientReplay(t *testing.T) {
	p := newPeer(t)
	g := guardtest.New(t)
	cc := dial(t, p.addr, intercept(client(t, g, grpcguard.Rule{KeyLength: 32})))
	var header, trailer metadata.MD
	for i := range 3 {
		header, trailer = nil, nil
		var from grpcpeer.Peer
		// A key that the call has already is replaced: most of them are random.
		ctx := metadata.AppendToOutgoingContext(t.Context(), grpcguard.MetadataKey, "random")
		if got, err := send(ctx, cc, text("a"), grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from), grpc.UseCompressor(gzip.Name)); err != nil || got != "did a" {
			t.Fatalf("call %d got %q, %v", i, got, err)
		}
		if replayed := len(header.Get(grpcguard.MetadataReplayed)) == 1; replayed != (i > 0) {
			t.Errorf("call %d: replayed is %t", i, replayed)
		}
		if sent := from.Addr != nil && len(header.Get("content-type")) == 1; sent != (i == 0) {
			t.Errorf("call %d: the peer is %v, its header %v", i, from, header)
		}
	}
	p.want(t, 1)
	if len(p.keys) != 1 || len(p.keys[0]) != 32 || strings.Contains(p.keys[0], "random") {
		t.Errorf("the peer saw the keys %q", p.keys)
	}
}

// TestClientLostAnswer: the connection dies after the effect. Nothing is sent again,
// and no new key is made.
func TestClientLostAnswer(t *testing.T) {
	p := newPeer(t)
	g := guardtest.New(t)
	cc := dial(t, p.addr, intercept(client(t, g, grpcguard.Rule{})))
	p.become(func(context.Context, string, *structpb.Struct) (*structpb.Struct, error) {
		p.Add("effect")
		go p.srv.Stop() // cuts every connection
		select {}
	})
	_, err := send(t.Context(), cc, text("a"))
	if !errors.Is(err, onceguard.ErrUncertain) || status.Code(err) != codes.Unknown || !onceguard.MayHaveRun(err) {
		t.Errorf("got %v", err)
	}
	if info, ok := grpcguard.Info(status.Convert(err)); !ok || info.Metadata["handler_code"] != "Unavailable" {
		t.Errorf("the detail is %v", info)
	}
	next := newPeer(t)
	if _, err := send(t.Context(), dial(t, next.addr, intercept(client(t, g, grpcguard.Rule{}))), text("a")); !errors.Is(err, onceguard.ErrUncertain) {
		t.Errorf("the retry got %v", err)
	}
	p.want(t, 1)
	next.want(t, 0)
}

// TestClientSafeRetry: sent again with the same downstream key.
func TestClientSafeRetry(t *testing.T) {
	p := newPeer(t)
	cc := dial(t, p.addr, intercept(client(t, guardtest.New(t), grpcguard.Rule{Policy: onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)})))
	p.answers(status.Error(codes.Unavailable, "lost"))
	if _, err := send(t.Context(), cc, text("a")); !errors.Is(err, onceguard.ErrUncertain) {
		t.Errorf("got %v", err)
	}
	p.become(nil)
	if got, err := send(t.Context(), cc, text("a")); err != nil || got != "did a" {
		t.Errorf("the retry got %q, %v", got, err)
	}
	if len(p.keys) != 2 || p.keys[0] != p.keys[1] || p.keys[0] == "" {
		t.Errorf("the peer saw the keys %q", p.keys)
	}
}

const retryPolicy = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.001s","maxBackoff":"0.001s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// TestClientNoResending: neither grpc's retry policy nor an inner interceptor sends
// a guarded call again. The same policy does repeat an unguarded one.
func TestClientNoResending(t *testing.T) {
	again := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		for range 2 {
			if err := invoke(ctx, method, req, reply, cc, opts...); err == nil {
				return nil
			}
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	for name, opts := range map[string]struct {
		dial    []grpc.DialOption
		inner   []grpc.UnaryClientInterceptor
		without int // effects of one unguarded call
	}{
		"retry policy":      {dial: []grpc.DialOption{grpc.WithDefaultServiceConfig(retryPolicy), grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(1 << 20))}, without: 4},
		"inner interceptor": {inner: []grpc.UnaryClientInterceptor{again}, without: 3},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.answers(status.Error(codes.Unavailable, "after the effect"))
			c := client(t, guardtest.New(t), grpcguard.Rule{})
			cc := dial(t, p.addr, append(opts.dial, intercept(c, opts.inner...))...)
			if err := cc.Invoke(t.Context(), read, text("a"), &structpb.Struct{}); status.Code(err) != codes.Unavailable {
				t.Errorf("unguarded: %v", err)
			}
			p.want(t, opts.without)
			for range 2 {
				if _, err := send(t.Context(), cc, text("a")); !errors.Is(err, onceguard.ErrUncertain) {
					t.Errorf("got %v", err)
				}
			}
			p.want(t, opts.without+1)
		})
	}
}

// TestClientNothingSent: what never reached the wire may be tried again.
func TestClientNothingSent(t *testing.T) {
	g := guardtest.New(t)
	c := client(t, g, grpcguard.Rule{})
	p := newPeer(t)
	t.Run("nobody listens", func(t *testing.T) {
		_, err := send(t.Context(), dial(t, "127.0.0.1:1", intercept(c)), text("a"))
		if !errors.Is(err, onceguard.ErrNotExecuted) || status.Code(err) != codes.Unavailable || onceguard.MayHaveRun(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("lease lost before the first byte", func(t *testing.T) {
		late := client(t, g, grpcguard.Rule{})
		late.SetReady(func() error { return onceguard.NotExecuted(onceguard.ErrLeaseLost) })
		_, err := send(t.Context(), dial(t, p.addr, intercept(late)), text("a"))
		if !errors.Is(err, onceguard.ErrNotExecuted) || !errors.Is(err, onceguard.ErrLeaseLost) || status.Code(err) != codes.Unavailable {
			t.Errorf("got %v", err)
		}
		p.want(t, 0)
	})
	if got, err := send(t.Context(), dial(t, p.addr, intercept(c)), text("a")); err != nil || got != "did a" {
		t.Errorf("then: %q, %v", got, err)
	}
	p.want(t, 1)
}

// TestClientNotGRPC: a status made of a plain HTTP answer is no word of the peer.
func TestClientNotGRPC(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	cc := dial(t, strings.TrimPrefix(srv.URL, "http://"), intercept(client(t, guardtest.New(t), grpcguard.Rule{})))
	_, err := send(t.Context(), cc, text("a"))
	if info, _ := grpcguard.Info(status.Convert(err)); !errors.Is(err, onceguard.ErrUncertain) || info.GetMetadata()["handler_code"] != "Unimplemented" {
		t.Errorf("got %v", err)
	}
}

// TestClientPeerStatus: what each code of the peer means.
func TestClientPeerStatus(t *testing.T) {
	refusals := map[codes.Code]bool{
		codes.InvalidArgument: true, codes.FailedPrecondition: true, codes.OutOfRange: true, codes.NotFound: true,
		codes.PermissionDenied: true, codes.Unauthenticated: true, codes.Unimplemented: true,
	}
	p := newPeer(t)
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			before := p.Total()
			cc := dial(t, p.addr, intercept(client(t, guardtest.New(t), grpcguard.Rule{})))
			p.answers(status.Error(code, "no"))
			for range 2 {
				_, err := send(t.Context(), cc, text("a"))
				switch {
				case refusals[code] && (!errors.Is(err, onceguard.ErrRefused) || status.Code(err) != code || status.Convert(err).Message() != "no"):
					t.Errorf("want the refusal, got %v", err)
				case !refusals[code] && !errors.Is(err, onceguard.ErrUncertain):
					t.Errorf("want uncertain, got %v", err)
				}
			}
			p.want(t, before+1)
		})
	}
}

// TestClientOfGuardedServer: a guard on the other side acts once per key, so that
// safe-retry may send again.
func TestClientOfGuardedServer(t *testing.T) {
	behind := guardtest.New(t)
	w := &world{}
	_, addr := serve(t, w.handle, guarded(t, behind).Unary())
	cc := dial(t, addr, intercept(client(t, guardtest.New(t), grpcguard.Rule{Policy: onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)})))
	guardtest.StoreOf(t, behind).Down()
	if _, err := send(t.Context(), cc, text("a")); !errors.Is(err, onceguard.ErrUncertain) {
		t.Errorf("its store is down: %v", err)
	}
	guardtest.StoreOf(t, behind).Up()
	for range 2 {
		if got, err := send(t.Context(), cc, text("a")); err != nil || got != "did a" {
			t.Errorf("got %q, %v", got, err)
		}
	}
	w.want(t, 1)
}

// TestClientEarlierAttempt: answers that a server gives before it looks at the key
// are no word about the attempt before, which did happen.
func TestClientEarlierAttempt(t *testing.T) {
	for name, answer := range map[string]error{
		"no credentials": status.Error(codes.Unauthenticated, "expired"),
		"no permission":  status.Error(codes.PermissionDenied, "no"),
		"old server":     status.Error(codes.Unimplemented, "no such method"),
		"no scope":       ownAnswer(t, grpcguard.ReasonScopeDenied, codes.PermissionDenied),
		"no key":         ownAnswer(t, grpcguard.ReasonKeyMissing, codes.InvalidArgument),
		"key reused":     ownAnswer(t, grpcguard.ReasonKeyReused, codes.FailedPrecondition),
		"key expired":    ownAnswer(t, grpcguard.ReasonKeyExpired, codes.FailedPrecondition),
		"not kept":       ownAnswer(t, grpcguard.ReasonAlreadyCompleted, codes.AlreadyExists),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			cc := dial(t, p.addr, intercept(client(t, guardtest.New(t), grpcguard.Rule{Policy: onceguard.SafeRetry(time.Hour, onceguard.RefusalsRemembered)})))
			for _, err := range []error{status.Error(codes.Unavailable, "lost"), answer} {
				p.answers(err)
				if _, err := send(t.Context(), cc, text("a")); !errors.Is(err, onceguard.ErrUncertain) {
					t.Errorf("got %v", err)
				}
			}
			p.become(nil)
			if got, err := send(t.Context(), cc, text("a")); err != nil || got != "did a" {
				t.Errorf("then: %q, %v", got, err)
			}
		})
	}
}

// TestClientKeyKnown: at the first attempt, too, an answer that speaks of an earlier
// request with the same key is no refusal.
func TestClientKeyKnown(t *testing.T) {
	for _, reason := range []string{grpcguard.ReasonKeyReused, grpcguard.ReasonKeyExpired} {
		p := newPeer(t)
		p.answers(ownAnswer(t, reason, codes.FailedPrecondition))
		if _, err := send(t.Context(), dial(t, p.addr, intercept(client(t, guardtest.New(t), grpcguard.Rule{}))), text("a")); !errors.Is(err, onceguard.ErrUncertain) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// ownAnswer is a status of a guard on the other side.
func ownAnswer(t *testing.T, reason string, code codes.Code) error {
	t.Helper()
	st, err := status.New(code, "no").WithDetails(&errdetails.ErrorInfo{Domain: grpcguard.Domain, Reason: reason})
	if err != nil {
		t.Fatal(err)
	}
	return st.Err()
}

// TestClientPassesOn: a handler may return the client's error as it is; its status
// has no key in it.
func TestClientPassesOn(t *testing.T) {
	p := newPeer(t)
	p.answers(status.Error(codes.Unavailable, "lost"))
	_, err := send(t.Context(), dial(t, p.addr, intercept(client(t, guardtest.New(t), grpcguard.Rule{}))), text("a"))
	if !strings.Contains(err.Error(), "order=7") || strings.Contains(status.Convert(err).String(), "order=7") {
		t.Errorf("the error says %q, its status %q", err, status.Convert(err))
	}
}

// TestClientCallerGone: the caller's deadline does not end the call, its memory is
// left alone, and the retry collects the answer.
func TestClientCallerGone(t *testing.T) {
	p := newPeer(t)
	c := client(t, guardtest.New(t), grpcguard.Rule{})
	cc := dial(t, p.addr, intercept(c))
	started, release := p.held()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	in := text("a")
	var header metadata.MD
	_, err := send(ctx, cc, in, grpc.Header(&header))
	in.Fields["text"] = structpb.NewStringValue("changed meanwhile")
	if !errors.Is(err, onceguard.ErrInProgress) || status.Code(err) != codes.Canceled || !onceguard.MayHaveRun(err) {
		t.Errorf("got %v", err)
	}
	short, stop := context.WithCancel(t.Context())
	stop()
	if c.Drain(short) == nil {
		t.Error("Drain does not see the call")
	}
	release()
	if err := c.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if header != nil {
		t.Errorf("the header was written after the return: %v", header)
	}
	if got, err := send(t.Context(), cc, text("a")); err != nil || got != "did a" {
		t.Errorf("the retry got %q, %v", got, err)
	}
	p.want(t, 1)
}

// TestClientRefuses: calls that could not be protected are errors, and not sent.
func TestClientRefuses(t *testing.T) {
	p := newPeer(t)
	c := client(t, guardtest.New(t), grpcguard.Rule{})
	cc := dial(t, p.addr, intercept(c))
	keyed := grpcguard.WithKey(t.Context(), order7)
	for name, err := range map[string]error{
		"no key":          cc.Invoke(t.Context(), create, text("a"), &structpb.Struct{}),
		"malformed key":   cc.Invoke(grpcguard.WithKey(t.Context(), onceguard.KeyOf("at", time.Now())), create, text("a"), &structpb.Struct{}),
		"key, no rule":    cc.Invoke(keyed, read, text("a"), &structpb.Struct{}),
		"another subtype": cc.Invoke(keyed, create, text("a"), &structpb.Struct{}, grpc.CallContentSubtype("json")),
	} {
		if !errors.Is(err, onceguard.ErrInvalid) || onceguard.MayHaveRun(err) || status.Code(err) != codes.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(p.keys) != 0 {
		t.Errorf("%d calls reached the peer", len(p.keys))
	}
	if _, err := send(t.Context(), cc, text("a")); err != nil {
		t.Fatal(err)
	}
	if _, err := send(t.Context(), cc, text("b")); !errors.Is(err, onceguard.ErrMismatch) || status.Code(err) != codes.FailedPrecondition {
		t.Errorf("another message under the key: %v", err)
	}
	p.want(t, 1)
}
