package webhookguard_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/memstore"
	"github.com/onceguard/onceguard/webhookguard"
)

// A sender that did not hear the first answer delivers the event again, with a
// new timestamp and a new signature.
func ExampleNew() {
	guard, err := onceguard.New(context.Background(), memstore.New(memstore.Options{}), onceguard.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	hook, err := webhookguard.New(guard, webhookguard.Options{
		Endpoint: "billing",
		Source:   webhookguard.Stripe("whsec_from_the_dashboard"),
		Handle: func(_ context.Context, e webhookguard.Event) error {
			fmt.Println("handled", e.ID, e.Type)
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body := `{"id":"evt_1","type":"invoice.paid"}`
	for _, ago := range []time.Duration{time.Minute, 0} {
		r := httptest.NewRequest(http.MethodPost, "/hooks/stripe", strings.NewReader(body))
		r.Header = sign("stripe", "whsec_from_the_dashboard", "", body, time.Now().Add(-ago))
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// handled evt_1 invoice.paid
	// 200
	// 200
}
