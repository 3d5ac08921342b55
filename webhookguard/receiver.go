package webhookguard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/onceguard/onceguard"
)

// MinIdentityRetention is the least time that an event's identity is kept:
// senders let people redeliver events long after their own retries have ended.
const MinIdentityRetention = 30 * 24 * time.Hour

// DefaultMaxBody bounds a delivery's body in bytes, where Options.MaxBody is zero.
const DefaultMaxBody = 1 << 20

// Options configure a Receiver.
type Options struct {
	// Endpoint names this receiver within its provider: the subscription, the
	// account. It is identity and never changes. Required.
	Endpoint string
	// Source verifies deliveries. Required.
	Source Source
	// Handle handles an event, or stores it durably for others to handle. Nil is
	// success; NotExecuted lets the sender try again; Refused is final; any other
	// error, and a panic, is unknown: see Policy. Required (but for NewTx).
	Handle func(ctx context.Context, e Event) error
	// Policy says what happens after an unknown outcome. The default, at-most-once,
	// never handles such an event again by itself. A handler that only writes to
	// the store's own database belongs into NewTx; one whose work is harmless to
	// repeat may say onceguard.Rerun.
	Policy onceguard.Policy
	// Action is the guarded action, identity as well. Default "webhook.receive".
	Action string
	// Limits: a duplicate does not wait by default, since senders wait for seconds.
	// IdentityRetention is at least MinIdentityRetention, and by default 400 days.
	Limits onceguard.Limits
	// MaxBody bounds the body; a larger delivery is answered with 413. Default
	// DefaultMaxBody (GitHub sends up to 25 MiB).
	MaxBody int64
	// KeepEvent stores the event's body and type with its receipt, for a reconcile
	// lookup or a person; at most about 700 KiB.
	KeepEvent bool
	// AckUncertain answers 202 for an event of unknown outcome, so that a sender
	// stops which would disable the endpoint. It needs KeepEvent: then the event is
	// durably stored, in a record that waits for a person.
	AckUncertain bool
	// Superseded reports that a newer version of the event's entity was applied
	// already; then the event is settled as done without being handled. See
	// Version for a gate that is right under concurrency.
	Superseded func(ctx context.Context, e Event) (bool, error)
	// Report is told of deliveries that were refused: a bad signature, another body
	// under a known id, an event older than the memory. Nil: only Logger.
	Report func(ctx context.Context, r Refusal)
	// Logger is told the same. Default slog.Default.
	Logger *slog.Logger

	now func() time.Time
}

// Refusal is a delivery that was not accepted.
type Refusal struct {
	Provider, Endpoint string
	Event              Event // zero before the signature was found good
	Status             int   // what the sender was answered
	Err                error
}

// kept is the stored form of an event.
type kept struct {
	ID   string    `json:"id"`
	Type string    `json:"type,omitempty"`
	Time time.Time `json:"time,omitzero"`
	Body []byte    `json:"body"`
}

// outcome is an event's stored result.
type outcome struct {
	Superseded bool `json:"superseded,omitempty"`
}

// Receiver is the http.Handler of one endpoint. Its route takes POST.
type Receiver struct {
	o   Options
	run func(ctx context.Context, r onceguard.Request, e Event) (onceguard.Receipt[outcome], error)
}

// New returns a receiver whose events are handled by o.Handle.
func New(g *onceguard.Guard, o Options) (*Receiver, error) {
	if o.Handle == nil {
		return nil, errors.New("webhookguard: no Handle function")
	}
	if o.Policy.Kind == onceguard.TransactionalKind {
		return nil, errors.New("webhookguard: the policy is transactional: use NewTx, whose handler gets the store's transaction")
	}
	if err := o.fill(); err != nil {
		return nil, err
	}
	r := &Receiver{o: o}
	r.run = func(ctx context.Context, req onceguard.Request, e Event) (onceguard.Receipt[outcome], error) {
		return onceguard.Do(ctx, g, req, func(ctx context.Context, _ *onceguard.Attempt) (outcome, error) {
			if o.Superseded != nil {
				over, err := o.Superseded(ctx, e)
				if err != nil {
					return outcome{}, onceguard.NotExecuted(err) // nothing was handled yet
				}
				if over {
					return outcome{Superseded: true}, nil
				}
			}
			return outcome{}, o.Handle(ctx, e)
		})
	}
	return r, nil
}

