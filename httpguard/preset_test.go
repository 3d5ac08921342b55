package httpguard_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
)

// TestPresetSafeRetry: safe-retry is to be had where, and only where, everything
// it needs is documented.
func TestPresetSafeRetry(t *testing.T) {
	allowed := map[string]onceguard.Policy{
		"Stripe":       onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsForgotten),
		"Checkout.com": onceguard.SafeRetry(24*time.Hour, onceguard.RefusalsForgotten),
	}
	for _, p := range httpguard.Presets() {
		policy, err := p.SafeRetry()
		if want, ok := allowed[p.Name]; ok != (err == nil) || policy != want {
			t.Errorf("%s: got %+v, %v", p.Name, policy, err)
		}
		if err != nil && !strings.Contains(err.Error(), p.Name) {
			t.Errorf("%s is not named in %q", p.Name, err)
		}
	}
	whole := httpguard.Stripe
	for name, change := range map[string]func(*httpguard.Preset){
		"horizon":  func(p *httpguard.Preset) { p.Horizon.Source = "" },
		"refused":  func(p *httpguard.Preset) { p.Refusals = httpguard.Fact[onceguard.Refusals]{} },
		"key goes": func(p *httpguard.Preset) { p.Key.Source = "" },
	} {
		p := whole
		change(&p)
		if _, err := p.SafeRetry(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without the %s: %v", name, err)
		}
	}
}

// TestPresetSources: every fact that is set has its page and date, and every
// value has a source or is not used.
func TestPresetSources(t *testing.T) {
	date := regexp.MustCompile(`^20\d\d-\d\d(-\d\d)?$`)
	facts := 0
	for _, p := range httpguard.Presets() {
		v := reflect.ValueOf(p)
		for i := range v.NumField() {
			f := v.Field(i)
			if f.Kind() != reflect.Struct {
				continue
			}
			name := p.Name + "." + v.Type().Field(i).Name
			source, read := f.FieldByName("Source").String(), f.FieldByName("Read").String()
			value := f.FieldByName("Value")
			nowhere := reflect.DeepEqual(value.Interface(), httpguard.KeyForm{In: httpguard.Nowhere})
			if value.IsZero() || nowhere {
				if source != "" {
					t.Errorf("%s has a source and no value", name)
				}
				continue
			}
			facts++
			u, err := url.Parse(source)
			if err != nil || u.Scheme != "https" || u.Host == "" {
				t.Errorf("%s: source %q", name, source)
			}
			if !date.MatchString(read) {
				t.Errorf("%s: read %q", name, read)
			}
		}
	}
	if facts < 40 {
		t.Errorf("only %d facts were looked at", facts)
	}
}

