package httpguard_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/guardtest"
	"github.com/onceguard/onceguard/httpguard"
)

// TestAdapter holds the middleware to the suite for adapters, with the handler
// on ServeHTTP's goroutine and on one of its own.
func TestAdapter(t *testing.T) {
	for name, early := range map[string]bool{"same goroutine": false, "early return": true} {
		t.Run(name, func(t *testing.T) {
			guardtest.Run(t, guardtest.Adapter{Open: func(t testing.TB, g *onceguard.Guard, h guardtest.Handler) guardtest.Deliver {
				return openAdapter(t, g, h, early)
			}})
		})
	}
}

func openAdapter(t testing.TB, g *onceguard.Guard, h guardtest.Handler, early bool) guardtest.Deliver {
	m, err := httpguard.New(g, httpguard.Options{Action: "suite.act", Scope: httpguard.SingleTenant, Logger: quiet, EarlyReturn: early})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		reply, err := h(r.Context(), guardtest.Message{ID: r.Header.Get("Idempotency-Key"), Payload: string(body)})
		switch meant := meaningOf(t, err); {
		case err == nil:
			_, _ = io.WriteString(w, reply)
		case errors.Is(meant, onceguard.ErrNotExecuted):
			httpguard.SetOutcome(r.Context(), onceguard.StatusNotExecuted, "declared")
			http.Error(w, "again", http.StatusTooManyRequests)
		case errors.Is(meant, onceguard.ErrRefused):
			http.Error(w, "refused", http.StatusPaymentRequired)
		default:
			http.Error(w, "unknown", http.StatusInternalServerError)
		}
	})))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.Start()
	t.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context, msg guardtest.Message) guardtest.Answer {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, strings.NewReader(msg.Payload))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", msg.ID)
		resp, err := client.Do(req)
		if err != nil { // a handler that panicked: the connection ends, and nobody knows
			return guardtest.Answer{Verdict: guardtest.Uncertain, Detail: err.Error()}
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return learned(resp, string(body))
	}
}

// learned is what a client that reads statuses and problem types knows.
func learned(resp *http.Response, body string) guardtest.Answer {
	a := guardtest.Answer{Detail: resp.Status + " " + body}
	var p httpguard.Problem
	if resp.Header.Get("Content-Type") == "application/problem+json" {
		_ = json.Unmarshal([]byte(body), &p)
	}
	switch name := strings.TrimPrefix(p.Type, httpguard.DefaultProblemBase); {
	case resp.StatusCode == http.StatusOK:
		a.Verdict, a.Reply = guardtest.Done, body
	case resp.StatusCode == http.StatusPaymentRequired:
		a.Verdict = guardtest.Refused
	case resp.StatusCode == http.StatusTooManyRequests, name == httpguard.ProblemStoreUnavailable:
		a.Verdict = guardtest.Again
	case name == httpguard.ProblemInProgress:
		a.Verdict = guardtest.InProgress
	case name == httpguard.ProblemOutcomeUnknown:
		a.Verdict = guardtest.Uncertain
	case name == httpguard.ProblemKeyReused:
		a.Verdict = guardtest.Mismatch
	}
	return a
}

// meaningOf asks another guard what an effect's error means.
func meaningOf(t testing.TB, err error) error {
	_, meant := onceguard.Do(context.Background(), guardtest.New(t), onceguard.Request{Action: "a", Key: onceguard.KeyOf("id", 1)},
		func(context.Context, *onceguard.Attempt) (string, error) { return "", err })
	return meant
}
