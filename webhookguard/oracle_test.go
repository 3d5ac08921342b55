package webhookguard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/onceguard/onceguard/internal/npmtest"
	"github.com/onceguard/onceguard/webhookguard"
)

// TestSendersLibraries: what the senders' own libraries sign is accepted, and
// nothing that differs from it in one bit.
func TestSendersLibraries(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "sign.js")
	cmd.Dir = npmtest.Install(t, "..", "webhooks", "testdata", "package.json", "sign.js")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sign.js: %v\n%s", err, stderr.String())
	}
	var cases []struct {
		Source, Secret, Body string
		Headers              map[string]string
	}
	if err := json.Unmarshal(out, &cases); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s %d", c.Source, i), func(t *testing.T) {
			seen[c.Source]++
			h := http.Header{}
			for name, value := range c.Headers {
				h.Set(name, value)
			}
			source := sourceOf(t, c.Source, c.Secret)
			e, err := source.Verify(h, []byte(c.Body), time.Now())
			if err != nil || e.ID == "" {
				t.Fatalf("the library's own signature: %+v %v", e, err)
			}
			if c.Source != "github" && (e.Type != "invoice.paid" || time.Since(e.Time) > time.Minute) {
				t.Errorf("event %+v", e)
			}
			tampered(t, source, h, []byte(c.Body), time.Now())
			if _, err := sourceOf(t, c.Source, "whsec_YW5vdGhlcg==").Verify(h, []byte(c.Body), time.Now()); err == nil {
				t.Error("accepted under another secret")
			}
		})
	}
	for _, name := range []string{"stripe", "standardwebhooks", "svix", "github"} {
		if seen[name] != 2 {
			t.Errorf("%s: %d deliveries were signed, want 2", name, seen[name])
		}
	}
}

func sourceOf(t *testing.T, name string, secrets ...string) webhookguard.Source {
	t.Helper()
	switch name {
	case "stripe":
		return webhookguard.Stripe(secrets...)
	case "standardwebhooks":
		return webhookguard.StandardWebhooks(secrets...)
	case "svix":
		return webhookguard.Svix(secrets...)
	case "github":
		return webhookguard.GitHub(secrets...)
	case "shopify":
		return webhookguard.Shopify(secrets...)
	case "slack":
		return webhookguard.Slack(secrets...)
	}
	t.Fatalf("no source %q", name)
	return nil
}

// tampered flips one bit of every byte of the body in turn, and of every letter
// of the signed headers.
func tampered(t *testing.T, s webhookguard.Source, h http.Header, body []byte, now time.Time) {
	t.Helper()
	for i := range body {
		other := bytes.Clone(body)
		other[i] ^= 1
		if _, err := s.Verify(h, other, now); err == nil {
			t.Fatalf("accepted with byte %d of the body changed", i)
		}
	}
	for name, values := range h {
		if unsigned[http.CanonicalHeaderKey(name)] {
			continue
		}
		for i := range values[0] {
			other := h.Clone()
			text := []byte(values[0])
			text[i] ^= 1
			other[name] = []string{string(text)}
			if e, err := s.Verify(other, body, now); err == nil {
				t.Fatalf("accepted with letter %d of %s changed: %+v", i, name, e)
			}
		}
		other := h.Clone()
		other.Del(name)
		if _, err := s.Verify(other, body, now); err == nil {
			t.Errorf("accepted without %s", name)
		}
		other[name] = []string{values[0], values[0]}
		if _, err := s.Verify(other, body, now); err == nil {
			t.Errorf("accepted with %s twice", name)
		}
	}
}

// unsigned are headers that their senders do not sign; the package says so.
var unsigned = map[string]bool{
	"X-Github-Delivery": true, "X-Github-Event": true, "X-Shopify-Event-Id": true, "X-Shopify-Topic": true,
	"X-Shopify-Sub-Topic": true, "X-Shopify-Shop-Domain": true, "X-Shopify-Triggered-At": true,
}
