package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/httpverify"
	"github.com/onceguard/onceguard/memstore"
)

// TestHTTPVerify tries our own middleware, and a server without any.
func TestHTTPVerify(t *testing.T) {
	g, err := onceguard.New(t.Context(), memstore.New(memstore.Options{}), onceguard.Options{Observer: onceguard.SlogObserver(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer canary" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, r.Header.Get("Idempotency-Key"))
	})
	m := httpguard.Must(httpguard.New(g, httpguard.Options{Action: "thing.create", Scope: httpguard.SingleTenant}))
	mux := http.NewServeMux()
	mux.Handle("/guarded", m.Wrap(handler))
	mux.Handle("/bare", handler)
	srv := httptest.NewServer(mux)
	defer srv.Close()
	secret := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(secret, []byte("Authorization: Bearer canary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"our own":      {[]string{srv.URL + "/guarded", "--body", `{"a":1}`, "--header-file", secret}, exitOK, "0 of 9 promises broken"},
		"none":         {[]string{srv.URL + "/bare", "--body", `{"a":1}`, "--header-file", secret}, exitFailed, "broken   key-missing"},
		"no entry":     {[]string{srv.URL + "/guarded"}, exitUnavailable, "it answered 401"},
		"not ours":     {[]string{"http://192.0.2.1/"}, exitUnavailable, "--i-own-this-target 192.0.2.1"},
		"bad header":   {[]string{srv.URL, "--header", "canary"}, exitUsage, "NAME: VALUE"},
		"no such file": {[]string{srv.URL, "--body", "@nowhere"}, exitUsage, "--body"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			status := Main(t.Context(), append([]string{"http", "verify"}, c.args...), strings.NewReader(""), &out, &errs, nil)
			if status != c.status || !strings.Contains(out.String()+errs.String(), c.want) {
				t.Errorf("status %d, want %d with %q\n%s%s", status, c.status, c.want, out.String(), errs.String())
			}
			if strings.Contains(out.String()+errs.String(), "canary") {
				t.Error("a header's value was printed")
			}
		})
	}
	var out, errs bytes.Buffer
	if status := Main(t.Context(), []string{"http", "verify", "--json", srv.URL + "/guarded", "--header-file", secret}, strings.NewReader(""), &out, &errs, nil); status != exitOK {
		t.Errorf("status %d: %s", status, errs.String())
	}
	var rep httpverify.Report
	if err := json.Unmarshal(out.Bytes(), &rep); err != nil || len(rep.Results) != 9 || rep.Results[0].Check != "replay" || rep.Results[0].Verdict != httpverify.Kept {
		t.Errorf("%v %s", err, out.String())
	}
}