// NewTx returns a receiver whose handler writes to the store's own database: the
// event's rows and its receipt commit together or not at all, so that nothing is
// ever uncertain, and an error lets the sender try again. Tx is the store's
// transaction type, as for onceguard.DoTx. o.Handle, o.Policy, o.Superseded,
// o.KeepEvent and o.AckUncertain are not used.
func NewTx[Tx any](g *onceguard.Guard, o Options, handle func(ctx context.Context, tx Tx, e Event) error) (*Receiver, error) {
	if handle == nil {
		return nil, errors.New("webhookguard: no handle function")
	}
	if o.Handle != nil || o.Superseded != nil || o.KeepEvent || o.AckUncertain || o.Policy != (onceguard.Policy{}) && o.Policy != onceguard.Transactional {
		return nil, errors.New("webhookguard: NewTx takes no Handle, Superseded, KeepEvent, AckUncertain and no other policy")
	}
	o.Policy = onceguard.Transactional
	if err := o.fill(); err != nil {
		return nil, err
	}
	r := &Receiver{o: o}
	r.run = func(ctx context.Context, req onceguard.Request, e Event) (onceguard.Receipt[outcome], error) {
		return onceguard.DoTx(ctx, g, req, func(ctx context.Context, tx Tx) (outcome, error) { return outcome{}, handle(ctx, tx, e) })
	}
	return r, nil
}

func (o *Options) fill() error {
	if o.Endpoint == "" {
		return errors.New("webhookguard: no Endpoint: events of two subscriptions could share an identity")
	}
	if o.Source == nil {
		return errors.New("webhookguard: no Source: without a signature anybody may send")
	}
	if b, ok := o.Source.(broken); ok {
		return b.err
	}
	if n, ok := o.Source.(named); ok {
		if b, ok := n.Source.(broken); ok {
			return b.err
		}
	}
	if o.Source.Provider() == "" {
		return errors.New("webhookguard: the source has no provider name")
	}
	if o.AckUncertain && !o.KeepEvent {
		return errors.New("webhookguard: AckUncertain without KeepEvent would acknowledge what is stored nowhere")
	}
	if o.Action == "" {
		o.Action = "webhook.receive"
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxBody < 0 {
		return errors.New("webhookguard: MaxBody must not be negative")
	}
	if o.Limits.Wait == 0 {
		o.Limits.Wait = -1
	}
	if o.Limits.IdentityRetention == 0 {
		o.Limits.IdentityRetention = onceguard.DefaultIdentityRetention
	}
	if r := o.Limits.IdentityRetention; r != onceguard.Forever && r < MinIdentityRetention {
		return fmt.Errorf("webhookguard: identity retention is %s; it must be at least %s, since senders let people redeliver old events", r, MinIdentityRetention)
	}
	if o.Limits.ResultRetention == 0 {
		o.Limits.ResultRetention = onceguard.DefaultResultRetention
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.now == nil {
		o.now = time.Now
	}
	_, err := onceguard.NewRequestID("default", o.Action, Event{Provider: o.Source.Provider(), Endpoint: o.Endpoint, ID: "probe"}.Key())
	if err != nil {
		return fmt.Errorf("webhookguard: %w", err)
	}
	return nil
}

// ServeHTTP answers one delivery.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		end(w, http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.o.MaxBody))
	if err != nil {
		status := http.StatusBadRequest
		if over := new(http.MaxBytesError); errors.As(err, &over) {
			status = http.StatusRequestEntityTooLarge
		}
		r.refuse(w, req, Event{}, status, err)
		return
	}
	e, err := r.o.Source.Verify(req.Header, body, r.o.now())
	if err != nil {
		status := http.StatusUnauthorized
		if errors.Is(err, ErrMalformed) {
			status = http.StatusBadRequest
		}
		r.refuse(w, req, Event{}, status, err)
		return
	}
	if e.Challenge != nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(e.Challenge)
		return
	}
	e.Provider, e.Endpoint, e.Body, e.Header = r.o.Source.Provider(), r.o.Endpoint, body, req.Header
	key := e.Key()
	if err := key.Err(); err != nil {
		r.refuse(w, req, e, http.StatusBadRequest, err)
		return
	}
	request := onceguard.Request{Action: r.o.Action, Key: key, RawInput: meaningOf(r.o.Source, body), Policy: r.o.Policy, Limits: r.o.Limits}
	if len(request.RawInput) == 0 {
		request.RawInput = []byte{} // an empty body is a body
	}
	if r.o.KeepEvent {
		request.Keep = kept{e.ID, e.Type, e.Time, body}
	}
	_, err = r.run(req.Context(), request, e)
	r.answer(w, req, e, err)
}

// refuse answers a delivery that will not be accepted as it is.
func (r *Receiver) refuse(w http.ResponseWriter, req *http.Request, e Event, status int, err error) {
	r.o.Logger.WarnContext(req.Context(), "webhookguard: delivery refused", "provider", r.o.Source.Provider(), "endpoint", r.o.Endpoint,
		"event", e.ID, "status", status, "error", err)
	if r.o.Report != nil {
		r.o.Report(req.Context(), Refusal{r.o.Source.Provider(), r.o.Endpoint, e, status, err})
	}
	end(w, status)
}

// end answers with the status's own words: senders show bodies to strangers.
func end(w http.ResponseWriter, status int) {
	text := http.StatusText(status) + "\n"
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
