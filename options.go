package onceguard

import (
	"fmt"
	"time"

	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/internal/bounds"
)

// Defaults of Limits.
const (
	DefaultLease             = 60 * time.Second
	DefaultMaxRun            = 10 * time.Minute
	DefaultWait              = 30 * time.Second
	DefaultMaxResult         = 1 << 20
	DefaultResultRetention   = 30 * 24 * time.Hour
	DefaultIdentityRetention = 400 * 24 * time.Hour
)

// Limits bound one request. A zero field takes the guard's value, and a zero
// field there the default.
type Limits struct {
	// Lease is how long others leave a claim alone; it is renewed while the
	// effect runs. At least 10 s. It never decides whether the effect happened.
	Lease time.Duration
	// MaxRun ends the effect's context; a late result still settles.
	MaxRun time.Duration
	// Wait is how long a duplicate waits for the first caller. Zero: until its
	// context's deadline, or DefaultWait without one. Negative: not at all.
	Wait time.Duration
	// MaxResult bounds the encoded result, in bytes. A larger one leaves a
	// receipt without a body.
	MaxResult int
	// ResultRetention and IdentityRetention count from the settle.
	ResultRetention   time.Duration
	IdentityRetention time.Duration
	// RetryWindow is how long callers may go on retrying (a queue's redelivery,
	// a webhook's retries). A shorter retention is warned about.
	RetryWindow time.Duration
}

func (l Limits) or(d Limits) Limits {
	if l.Lease == 0 {
		l.Lease = d.Lease
	}
	if l.MaxRun == 0 {
		l.MaxRun = d.MaxRun
	}
	if l.Wait == 0 {
		l.Wait = d.Wait
	}
	if l.MaxResult == 0 {
		l.MaxResult = d.MaxResult
	}
	if l.ResultRetention == 0 {
		l.ResultRetention = d.ResultRetention
	}
	if l.IdentityRetention == 0 {
		l.IdentityRetention = d.IdentityRetention
	}
	if l.RetryWindow == 0 {
		l.RetryWindow = d.RetryWindow
	}
	return l
}

var defaultLimits = Limits{
	Lease: DefaultLease, MaxRun: DefaultMaxRun, MaxResult: DefaultMaxResult,
	ResultRetention: DefaultResultRetention, IdentityRetention: DefaultIdentityRetention,
}

func (l Limits) validate() error {
	switch {
	case l.Lease < bounds.MinLease:
		return fmt.Errorf("lease is %s; it must be at least %s, so that clocks and pauses cannot end it by accident", l.Lease, bounds.MinLease)
	case l.MaxRun <= 0:
		return fmt.Errorf("MaxRun is %s; it must be positive", l.MaxRun)
	case l.MaxResult < 0:
		return fmt.Errorf("MaxResult is %d; it must not be negative", l.MaxResult)
	case l.ResultRetention < 0 && l.ResultRetention != Forever, l.IdentityRetention < 0 && l.IdentityRetention != Forever:
		return fmt.Errorf("a retention must be positive or Forever")
	case l.IdentityRetention != Forever && (l.ResultRetention == Forever || l.ResultRetention > l.IdentityRetention):
		return fmt.Errorf("result retention %s is longer than identity retention %s; the result goes with the identity at the latest", l.ResultRetention, l.IdentityRetention)
	}
	return nil
}

// shortRetention says what is wrong when callers may retry longer than the
// store remembers; empty when nothing is.
func (l Limits) shortRetention() string {
	if l.RetryWindow > 0 && l.IdentityRetention != Forever && l.IdentityRetention < l.RetryWindow {
		return fmt.Sprintf("identity retention %s is shorter than the declared retry window %s: a late retry would run again", l.IdentityRetention, l.RetryWindow)
	}
	if l.RetryWindow > 0 && l.ResultRetention != Forever && l.ResultRetention < l.RetryWindow {
		return fmt.Sprintf("result retention %s is shorter than the declared retry window %s: a late retry would get no result", l.ResultRetention, l.RetryWindow)
	}
	return ""
}

// Options configure a Guard. The zero value works.
type Options struct {
	// Scope is the tenant or namespace of this guard's requests; "default" if
	// empty. Guard.Scoped derives guards for others.
	Scope string
	// Limits are the defaults for all requests of this guard.
	Limits Limits
	// StoreTimeout is how long a claim may go without an answer from the store
	// before the call gives up, having run nothing. Default 10 s.
	StoreTimeout time.Duration
	// SettleWait is how long Do waits for the outcome to be stored before it
	// returns ErrUnsettled and goes on in the background. Default 10 s.
	SettleWait time.Duration
	// Spool is a directory, mode 0700, where outcomes that the store did not
	// take are kept (fsynced, with the owner token and the result) and sent
	// again at the next start. Empty: none.
	Spool string
	// KeyEncryptionKey, 32 bytes, wraps the secrets that the store keeps and
	// turns on encryption of results and kept inputs. Empty: neither.
	KeyEncryptionKey []byte
	// Codec encodes results; JSON by default.
	Codec Codec
	// ReplayCache is how many bytes of final receipts the guard keeps in memory,
	// so that replays of recent ones need no store. Final receipts never change,
	// and none is given back past its retention. Default 16 MiB; negative: none.
	// Receipts larger than a 64th of it (256 KiB) are not kept, nor are results
	// of requests marked Sensitive; encrypted results are kept encrypted.
	ReplayCache int
	// Observer is told what happens; by default unusual events go to slog.
	Observer Observer
	// Process overrides the identity of this process that is kept with a
	// claim; used by commands whose child does the work.
	Process string

	clock bootclock.Clock
}

func (o *Options) fill() error {
	if o.Scope == "" {
		o.Scope = "default"
	}
	o.Limits = o.Limits.or(defaultLimits)
	if err := o.Limits.validate(); err != nil {
		return err
	}
	if o.StoreTimeout == 0 {
		o.StoreTimeout = 10 * time.Second
	}
	if o.SettleWait == 0 {
		o.SettleWait = 10 * time.Second
	}
	if o.StoreTimeout < 0 || o.SettleWait < 0 {
		return fmt.Errorf("StoreTimeout and SettleWait must be positive")
	}
	if n := len(o.KeyEncryptionKey); n != 0 && n != 32 {
		return fmt.Errorf("the key encryption key has %d bytes; it must have 32", n)
	}
	if o.Codec == nil {
		o.Codec = JSON
	}
	if o.ReplayCache == 0 {
		o.ReplayCache = defaultReplayCache
	}
	if o.Observer == nil {
		o.Observer = SlogObserver(nil)
	}
	if o.clock == (bootclock.Clock{}) {
		o.clock = bootclock.System
	}
	return nil
}
