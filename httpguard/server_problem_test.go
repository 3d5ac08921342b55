package httpguard_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/onceguard/onceguard/httpguard"
)

// TestProblemBody: a service may give problems a member that its clients'
// library looks for; what cannot be encoded does not cost the client the problem.
func TestProblemBody(t *testing.T) {
	type withError struct {
		httpguard.Problem
		Error string `json:"error"`
	}
	for name, test := range map[string]struct {
		body func(httpguard.Problem) any
		want string
	}{
		"as it is":          {nil, ""},
		"with a member":     {func(p httpguard.Problem) any { return withError{p, p.Title} }, "Idempotency-Key is missing"},
		"cannot be encoded": {func(httpguard.Problem) any { return make(chan int) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.options()
			o.ProblemBody = test.body
			rec := httptest.NewRecorder()
			httpguard.Must(httpguard.New(w.guard, o)).Wrap(w.refund()).ServeHTTP(rec, httptest.NewRequest("POST", "/", nil))
			var got withError
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if rec.Code != http.StatusBadRequest || got.Type != httpguard.DefaultProblemBase+httpguard.ProblemKeyMissing || got.Status != rec.Code || got.Error != test.want {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
		})
	}
}
