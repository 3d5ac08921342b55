package webhookguard_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/webhookguard"
)

func mac(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// sign makes the headers of a delivery as its sender would at a time.
func sign(source, secret, id, body string, at time.Time) http.Header {
	h, stamp := http.Header{}, strconv.FormatInt(at.Unix(), 10)
	switch source {
	case "stripe":
		h.Set("Stripe-Signature", "t="+stamp+",v1="+hex.EncodeToString(mac(secret, stamp+"."+body)))
	case "standardwebhooks":
		h.Set("Webhook-Id", id)
		h.Set("Webhook-Timestamp", stamp)
		raw, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac(string(raw), id+"."+stamp+"."+body)))
	case "github":
		h.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac(secret, body)))
		h.Set("X-GitHub-Delivery", id)
		h.Set("X-GitHub-Event", "push")
	case "shopify":
		h.Set("X-Shopify-Hmac-Sha256", base64.StdEncoding.EncodeToString(mac(secret, body)))
		h.Set("X-Shopify-Event-Id", id)
		h.Set("X-Shopify-Topic", "orders/paid")
		h.Set("X-Shopify-Shop-Domain", "a.myshopify.com")
		h.Set("X-Shopify-Triggered-At", "2026-03-29T18:00:27.877041743Z")
	case "slack":
		h.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac(secret, "v0:"+stamp+":"+body)))
		h.Set("X-Slack-Request-Timestamp", stamp)
	default:
		panic(source)
	}
	return h
}

// TestSlackExample is the example that Slack publishes for checking an
// implementation (docs.slack.dev, "Verifying requests from Slack"). It is a slash
// command: its signature is good, and it is no event.
func TestSlackExample(t *testing.T) {
	const body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	h := http.Header{}
	h.Set("X-Slack-Request-Timestamp", "1531420618")
	h.Set("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")
	source, now := webhookguard.Slack("8f742231b10e8888abcd99yyyzzz85a5"), time.Unix(1531420618, 0)
	if _, err := source.Verify(h, []byte(body), now); !errors.Is(err, webhookguard.ErrMalformed) {
		t.Errorf("%v, want a good signature and no event", err)
	}
	if _, err := source.Verify(h, []byte(body+"x"), now); !errors.Is(err, webhookguard.ErrSignature) {
		t.Errorf("%v, want no signature that fits", err)
	}
}

func TestSources(t *testing.T) {
	now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		body string
		typ  string
		time time.Time
	}{
		"stripe":           {`{"id":"e-1","type":"charge.succeeded","created":1711929600}`, "charge.succeeded", time.Unix(1711929600, 0)},
		"standardwebhooks": {`{"type":"a.b","timestamp":"2026-04-01T11:00:00Z"}`, "a.b", now.Add(-time.Hour)},
		"github":           {`{"zen":"Keep it logically awesome."}`, "push", time.Time{}},
		"shopify":          {`{"id":1}`, "orders/paid", time.Date(2026, 3, 29, 18, 0, 27, 877041743, time.UTC)},
		"slack":            {`{"type":"event_callback","event_id":"e-1","event_time":1711929600,"event":{"type":"message"}}`, "message", time.Unix(1711929600, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			const older, newer = "whsec_b2xkZXI=", "whsec_bmV3ZXI="
			h := sign(name, older, "e-1", c.body, now)
			source := sourceOf(t, name, older, newer)
			e, err := source.Verify(h, []byte(c.body), now)
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != "e-1" || e.Type != c.typ || !e.Time.Equal(c.time) {
				t.Errorf("event %+v", e)
			}
			tampered(t, source, h, []byte(c.body), now)
			// Rotation: both secrets are good until one is taken away.
			if _, err := source.Verify(sign(name, newer, "e-1", c.body, now), []byte(c.body), now); err != nil {
				t.Errorf("under the other secret: %v", err)
			}
			if _, err := sourceOf(t, name, newer).Verify(h, []byte(c.body), now); !errors.Is(err, webhookguard.ErrSignature) {
				t.Errorf("under a secret that is gone: %v", err)
			}
			for _, off := range []time.Duration{-6 * time.Minute, 6 * time.Minute} {
				_, err := source.Verify(h, []byte(c.body), now.Add(off))
				if dated := name != "github" && name != "shopify"; dated != errors.Is(err, webhookguard.ErrTimestamp) {
					t.Errorf("%s off: %v", off, err)
				}
			}
			if s := fmt.Sprintf("%v %+v %#v", source, source, source); strings.Contains(s, older) || strings.Contains(s, "older") || strings.Contains(s, "[111 108") {
				t.Errorf("a source prints its secret: %s", s)
			}
		})
	}
}

func TestStripeThinEvent(t *testing.T) {
	now := time.Now()
	body := `{"id":"evt_1","type":"v1.billing","created":"2026-03-01T10:00:00.000Z"}`
	e, err := webhookguard.Stripe("s").Verify(sign("stripe", "s", "", body, now), []byte(body), now)
	if err != nil || !e.Time.Equal(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v %v", e, err)
	}
}

