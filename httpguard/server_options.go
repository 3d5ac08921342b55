package httpguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// Defaults of Options.
const (
	DefaultMaxBody     = 1 << 20
	DefaultMaxResponse = 1 << 20
	DefaultMaxWaiters  = 64
)

// headerRoom is what a receipt may need beyond the response's body.
const headerRoom = 64 << 10

// Options configure the guard of one route, or of several that share an action.
type Options struct {
	// Action is the named kind of effect, such as "refund.create". It is
	// identity and never changes. Required.
	Action string
	// Scope returns the tenant that the authenticated caller belongs to. Keys of
	// different scopes never meet. Required: see SingleTenant. An error, or an
	// empty scope, is answered with 403 and runs nothing.
	Scope func(*http.Request) (string, error)
	// Principal narrows a receipt to one caller within the scope: the same key
	// from another principal is a mismatch. Nil: all callers of a scope share
	// their keys.
	Principal func(*http.Request) string

	// Key returns the request's key; nil reads the header Idempotency-Key. body
	// is the whole request body; it is nil where Status asks. The zero Key means
	// that there is none, an error that it is malformed.
	Key func(r *http.Request, body []byte) (onceguard.Key, error)
	// AllowMissing lets requests without a key run unguarded.
	AllowMissing bool
	// Methods lists the guarded methods; others pass untouched. Nil: every
	// method but GET, HEAD, OPTIONS and TRACE.
	Methods []string

	// Headers lists the request headers that belong to what a request means. Nil:
	// Content-Type and Content-Encoding. Method, path and query always do.
	Headers []string
	// Meaning returns what of a body counts for a mismatch, for clients that do
	// not repeat a body byte for byte (onceguard.CanonicalJSON, a multipart body
	// without its boundary). An error is answered with 400. Nil: all of it.
	Meaning func(r *http.Request, body []byte) ([]byte, error)
	// MaxBody bounds a request body in bytes; a larger one is answered with 413
	// before anything is claimed. Default DefaultMaxBody.
	MaxBody int64

	Policy onceguard.Policy
	// Limits are the guard's, except that MaxResult follows from MaxResponse and
	// Wait, how long a duplicate waits for the first caller, is the most that
	// "Prefer: wait" may ask for as well; negative is not at all. Where it is zero
	// the guard's own applies, and Prefer may ask for up to 30 s.
	Limits onceguard.Limits
	// MaxWaiters bounds the requests of one key that wait in this process; more
	// are told at once that one is in progress. Default DefaultMaxWaiters.
	MaxWaiters int
	// EarlyReturn lets the handler go on after its ServeHTTP has returned: on a
	// goroutine of its own, when the client has gone or "Prefer: wait" is over.
	// The answer is then collected by a retry. It must not be set where
	// something outside takes back the request's resources when ServeHTTP
	// returns: the pooled contexts of chi, gin and echo, a transaction that an
	// outer middleware ends. Without it the handler goes on too, but ServeHTTP
	// stays with it.
	EarlyReturn bool

	// MaxResponse bounds what is buffered of a response, in bytes. A larger one
	// goes straight to the client and leaves a receipt without a body. Default
	// DefaultMaxResponse.
	MaxResponse int
	// StoreHeaders adds response headers to those that a replay repeats:
	// StoredHeaders. Headers that must never be stored are refused.
	StoreHeaders []string
	// Classify says what a handler's answer means; nil is ClassifyResponse.
	Classify func(r *http.Request, status int, header http.Header) onceguard.StatusClass
	// Rebuild answers a retry whose response was not kept, from the resource
	// itself. It must change nothing. Nil: 409 already-completed.
	Rebuild func(w http.ResponseWriter, r *http.Request, c Completed)

	// ProblemBase is put before a problem's name to make its type URI. Default
	// DefaultProblemBase.
	ProblemBase string
	// ProblemBody returns what is encoded as JSON in place of p, for clients whose
	// library takes for success what has no member of its own choice, whatever the
	// status is: a struct that embeds Problem and adds one. Nil, or what cannot be
	// encoded: p itself.
	ProblemBody func(p Problem) any
	// Logger is told what no client can be told. Default slog.Default.
	Logger *slog.Logger
}

// SingleTenant is the Scope of a service with one tenant: all callers share one
// space of keys.
func SingleTenant(*http.Request) (string, error) { return "default", nil }

// ClassifyResponse is the reading of a handler's status where Options.Classify
// is nil: below 400 it succeeded, 4xx is a refusal that is stored and replayed,
// and 5xx, 408 and 425 are an unknown outcome. A handler that has changed nothing
// and wants the key to stay usable says so with Release.
func ClassifyResponse(status int) onceguard.StatusClass {
	switch {
	case status < 400:
		return onceguard.StatusSucceeded
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status >= 500:
		return onceguard.StatusUnknown
	}
	return onceguard.StatusRefused
}

// Completed is what is known of a finished request whose response is not kept.
type Completed struct {
	RequestID onceguard.RequestID
	State     onceguard.State // succeeded or failed
	At        time.Time       // store clock
	By        string          // "owner", "reconciler", "operator:NAME", "import:NAME"
	Status    int             // of the first response; 0 if not known
	Header    http.Header     // the stored headers, if any
	Length    int64           // of the body that was sent, in bytes
	Digest    [32]byte        // its SHA-256; zero if not known
	Why       string          // why there is no body: "streamed", "hijacked", "too-large", "pruned", ...
}

// fill checks o and puts in the defaults.
func (o *Options) fill() error {
	if o.Scope == nil {
		return errors.New("no Scope: it returns the tenant of the authenticated caller, and without it callers would see each other's answers; a service with one tenant says httpguard.SingleTenant")
	}
	if o.MaxBody < 0 || o.MaxResponse < 0 || o.MaxWaiters < 0 {
		return errors.New("MaxBody, MaxResponse and MaxWaiters must not be negative")
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.MaxResponse == 0 {
		o.MaxResponse = DefaultMaxResponse
	}
	if o.MaxWaiters == 0 {
		o.MaxWaiters = DefaultMaxWaiters
	}
	if o.Limits.MaxResult != 0 {
		return errors.New("Limits.MaxResult is set; MaxResponse decides it")
	}
	o.Limits.MaxResult = o.MaxResponse + headerRoom
	if o.Headers == nil {
		o.Headers = []string{"Content-Type", "Content-Encoding"}
	}
	if o.ProblemBase == "" {
		o.ProblemBase = DefaultProblemBase
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	for _, name := range o.Methods {
		if name == "" || name != strings.ToUpper(name) {
			return fmt.Errorf("method %q: HTTP methods are upper case", name)
		}
	}
	return nil
}

// probe lets the guard check action, policy and limits before any request: with
// a context that is over, only the checks before the store are made.
func probe(g *onceguard.Guard, o Options) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := g.Preview(ctx, onceguard.Request{
		Action: o.Action, Key: onceguard.RawKey("probe"), Policy: o.Policy, Limits: o.Limits, Codec: responses,
	})
	if errors.Is(err, onceguard.ErrInvalid) {
		return err
	}
	if o.Policy.Kind == onceguard.TransactionalKind {
		return errors.New("the policy is transactional: a handler has no transaction of the store; call onceguard.DoTx inside it")
	}
	return nil
}
