package httpguard_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/httpguard"
	"github.com/onceguard/onceguard/memstore"
)

// to sends every request to one server, whatever its host.
func to(srv *httptest.Server) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, srv.Listener.Addr().String())
	}}
}

// A payment API that loses its first answer is called through the guard, retried,
// and has paid once.
func ExampleTransport() {
	ctx := context.Background()
	payments := 0
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		payments++
		if payments == 1 {
			panic(http.ErrAbortHandler) // paid, and the answer is lost
		}
		w.WriteHeader(http.StatusCreated)
	}))
	defer api.Close()
	store := memstore.New(memstore.Options{})
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guard.Close(ctx) }()
	const url = "http://api.example.com"

	// doc: transport
	transport := &httpguard.Transport{Guard: guard, Rules: []httpguard.Rule{{
		Action:  "payment.create",                // never changes
		Pattern: "POST api.example.com/payments", // as http.ServeMux writes it: method, host, path
		Preset:  httpguard.Stripe,                // where the provider takes its idempotency key
	}}}
	client := &http.Client{Transport: transport} // hand it to the provider's SDK

	pay := func(order string) (*http.Response, error) {
		ctx := httpguard.WithKey(ctx, "payment.create", onceguard.KeyOf("order", order))
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/payments", strings.NewReader(`{"amount":100}`))
		if err != nil {
			return nil, err
		}
		return client.Do(r)
	}
	// end doc
	transport.Base = to(api)

	for range 2 {
		resp, err := pay("o-1")
		if err != nil {
			fmt.Println("uncertain:", errors.Is(err, onceguard.ErrUncertain))
			continue
		}
		_ = resp.Body.Close()
	}
	resp, err := pay("o-2")
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	fmt.Println("o-2:", resp.Status)
	fmt.Println("payments at the API:", payments)
	// Output:
	// uncertain: true
	// uncertain: true
	// o-2: 201 Created
	// payments at the API: 2
}

// The lookup of a provider that lists by key settles what is uncertain.
func ExampleIncreaseList() {
	ctx := context.Background()
	made := map[string]string{}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"data":[`+made[r.URL.Query().Get("idempotency_key")]+`]}`)
			return
		}
		made[r.Header.Get("Idempotency-Key")] = `{"id":"ach_transfer_1"}`
		panic(http.ErrAbortHandler) // made, and the answer is lost
	}))
	defer api.Close()
	store := memstore.New(memstore.Options{})
	guard, err := onceguard.New(ctx, store, onceguard.Options{Observer: onceguard.SlogObserver(quiet)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = guard.Close(ctx) }()
	asker, token := &http.Client{Transport: to(api)}, "secret"

	// doc: transport-lookup
	transport := &httpguard.Transport{Guard: guard, Rules: []httpguard.Rule{{
		Action:    "ach.create",
		Pattern:   "POST api.increase.com/ach_transfers",
		KeyHeader: "Transfer-Of", // a header of ours that names the effect
		Preset:    httpguard.Increase,
		Reconcile: httpguard.IncreaseList("http://api.increase.com/ach_transfers", httpguard.Asker{
			Client: asker, // not the guarded one
			Authorize: func(r *http.Request) error {
				r.Header.Set("Authorization", "Bearer "+token)
				return nil
			},
		}),
	}}}
	reconciler, err := guard.Reconciler(onceguard.ReconcilerOptions{}, transport.Lookups()...)
	if err != nil {
		fmt.Println(err)
		return
	}
	// go reconciler.Run(ctx) asks in the background; Once makes one pass.
	// end doc
	transport.Base = to(api)

	client := &http.Client{Transport: transport}
	send := func() (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://api.increase.com/ach_transfers", strings.NewReader(`{}`))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Transfer-Of", "invoice-7")
		return client.Do(r)
	}
	_, err = send()
	fmt.Println("uncertain:", errors.Is(err, onceguard.ErrUncertain))
	if _, err = reconciler.Once(ctx); err != nil {
		fmt.Println(err)
		return
	}
	resp, err := send()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), resp.Header.Get(httpguard.HeaderFromReceipt))
	// Output:
	// uncertain: true
	// 200 OK {"id":"ach_transfer_1"} true
}
