package ledger_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onceguard/onceguard/internal/ledger"
)

func post(ctx context.Context, t *testing.T, url string, header map[string]string, body string, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return send(t, req, want)
}

func send(t *testing.T, req *http.Request, want int) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want {
		t.Errorf("%s %s: status %d, want %d: %s", req.Method, req.URL, resp.StatusCode, want, text)
	}
	return string(text)
}

func TestRecordOfARequest(t *testing.T) {
	ctx := testContext(t)
	c, addr, _ := serve(t, newFile(t))
	post(ctx, t, "http://"+addr+"/effects", nil, `{"op":"from-body"}`, http.StatusCreated)
	must(c.Apply(ctx, ledger.Request{Op: "op", Key: "k", Attempt: 3, Body: []byte("abc")}))(t)
	want := []ledger.Record{
		{
			N: 1, Op: "from-body", Decision: ledger.Applied, Effect: "eff_1",
			Body: "sha256:d740f4052b105c810372a8ae622b1840727e3f990446c4c58b42433d03a4d1ba",
		},
		{
			N: 2, Op: "op", Key: "k", Attempt: 3, Decision: ledger.Applied, Effect: "eff_2",
			Body: "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", // of FIPS 180-2
		},
	}
	got := must(c.History(ctx))(t)
	for n := range got {
		if got[n].Arrived.IsZero() {
			t.Errorf("record %d has no time", n+1)
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ledger.Record{}, "Arrived")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestEffectsOverHTTP(t *testing.T) {
	ctx := testContext(t)
	c, addr, _ := serve(t, newFile(t))
	for _, op := range []string{"a", "b", "a"} {
		must(c.Apply(ctx, ledger.Request{Op: op}))(t)
	}
	for query, want := range map[string]int{"?op=a": 2, "?op=b": 1, "?op=c": 0, "": 3} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/effects"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			Count   int              `json:"count"`
			Effects []map[string]any `json:"effects"`
		}
		text := send(t, req, http.StatusOK)
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		if list.Count != want || len(list.Effects) != want || list.Effects == nil {
			t.Errorf("%q: got %s, want %d effects", query, text, want)
		}
	}
	ids := make(map[string]bool)
	for _, e := range must(c.Effects(ctx, "a"))(t) {
		ids[e.ID] = true
	}
	if len(ids) != 2 {
		t.Errorf("effects of a are %v, want two", ids)
	}
}

func TestBadRequests(t *testing.T) {
	ctx := testContext(t)
	c, addr, _ := serve(t, newFile(t))
	for name, tc := range map[string]struct {
		path   string
		header map[string]string
		body   string
		say    string
	}{
		"no op":          {"/effects", nil, "", "no op"},
		"no op in body":  {"/effects", nil, `{"oops":1}`, "no op"},
		"attempt":        {"/effects", map[string]string{"Ledger-Op": "op", "Onceguard-Attempt": "two"}, "", "Onceguard-Attempt"},
		"attempt 0":      {"/effects", map[string]string{"Ledger-Op": "op", "Onceguard-Attempt": "0"}, "", "Onceguard-Attempt"},
		"op is a folder": {"/effects", map[string]string{"Ledger-Op": ".."}, "", "part of a path"},
		"key is a slash": {"/effects", map[string]string{"Ledger-Op": "op", "Idempotency-Key": "/"}, "", "part of a path"},
		"huge body":      {"/effects", map[string]string{"Ledger-Op": "op"}, strings.Repeat("x", 1<<20+1), "too large"},
		"unknown mode":   {"/modes", nil, `{"op":"op","modes":[{"sloow":1}]}`, "sloow"},
		"void":           {"/void/k?through=x", nil, "", "through"},
	} {
		t.Run(name, func(t *testing.T) {
			if text := post(ctx, t, "http://"+addr+tc.path, tc.header, tc.body, http.StatusBadRequest); !strings.Contains(text, tc.say) {
				t.Errorf("got %s, want it to name %q", text, tc.say)
			}
		})
	}
	if got := must(c.History(ctx))(t); len(got) != 0 {
		t.Errorf("history %+v, want none", got)
	}
	if err := c.WaitArrived(ctx, "", 1); err == nil {
		t.Error("waiting for no op at all")
	}
}

func TestHostileNames(t *testing.T) {
	ctx := testContext(t)
	c, _, _ := serve(t, newFile(t))
	for _, name := range []string{
		"a/b", "//", "a/../b", "../..", "a b", "%2F", "ä/ö", "?through=9", "#", "a;b", "by-key", "+", "'\"", "...",
	} {
		must(c.Apply(ctx, ledger.Request{Op: name, Key: name}))(t)
		if e, found, err := c.ByKey(ctx, name); !found || e.Op != name || err != nil {
			t.Errorf("%q: found %v %+v, %v", name, found, e, err)
		}
		if n, err := c.Count(ctx, name); n != 1 || err != nil {
			t.Errorf("%q: %d effects, %v", name, n, err)
		}
		if v, err := c.Void(ctx, name, 1); err != nil || v.Effect == nil {
			t.Errorf("%q: %+v, %v", name, v, err)
		}
		if err := c.Release(ctx, name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		mode ledger.Mode
		want int
	}{"plain": {ledger.Mode{}, 40}, "dedup": {ledger.Mode{Dedup: true}, 1}} {
		t.Run(name, func(t *testing.T) {
			ctx := testContext(t)
			c, _, _ := serve(t, newFile(t))
			if err := c.Modes(ctx, "op", tc.mode); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 40 {
				wg.Go(func() {
					if _, err := c.Apply(ctx, ledger.Request{Op: "op", Key: "k"}); err != nil {
						t.Error(err)
					}
				})
			}
			if err := c.WaitArrived(ctx, "op", 40); err != nil {
				t.Error(err)
			}
			wg.Wait()
			sum := must(c.Summary(ctx))(t)
			if sum.Total != tc.want || sum.Duplicates() != tc.want-1 {
				t.Errorf("%d effects, %d duplicates, want %d effects", sum.Total, sum.Duplicates(), tc.want)
			}
		})
	}
}

// A ledger that shared code with the guard could share its mistakes.
func TestLedgerStandsAlone(t *testing.T) {
	const module = "github.com/onceguard/onceguard"
	out, err := exec.CommandContext(testContext(t), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.FieldsSeq(string(out)) {
		first, _, _ := strings.Cut(dep, "/")
		if strings.Contains(first, ".") && dep != module+"/internal/ledger" {
			t.Errorf("imports %s, want the standard library alone", dep)
		}
	}
}
