package httpguard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/onceguard/onceguard"
)

// Lookup asks a provider what became of an uncertain request. The Answer of
// Happened is what later callers get.
type Lookup func(ctx context.Context, q onceguard.Query) (onceguard.Verdict[Answer], error)

// Lookups returns the rules that have a Reconcile function, for
// Guard.Reconciler, which asks in the background. The answer of a lookup is
// stored by the guard's own codec, which must be onceguard.JSON for it to be
// replayed; with another one the outcome is stored, and retries get ErrNoResult or
// ErrUndecodable.
func (t *Transport) Lookups() []onceguard.Reconcilable {
	var out []onceguard.Reconcilable
	seen := map[string]bool{}
	for _, r := range t.Rules {
		if r.Reconcile == nil || seen[r.Action] {
			continue
		}
		seen[r.Action] = true
		out = append(out, onceguard.Action[struct{}, Answer]{
			Name: r.Action, Limits: r.Limits, Reconcile: r.Reconcile, RunAfterNeverWill: r.RunAfterNeverWill, QuietPeriod: r.QuietPeriod,
		})
	}
	return out
}

// Asker is how a ready-made Lookup talks to the provider.
type Asker struct {
	// Client sends. Nil: http.DefaultClient. It must not go through the guarding
	// Transport, whose request is the one that is asked about.
	Client *http.Client
	// Authorize adds credentials, which are never stored, to a request.
	Authorize func(*http.Request) error
}

// maxLooked bounds a provider's answer to a lookup, in bytes.
const maxLooked = 4 << 20

func (a Asker) do(ctx context.Context, method, address, contentType string, header http.Header, body []byte) (Answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return Answer{}, err
	}
	if header != nil {
		r.Header = header
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if a.Authorize != nil {
		if err := a.Authorize(r); err != nil {
			return Answer{}, err
		}
	}
	client := http.Client{}
	if a.Client != nil {
		client = *a.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxLooked+1))
	if err == nil && len(data) > maxLooked {
		err = errors.New("the provider's answer to the lookup is longer than 4 MiB")
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: data}, err
}

// kept leaves in an answer the headers that a receipt may keep.
func (a Answer) kept() Answer {
	h := http.Header{}
	for _, name := range StoredHeaders {
		if v, ok := a.Header[name]; ok {
			h[name] = v
		}
	}
	a.Header = h
	return a
}

// IncreaseList asks a list endpoint of Increase for the object made with the
// request's key: https://increase.com/documentation/idempotency-keys.md. list is
// its address, such as https://api.increase.com/ach_transfers. One object is
// Happened, answered as status 200 with the object; none is NotSeen, since a
// delayed request may still arrive.
func IncreaseList(list string, a Asker) Lookup {
	return func(ctx context.Context, q onceguard.Query) (v onceguard.Verdict[Answer], err error) {
		key, err := Increase.downstream(q.DownstreamKey)
		if err != nil {
			return v, err
		}
		u, err := url.Parse(list)
		if err != nil {
			return v, err
		}
		query := u.Query()
		query.Set("idempotency_key", key)
		u.RawQuery = query.Encode()
		got, err := a.do(ctx, http.MethodGet, u.String(), "", nil, nil)
		if err != nil {
			return v, err
		}
		if got.Status != http.StatusOK {
			return v, fmt.Errorf("the list answered HTTP %d", got.Status)
		}
		var page struct {
			Data *[]json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(got.Body, &page); err != nil || page.Data == nil {
			return v, errors.New("the list's answer is not a page of objects")
		}
		switch objects := *page.Data; len(objects) {
		case 0:
			v.Finding, v.Reason = onceguard.NotSeen, "no object has the key"
		case 1:
			v.Finding, v.Reason = onceguard.Happened, "one object has the key"
			v.Value = Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: objects[0]}
		default:
			return v, fmt.Errorf("%d objects have one idempotency key", len(objects))
		}
		return v, nil
	}
}

// SquareCancel has Square cancel the payment of the request's key, so that what
// is uncertain becomes "not paid". base is https://connect.squareup.com.
//
// A success is NotSeen, not NeverWill: Square answers the same whether it voided
// a payment or found none, and takes the key again afterwards, so that a request
// still on its way could pay. Rule.QuietPeriod turns it into NeverWill once that
// is no longer to be expected; each pass until then cancels again. A payment that
// cannot be canceled stays uncertain.
func SquareCancel(base string, a Asker) Lookup {
	return func(ctx context.Context, q onceguard.Query) (v onceguard.Verdict[Answer], err error) {
		key, err := Square.downstream(q.DownstreamKey)
		if err != nil {
			return v, err
		}
		body, err := setJSON([]byte("{}"), "idempotency_key", key)
		if err != nil {
			return v, err
		}
		got, err := a.do(ctx, http.MethodPost, base+"/v2/payments/cancel", "application/json", nil, body)
		if err != nil {
			return v, err
		}
		if got.Status != http.StatusOK {
			return v, fmt.Errorf("cancel by idempotency key answered HTTP %d; the payment may stand", got.Status)
		}
		v.Finding, v.Reason = onceguard.NotSeen, "canceled by idempotency key: no payment stands now"
		return v, nil
	}
}

// SameKey sends the kept request again with the same key, while the provider is
// documented to honour it: the answer is that of the first sending, or this one
// is the first. Within the horizon of p, less a tenth for clocks and the way; past
// it, and where the age of an attempt is not known, it asks nothing and finds
// Unknown. 2xx is Happened. A refusal settles only where p says that refused keys
// stay refused. The rule must set KeepRequest.
//
// p must have a documented horizon and a key that a transport can send, or
// every lookup is an error.
func SameKey(p Preset, a Asker) Lookup {
	return func(ctx context.Context, q onceguard.Query) (v onceguard.Verdict[Answer], err error) {
		form := p.Key.Value
		if !p.Key.Known() || !p.Horizon.Known() || form.In == InParameter || form.In == Nowhere || form.FirstSent != "" {
			return v, fmt.Errorf("preset %s: it is not documented how to send a key again", p.Name)
		}
		var kept KeptRequest
		if err := json.Unmarshal(q.Input, &kept); err != nil || kept.URL == "" {
			return v, errors.New("the request was not kept: set Rule.KeepRequest")
		}
		if len(q.Attempts) == 0 {
			return v, errors.New("no attempt is known")
		}
		for _, at := range q.Attempts {
			if at.Age <= 0 || at.Age > p.Horizon.Value-p.Horizon.Value/10 {
				v.Reason = fmt.Sprintf("attempt %d is %s old, too old for keys that live %s: not sent again", at.Number, at.Age.Round(time.Second), p.Horizon.Value)
				return v, nil
			}
		}
		key, err := p.downstream(q.DownstreamKey)
		if err != nil {
			return v, err
		}
		h := http.Header{}
		body, err := p.place(h, kept.Body, key, time.Now())
		if err != nil {
			return v, err
		}
		got, err := a.do(ctx, kept.Method, kept.URL, kept.ContentType, h, body)
		if err != nil {
			return v, err
		}
		v.Reason = fmt.Sprintf("sent again with the same key: HTTP %d", got.Status)
		switch onceguard.ClassifyStatus(got.Status, p.BeforeWork.Value...) {
		case onceguard.StatusSucceeded:
			v.Finding, v.Value = onceguard.Happened, got.kept()
		case onceguard.StatusRefused:
			if p.Refusals.Known() && p.Refusals.Value == onceguard.RefusalsRemembered {
				v.Finding = onceguard.WasRefused
			}
		}
		return v, nil
	}
}