func TestHMAC(t *testing.T) {
	now := time.Now()
	event := func(h http.Header, body []byte) (string, string, time.Time, error) {
		var p struct{ ID, Type string }
		err := json.Unmarshal(body, &p)
		return p.ID, p.Type, time.Time{}, err
	}
	body := `{"id":"e-1","type":"t"}`
	plain := webhookguard.HMAC(webhookguard.HMACOptions{Name: "acme", Secrets: []string{"s"}, Header: "X-Sig", Prefix: "sig=", Event: event})
	h := http.Header{"X-Sig": {"sig=" + hex.EncodeToString(mac("s", body))}}
	if e, err := plain.Verify(h, []byte(body), now); err != nil || e.ID != "e-1" || e.Type != "t" {
		t.Errorf("%+v %v", e, err)
	}
	tampered(t, plain, h, []byte(body), now)

	stamped := webhookguard.HMAC(webhookguard.HMACOptions{
		Name: "acme", Secrets: []string{"s"}, Header: "X-Sig", Base64: true, TimestampHeader: "X-Time", Tolerance: time.Minute, Event: event,
		Hash: sha512.New,
	})
	stamp := strconv.FormatInt(now.Unix(), 10)
	m := hmac.New(sha512.New, []byte("s"))
	m.Write([]byte(stamp + "." + body))
	h = http.Header{"X-Sig": {base64.StdEncoding.EncodeToString(m.Sum(nil))}, "X-Time": {stamp}}
	if _, err := stamped.Verify(h, []byte(body), now); err != nil {
		t.Error(err)
	}
	tampered(t, stamped, h, []byte(body), now)
	if _, err := stamped.Verify(h, []byte(body), now.Add(2*time.Minute)); !errors.Is(err, webhookguard.ErrTimestamp) {
		t.Error(err)
	}
}

// FuzzVerify: whatever comes in, nothing is accepted that was not signed.
func FuzzVerify(f *testing.F) {
	f.Add("t=1,v1=00", "v1,AA==", []byte(`{"id":"evt_1"}`))
	f.Fuzz(func(t *testing.T, a, b string, body []byte) {
		h := http.Header{}
		for _, name := range []string{"Stripe-Signature", "X-Hub-Signature-256", "X-Slack-Signature", "X-Shopify-Hmac-Sha256"} {
			h.Set(name, a)
		}
		for _, name := range []string{"Webhook-Signature", "Webhook-Id", "Webhook-Timestamp", "X-Slack-Request-Timestamp", "X-Github-Delivery", "X-Shopify-Event-Id"} {
			h.Set(name, b)
		}
		for _, name := range []string{"stripe", "github", "slack", "shopify", "standardwebhooks"} {
			if e, err := sourceOf(t, name, "whsec_dW5ndWVzc2FibGU=").Verify(h, body, time.Unix(1, 0)); err == nil {
				t.Errorf("%s accepted %q %q: %+v", name, a, b, e)
			}
		}
	})
}

func TestEventKey(t *testing.T) {
	h := sign("shopify", "s", "e-1", "{}", time.Now())
	key := func(change func(http.Header)) onceguard.Key {
		other := h.Clone()
		change(other)
		e, err := webhookguard.Shopify("s").Verify(other, []byte("{}"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		e.Provider, e.Endpoint = "shopify", "orders"
		return e.Key()
	}
	base := key(func(http.Header) {})
	if base.Err() != nil || base.Encoded() != key(func(h http.Header) { h.Set("X-Shopify-Triggered-At", "2026-03-30T18:00:27Z") }).Encoded() {
		t.Errorf("the time is part of the identity: %v", base)
	}
	if at, ok := base.IssuedAt(); !ok || at.Year() != 2026 {
		t.Errorf("issued at %v %v", at, ok)
	}
	for name, value := range map[string]string{"X-Shopify-Topic": "orders/create", "X-Shopify-Shop-Domain": "b.myshopify.com", "X-Shopify-Sub-Topic": "s", "X-Shopify-Event-Id": "e-2"} {
		if key(func(h http.Header) { h.Set(name, value) }).Encoded() == base.Encoded() {
			t.Errorf("%s is no part of the identity, and one of two subscriptions would be lost", name)
		}
	}
}

// TestStripeSchemes: v0 signs test events and nothing else.
func TestStripeSchemes(t *testing.T) {
	now := time.Now()
	body := `{"id":"evt_1"}`
	h := sign("stripe", "s", "", body, now)
	good := h.Get("Stripe-Signature")
	for value, ok := range map[string]bool{
		good + ",v0=ffff":                      true,
		good + ",v1=ffff":                      true, // one of several, while a secret rotates
		"v0=ffff," + good:                      true,
		strings.Replace(good, "v1=", "v0=", 1): false,
		good + ",t=1":                          false,
	} {
		h.Set("Stripe-Signature", value)
		if _, err := webhookguard.Stripe("s").Verify(h, []byte(body), now); (err == nil) != ok {
			t.Errorf("%s: %v", value, err)
		}
	}
}
