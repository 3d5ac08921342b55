package ledger_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard/internal/ledger"
)

func TestKilledLedgerRemembers(t *testing.T) {
	ctx := testContext(t)
	file := newFile(t)
	c, cmd := start(t, file)
	if err := c.Modes(ctx, "", ledger.Mode{Dedup: true, Sticky: true}); err != nil {
		t.Fatal(err)
	}
	first := must(c.Apply(ctx, ledger.Request{Op: "paid", Key: "paid"}))(t)
	must(c.Void(ctx, "void", 3))(t)
	if err := c.Modes(ctx, "no", ledger.Mode{Refuse: "no funds"}); err != nil {
		t.Fatal(err)
	}
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "no", Key: "no"})); got != "402 refused" {
		t.Fatal(got)
	}
	saw, _ := inFlight(ctx, t, c, ledger.Request{Op: "held", Key: "held"}, ledger.Mode{Hold: true})
	before := must(c.History(ctx))(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := <-saw; got != "no answer" {
		t.Errorf("held: %s", got)
	}

	c, _ = start(t, file)
	if diff := cmp.Diff(before, must(c.History(ctx))(t)); diff != "" {
		t.Errorf("history (-before +after)\n%s", diff)
	}
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "plain", Key: "void", Attempt: 3})); got != "410 voided" {
		t.Errorf("void: %s", got)
	}
	if err := c.Modes(ctx, "", ledger.Mode{Dedup: true, Sticky: true}); err != nil {
		t.Fatal(err)
	}
	again := must(c.Apply(ctx, ledger.Request{Op: "paid", Key: "paid"}))(t)
	if diff := cmp.Diff(first.Effect, again.Effect); diff != "" || !again.Replayed {
		t.Errorf("paid, replayed %v (-first +again)\n%s", again.Replayed, diff)
	}
	if got := verdict(c.Apply(ctx, ledger.Request{Op: "no", Key: "no"})); got != "402 refused" {
		t.Errorf("no: %s", got)
	}
	second := must(c.Apply(ctx, ledger.Request{Op: "held", Key: "held"}))(t)
	if second.ID == first.ID || second.Replayed {
		t.Errorf("held: %+v, want an effect of its own", second)
	}
	want := ledger.Summary{Total: 2, Ops: map[string]int{"paid": 1, "no": 0, "held": 1, "plain": 0}}
	if diff := cmp.Diff(want, must(c.Summary(ctx))(t)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestDie(t *testing.T) {
	for when, want := range map[string]struct {
		effects   int
		decisions []ledger.Decision
	}{
		ledger.Before: {0, []ledger.Decision{ledger.Died}},
		ledger.After:  {1, []ledger.Decision{ledger.Applied}},
	} {
		t.Run(when, func(t *testing.T) {
			ctx := testContext(t)
			file := newFile(t)
			c, cmd := start(t, file)
			if err := c.Modes(ctx, "op", ledger.Mode{Die: when}); err != nil {
				t.Fatal(err)
			}
			if got := verdict(c.Apply(ctx, ledger.Request{Op: "op", Key: "k"})); got != "no answer" {
				t.Errorf("got %s", got)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != ledger.DieStatus {
				t.Errorf("exit status %d, want %d", got, ledger.DieStatus)
			}
			c, _ = start(t, file)
			if got := must(c.Count(ctx, "op"))(t); got != want.effects {
				t.Errorf("%d effects, want %d", got, want.effects)
			}
			if diff := cmp.Diff(want.decisions, decisions(ctx, t, c)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTornLineIsDropped(t *testing.T) {
	ctx := testContext(t)
	file := newFile(t)
	c, _, stop := serve(t, file)
	must(c.Apply(ctx, ledger.Request{Op: "op"}))(t)
	stop()
	for _, torn := range []string{`{"n":2,"op":"torn","decision":"appl`, `{"n`, `{`} {
		appendTo(t, file, torn)
		c, _, stop = serve(t, file)
		if got := must(c.Total(ctx))(t); got != 1 {
			t.Errorf("torn %q: %d effects, want 1", torn, got)
		}
		stop()
	}
	c, _, _ = serve(t, file)
	if e := must(c.Apply(ctx, ledger.Request{Op: "op"}))(t); e.ID != "eff_2" {
		t.Errorf("the next effect is %s, want eff_2", e.ID)
	}
}

func TestRunRefuses(t *testing.T) {
	dir := t.TempDir()
	text := func(name, content string) string {
		file := filepath.Join(dir, name)
		appendTo(t, file, content)
		return file
	}
	line := `{"n":1,"op":"a","arrived":"2026-01-01T00:00:00Z","decision":"applied","effect":"eff_1"}` + "\n"
	for name, tc := range map[string]struct {
		config ledger.Config
		say    string
	}{
		"no file":        {ledger.Config{}, "no file"},
		"open to others": {ledger.Config{File: filepath.Join(dir, "new"), Addr: "0.0.0.0:0"}, "loopback"},
		"every address":  {ledger.Config{File: filepath.Join(dir, "new"), Addr: ":0"}, "loopback"},
		"no port":        {ledger.Config{File: filepath.Join(dir, "new"), Addr: "127.0.0.1"}, "port"},
		"a folder":       {ledger.Config{File: dir}, "directory"},
		"some text":      {ledger.Config{File: text("text", "hello\n")}, "line 1"},
		"text unended":   {ledger.Config{File: text("unended", "hello")}, "torn record"},
		"other JSON":     {ledger.Config{File: text("json", `{"a":1}`)}, "torn record"},
		"line missing":   {ledger.Config{File: text("gap", strings.Replace(line, `"n":1`, `"n":2`, 1))}, "line 1 has number 2"},
		"line twice":     {ledger.Config{File: text("twice", line+line)}, "line 2 has number 1"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tc.config.Ready = func(string) {
				t.Error("it listens")
				cancel()
			}
			old, _ := os.ReadFile(tc.config.File)
			err := ledger.Run(ctx, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("got %v, want it to name %q", err, tc.say)
			}
			if now, _ := os.ReadFile(tc.config.File); string(now) != string(old) {
				t.Errorf("the file changed from %q to %q", old, now)
			}
		})
	}
}

func TestTwoWritersAreNoticed(t *testing.T) {
	ctx := testContext(t)
	file := newFile(t)
	one, _, _ := serve(t, file)
	two, _, _ := serve(t, file)
	must(one.Apply(ctx, ledger.Request{Op: "op"}))(t)
	for range 2 {
		if got := verdict(two.Apply(ctx, ledger.Request{Op: "op"})); got != "500 not-recorded" {
			t.Errorf("second writer: %s", got)
		}
	}
	if _, err := two.Void(ctx, "k", 1); err == nil {
		t.Error("second writer: voided")
	}
	if got := must(two.Total(ctx))(t); got != 0 {
		t.Errorf("second writer has %d effects that are not recorded", got)
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