// TestPresetKeys: each provider gets the key where and as it takes it, the same
// on every attempt.
func TestPresetKeys(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	plain := func(n int) *regexp.Regexp { return regexp.MustCompile(fmt.Sprintf(`^[a-z2-7]{%d}$`, n)) }
	header := func(name string) func(http.Header, string) string {
		return func(h http.Header, _ string) string { return strings.Join(h.Values(name), ",") }
	}
	tests := map[string]struct {
		preset httpguard.Preset
		where  func(h http.Header, body string) string
		form   *regexp.Regexp
	}{
		"zero":         {httpguard.Preset{}, header("Idempotency-Key"), plain(36)},
		"Stripe":       {httpguard.Stripe, header("Idempotency-Key"), plain(52)},
		"Adyen":        {httpguard.Adyen, header("Idempotency-Key"), plain(52)},
		"PayPal":       {httpguard.PayPal, header("PayPal-Request-Id"), plain(36)},
		"Checkout.com": {httpguard.CheckoutCom, header("Cko-Idempotency-Key"), plain(36)},
		"Azure":        {httpguard.AzureRepeatable, header("Repeatability-Request-ID"), uuid},
		"Square": {httpguard.Square, func(_ http.Header, body string) string {
			var in struct {
				Key    string      `json:"idempotency_key"`
				Amount json.Number `json:"amount"`
			}
			if err := json.Unmarshal([]byte(body), &in); err != nil || in.Amount != "12345678901234567890" {
				return body
			}
			return in.Key
		}, plain(45)},
		"Brevo": {httpguard.Brevo, func(_ http.Header, body string) string {
			var in struct{ Headers map[string]string }
			if err := json.Unmarshal([]byte(body), &in); err != nil || in.Headers["X-Mine"] != "1" {
				return body
			}
			return in.Headers["idempotencyKey"]
		}, uuid},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var keys []string
			fail := true
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				keys = append(keys, test.where(r.Header, string(body)))
				if first := r.Header.Get("Repeatability-First-Sent"); (first != "") != (name == "Azure") {
					t.Errorf("first sent %q", first)
				}
				if fail {
					w.WriteHeader(http.StatusUnauthorized) // before work: the next try is another attempt
				}
			}))
			defer srv.Close()
			tr := newTransport(t, func(tr *httpguard.Transport) {
				tr.Rules[0].Preset, tr.Rules[0].BeforeWork = test.preset, []int{http.StatusUnauthorized}
			})
			for i, random := range []string{"one", "two"} { // an SDK's own key, another on each try
				body := `{"amount":12345678901234567890,"headers":{"X-Mine":"1"}}`
				if name == "Square" {
					body = `{"idempotency_key":"` + random + `","amount":12345678901234567890}`
				}
				fail = i == 0
				resp, err := postTo(t, tr, srv.URL, "k", body)
				drain(t, resp, err)
			}
			if name == "Square" { // the SDK's own key is no part of what the request means
				resp, err := postTo(t, tr, srv.URL, "k", `{"amount":12345678901234567890,"idempotency_key":"three"}`)
				if _, h, _ := drain(t, resp, err); h.Get(httpguard.HeaderFromReceipt) != "true" {
					t.Error("not from the receipt")
				}
			}
			if len(keys) != 2 || keys[0] != keys[1] || !test.form.MatchString(keys[0]) {
				t.Errorf("keys %q, want twice %s", keys, test.form)
			}
		})
	}
	t.Run("no JSON object", func(t *testing.T) {
		tr := newTransport(t, func(tr *httpguard.Transport) {
			tr.Rules[0].Preset, tr.Base = httpguard.Square, roundTrip(func(*http.Request) (*http.Response, error) {
				t.Error("it was sent")
				return nil, io.EOF
			})
		})
		for _, body := range []string{"[]", "null", "x=1", ""} {
			if _, err := postTo(t, tr, "http://127.0.0.1/", "k"+body, body); onceguard.MayHaveRun(err) {
				t.Errorf("body %q: %v", body, err)
			}
		}
	})
}

var updateProviders = flag.Bool("update-providers", false, "rewrite the table in docs/providers.md")

// TestProvidersDoc holds docs/providers.md to the table in the code.
func TestProvidersDoc(t *testing.T) {
	const (
		path  = "../docs/providers.md"
		begin = "<!-- presets: written by go test ./httpguard -run TestProvidersDoc -update-providers -->\n"
		end   = "<!-- /presets -->\n"
	)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around the table", path)
	}
	want := before + begin + providersTable() + end + after
	if *updateProviders {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("%s differs from Presets(); run: go test ./httpguard -run TestProvidersDoc -update-providers\n%s", path, diff)
	}
}

func providersTable() string {
	var b strings.Builder
	b.WriteString("| provider | key | length | honoured for | refused keys | before work | other body | in flight | failures | unknown outcome | safe-retry |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, p := range httpguard.Presets() {
		key := "none known"
		if k := p.Key.Value; k.In != httpguard.Nowhere {
			key = fmt.Sprintf("%s `%s`", k.In, k.Name)
			if k.UUID {
				key += ", a UUID"
			}
			if k.FirstSent != "" {
				key += " with `" + k.FirstSent + "`"
			}
			key = cite(p.Key, key)
		}
		refused := map[onceguard.Refusals]string{onceguard.RefusalsRemembered: "stay refused", onceguard.RefusalsForgotten: "may succeed later"}[p.Refusals.Value]
		retry := "no"
		if _, err := p.SafeRetry(); err == nil {
			retry = "yes"
		}
		row := []string{
			p.Name, key, cite(p.MaxKey, fmt.Sprint(p.MaxKey.Value)), cite(p.Horizon, hours(p.Horizon.Value)), cite(p.Refusals, refused),
			cite(p.BeforeWork, strings.Trim(fmt.Sprint(p.BeforeWork.Value), "[]")), cite(p.OtherBody, p.OtherBody.Value), cite(p.InFlight, p.InFlight.Value),
			cite(p.Failures, p.Failures.Value), cite(p.Unknown, p.Unknown.Value), retry,
		}
		b.WriteString("| " + strings.Join(row, " | ") + " |\n")
	}
	return b.String()
}

func cite[T any](f httpguard.Fact[T], text string) string {
	if !f.Known() {
		return "?"
	}
	return fmt.Sprintf("%s [↗](%s)", text, f.Source)
}

func hours(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}
