package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/ledger"
)

// inFlight sends a request and returns once it has arrived. The verdict comes
// later, on the channel; hangUp makes the client go away.
func inFlight(ctx context.Context, t *testing.T, c *ledger.Client, r ledger.Request, mode ledger.Mode) (saw <-chan string, hangUp func()) {
	t.Helper()
	if err := c.Modes(ctx, r.Op, mode, ledger.Mode{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	out := make(chan string, 1)
	go func() { out <- verdict(c.Apply(ctx, r)) }()
	if err := c.WaitArrived(ctx, r.Op, 1); err != nil {
		t.Fatal(err)
	}
	return out, cancel
}

func TestHoldIsDecidedAtItsRelease(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	saw, _ := inFlight(ctx, t, c, ledger.Request{Op: "op", Key: "k"}, ledger.Mode{Hold: true})
	if _, found, err := c.ByKey(ctx, "k"); found || err != nil {
		t.Errorf("a held request was seen, %v", err)
	}
	if err := c.Release(ctx, "another"); err != nil {
		t.Fatal(err)
	}
	if got := must(c.Total(ctx))(t); got != 0 {
		t.Errorf("%d effects while held, want 0", got)
	}
	if err := c.Release(ctx, "op"); err != nil {
		t.Fatal(err)
	}
	if got := <-saw; got != "applied" {
		t.Errorf("released: %s", got)
	}
	if _, found, err := c.ByKey(ctx, "k"); !found || err != nil {
		t.Errorf("not seen after its release, %v", err)
	}
}

func TestEffectComesLateWhenTheClientIsGone(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	saw, hangUp := inFlight(ctx, t, c, ledger.Request{Op: "op", Key: "k"}, ledger.Mode{Hold: true})
	hangUp()
	if got := <-saw; got != "no answer" {
		t.Fatalf("hung up: %s", got)
	}
	// A second attempt overtakes it, and the first one is applied all the same.
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "op", Key: "k"})); got != "applied" {
		t.Errorf("second: %s", got)
	}
	if err := c.Release(ctx, "op"); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitDecided(ctx, "op", 2); err != nil {
		t.Fatal(err)
	}
	sum := must(c.Summary(ctx))(t)
	if diff := cmp.Diff(ledger.Summary{Total: 2, Ops: map[string]int{"op": 2}}, sum); diff != "" || sum.Duplicates() != 1 {
		t.Errorf("%d duplicates, want 1 (-want +got)\n%s", sum.Duplicates(), diff)
	}
}

func TestHeldRequestMeetsAVoid(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	saw, _ := inFlight(ctx, t, c, ledger.Request{Op: "op", Key: "k", Attempt: 1}, ledger.Mode{Hold: true})
	if v := must(c.Void(ctx, "k", 1))(t); v.Effect != nil {
		t.Errorf("void found %+v", v.Effect)
	}
	if err := c.Release(ctx, "op"); err != nil {
		t.Fatal(err)
	}
	if got := <-saw; got != "410 voided" {
		t.Errorf("released: %s", got)
	}
}

func TestHoldAnswerHasItsEffect(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	saw, _ := inFlight(ctx, t, c, ledger.Request{Op: "op"}, ledger.Mode{HoldAnswer: true})
	if err := c.WaitDecided(ctx, "op", 1); err != nil {
		t.Fatal(err)
	}
	if got := must(c.Count(ctx, "op"))(t); got != 1 {
		t.Errorf("%d effects, want 1", got)
	}
	select {
	case got := <-saw:
		t.Fatalf("answered without a release: %s", got)
	default:
	}
	if err := c.Release(ctx, "op"); err != nil {
		t.Fatal(err)
	}
	if got := <-saw; got != "applied" {
		t.Errorf("released: %s", got)
	}
}

func TestStopDropsWhatIsHeld(t *testing.T) {
	ctx := testContext(t)
	file := newFile(t)
	c, _, stop := serve(t, file)
	held, _ := inFlight(ctx, t, c, ledger.Request{Op: "op"}, ledger.Mode{Hold: true})
	slow, _ := inFlight(ctx, t, c, ledger.Request{Op: "slow"}, ledger.Mode{Slow: time.Hour})
	stop()
	if a, b := <-held, <-slow; a != "no answer" || b != "no answer" {
		t.Errorf("held: %s, slow: %s", a, b)
	}
	c, _, _ = serve(t, file)
	if got := must(c.History(ctx))(t); len(got) != 0 {
		t.Errorf("history %+v, want none", got)
	}
}

func TestSlow(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	const delay = 30 * time.Millisecond
	if err := c.Modes(ctx, "op", ledger.Mode{Slow: delay}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "op"})); got != "applied" {
		t.Errorf("slow: %s", got)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("took %v, want at least %v", took, delay)
	}
}

func TestAnswerTwice(t *testing.T) {
	ctx := testContext(t)
	c, addr, _ := serve(t, newFile(t))
	if err := c.Modes(ctx, "op", ledger.Mode{AnswerTwice: true}); err != nil {
		t.Fatal(err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "POST /effects HTTP/1.1\r\nHost: x\r\nLedger-Op: op\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	rd := bufio.NewReader(bytes.NewReader(data))
	var bodies []string
	for range 2 {
		resp, err := http.ReadResponse(rd, nil)
		if err != nil {
			t.Fatalf("%v in %q", err, data)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Fatalf("%s, %v", resp.Status, err)
		}
		bodies = append(bodies, string(body))
	}
	if bodies[0] != bodies[1] || bodies[0] == "" || rd.Buffered() != 0 {
		t.Errorf("two answers %q, %d bytes left", bodies, rd.Buffered())
	}
	if got := must(c.Count(ctx, "op"))(t); got != 1 {
		t.Errorf("%d effects, want 1", got)
	}
	// Our own client takes the first one and is not confused.
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "op"})); got != "applied" {
		t.Errorf("client: %s", got)
	}
}
