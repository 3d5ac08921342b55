package httpguard_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/internal/ledger"
	"github.com/onceguard/onceguard/sqlitestore"
)

const (
	payerURL   = "HTTPGUARD_TEST_PAYER_URL"
	payerStore = "HTTPGUARD_TEST_PAYER_STORE"
)

// A payer is this test binary as another process, with a store on disk.
func init() {
	if url := os.Getenv(payerURL); url != "" {
		fmt.Println(payAsProcess(url, os.Getenv(payerStore)))
		os.Exit(0)
	}
}

func payAsProcess(url, path string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	store, err := sqlitestore.Open(ctx, path, &sqlitestore.Options{Log: quiet})
	if err != nil {
		return err.Error()
	}
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		return err.Error()
	}
	client := &http.Client{Transport: &httpguard.Transport{Guard: guard, Base: &http.Transport{}, Rules: []httpguard.Rule{{
		Action: "payment.create", Pattern: "POST 127.0.0.1/effects",
	}}}}
	r, err := http.NewRequestWithContext(httpguard.WithKey(ctx, "payment.create", onceguard.KeyOf("order", "o1")), http.MethodPost, url+"/effects", strings.NewReader("{}"))
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Ledger-Op", "o1")
	resp, err := client.Do(r)
	var ge *onceguard.Error
	switch {
	case errors.As(err, &ge):
		return string(ge.Code)
	case err != nil:
		return err.Error()
	}
	return resp.Status + " " + resp.Header.Get(httpguard.HeaderFromReceipt)
}

// TestTransportKilled: a payer that is killed while its request is at the
// provider has left an uncertain payment, and the next process does not pay again.
func TestTransportKilled(t *testing.T) {
	for name, step := range map[string]struct {
		mode    ledger.Mode
		wait    func(*ledger.Client) error
		effects int
	}{
		"before the effect": {ledger.Mode{Hold: true}, func(l *ledger.Client) error { return l.WaitArrived(t.Context(), "o1", 1) }, 0},
		"after the effect":  {ledger.Mode{HoldAnswer: true}, func(l *ledger.Client) error { return l.WaitDecided(t.Context(), "o1", 1) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPayments(t, nil)
			p.modes("o1", step.mode, ledger.Mode{})
			path := filepath.Join(t.TempDir(), "receipts.db")
			first := payer(t, p.url, path)
			if err := first.Start(); err != nil {
				t.Fatal(err)
			}
			err := step.wait(p.ledger)
			_ = first.Process.Kill()
			_ = first.Wait()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				next := payer(t, p.url, path)
				out, err := next.StdoutPipe()
				if err != nil {
					t.Fatal(err)
				}
				if err := next.Start(); err != nil {
					t.Fatal(err)
				}
				line, _ := bufio.NewReader(out).ReadString('\n')
				if err := next.Wait(); err != nil || line != string(onceguard.ErrUncertain)+"\n" {
					t.Errorf("the next process said %q, %v", line, err)
				}
			}
			p.effects("o1", step.effects)
			if n := len(p.keys("o1")); n != step.effects {
				t.Errorf("%d requests were decided", n)
			}
		})
	}
}

func payer(t *testing.T, url, store string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), payerURL+"="+url, payerStore+"="+store)
	return c
}
