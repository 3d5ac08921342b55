package ledger_test

import (
	"testing"

	"github.com/onceguard/onceguard/internal/ledger"
)

func TestVoidMarkOnlyGrows(t *testing.T) {
	ctx := testContext(t)
	file := newFile(t)
	c, _, stop := serve(t, file)
	for _, step := range []struct{ through, mark int64 }{{2, 2}, {5, 5}, {3, 5}, {5, 5}} {
		if v := must(c.Void(ctx, "k", step.through))(t); v.Through != step.mark || v.Effect != nil {
			t.Errorf("void through %d: %+v, want mark %d", step.through, v, step.mark)
		}
	}
	if n := len(must(c.History(ctx))(t)); n != 2 {
		t.Errorf("%d records, want one for each rise", n)
	}
	try := func(key string, attempt int64, want string) {
		t.Helper()
		if got := verdict(c.Apply(ctx, ledger.Request{Op: "op", Key: key, Attempt: attempt})); got != want {
			t.Errorf("key %q, attempt %d: %s, want %s", key, attempt, got, want)
		}
	}
	try("k", 4, "410 voided")
	stop()
	c, _, _ = serve(t, file)
	try("k", 1, "410 voided")
	try("k", 5, "410 voided")
	try("k", 0, "410 voided") // an attempt that does not say which it is
	try("other", 1, "applied")
	try("", 1, "applied")
	try("k", 6, "applied")
	if v := must(c.Void(ctx, "k", 6))(t); v.Through != 6 || v.Effect == nil || v.Effect.Attempt != 6 {
		t.Errorf("void after an effect: %+v, want that effect", v)
	}
	try("k", 6, "410 voided")
	if err := c.Modes(ctx, "op", ledger.Mode{Dedup: true}); err != nil {
		t.Fatal(err)
	}
	try("k", 6, "replayed") // it did happen: say so
}

func TestVoidForGood(t *testing.T) {
	ctx := testContext(t)
	c, addr, _ := serve(t, newFile(t))
	post(ctx, t, "http://"+addr+"/void/k", nil, "", 200)
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "op", Key: "k", Attempt: 1 << 40})); got != "410 voided" {
		t.Errorf("got %s", got)
	}
	for _, through := range []int64{0, -1} {
		if v, err := c.Void(ctx, "k", through); err == nil {
			t.Errorf("void through %d: %+v", through, v)
		}
	}
}
