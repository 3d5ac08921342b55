package pgstore

import (
	"errors"
	"fmt"
	"time"
)

// Failover says what becomes of at-most-once claims in a new epoch.
type Failover uint8

const (
	// Freeze answers Frozen until Store.Acknowledge. It is the default.
	Freeze Failover = iota
	// Continue acknowledges a new epoch by itself, where every commit of the
	// one before waited for a synchronous standby. Open refuses it on a server
	// without synchronous_standby_names, and each new connection looks again;
	// an epoch that was seen without them freezes when it ends. That the
	// standby which was promoted is one of those is the operator's promise.
	Continue
)

// Options configures Open. The zero value, and nil, are the defaults.
type Options struct {
	// MaxConns bounds the store's connections: 16 by default, at least 2. One
	// is kept free of claims, so that outcomes can always be stored.
	MaxConns int
	// Pooler is for a URL that leads to a transaction pooler, such as
	// PgBouncer: no session settings and no prepared statements; what the store
	// needs is set in each transaction. It costs some speed.
	Pooler bool
	// OnFailover is Freeze by default.
	OnFailover Failover
	// NoEpoch is for servers without a write-ahead-log timeline. A failover or
	// a restored backup that forgot claims is then not noticed.
	NoEpoch bool
	// LockTimeout bounds the wait for a row that another session has locked:
	// 2 s by default. A claim that waited so long is answered Held.
	LockTimeout time.Duration
	// Timeout bounds one call, also where its context does not: 30 s by
	// default. The caller's function in Transact is not counted.
	Timeout time.Duration
	// TransactIdle bounds how long the caller's function in Transact may leave
	// its transaction idle: 5 minutes by default.
	TransactIdle time.Duration
	// AutoMigrate brings the schema up to date in Open.
	AutoMigrate bool

	// batchWait bounds the wait for a locked row where calls share a
	// transaction: the others must not wait long for one. That one is then
	// asked alone, and waits for LockTimeout.
	batchWait time.Duration
	solo      int           // soloWrites, and 0 for the default
	stall     time.Duration // of groupcommit
}

func (o *Options) complete() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
		name  string
	}{
		{&c.LockTimeout, 2 * time.Second, "LockTimeout"},
		{&c.Timeout, 30 * time.Second, "Timeout"},
		{&c.TransactIdle, 5 * time.Minute, "TransactIdle"},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < time.Millisecond {
			return c, fmt.Errorf("pgstore.Options.%s is %s; use at least 1ms, or 0 for the default %s", d.name, *d.field, d.value)
		}
	}
	if c.batchWait == 0 {
		c.batchWait = min(slow, c.LockTimeout)
	}
	if c.solo == 0 {
		c.solo = soloWrites
	}
	if c.MaxConns == 0 {
		c.MaxConns = 16
	}
	switch {
	case c.MaxConns < 2 || c.MaxConns > 10_000:
		return c, fmt.Errorf("pgstore.Options.MaxConns is %d; use 2 to 10000, or 0 for the default 16: one connection is kept for outcomes", c.MaxConns)
	case c.LockTimeout >= c.Timeout:
		return c, fmt.Errorf("pgstore.Options.LockTimeout (%s) must be shorter than Timeout (%s)", c.LockTimeout, c.Timeout)
	case c.OnFailover > Continue:
		return c, fmt.Errorf("pgstore.Options.OnFailover is %d; use Freeze or Continue", c.OnFailover)
	case c.NoEpoch && c.OnFailover == Continue:
		return c, errors.New("pgstore.Options: NoEpoch sees no failover, so OnFailover cannot be Continue")
	}
	return c, nil
}
