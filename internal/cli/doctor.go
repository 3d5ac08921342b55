package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/bootclock"
	"github.com/onceguard/onceguard/internal/process"
)

// doctorCmd is `onceguard doctor`.
type doctorCmd struct {
	JSON bool `help:"Print JSON; docs/cli.md lists the fields."`
}

// Help is shown below the flags.
func (doctorCmd) Help() string {
	return `Exit 0: fine. Exit 1: something needs a person; each problem says what to do.

Example:

  onceguard doctor`
}

// doctorView is the JSON of doctor.
type doctorView struct {
	Store      string    `json:"store"`
	Kind       string    `json:"kind"`
	Name       string    `json:"name"`
	StoreID    string    `json:"store_id"`
	Epoch      string    `json:"epoch"`
	Frozen     bool      `json:"frozen"`
	FrozenWhy  string    `json:"frozen_why"`
	Durability string    `json:"durability"`
	Schema     int64     `json:"schema"`
	Server     string    `json:"server"`
	Version    string    `json:"onceguard"`
	Claimed    countView `json:"claimed"`
	Lapsed     countView `json:"lapsed"` // claimed, lease over
	Uncertain  countView `json:"uncertain"`
	Process    string    `json:"process_identity"` // ok, or why dead owners are not recognised
	Clock      string    `json:"clock"`            // ok, or why leases cannot be judged
	ClockSkew  float64   `json:"clock_skew_seconds"`
	Warnings   []string  `json:"warnings"`
	Problems   []string  `json:"problems"`
	Wrapped    bool      `json:"secrets_wrapped"` // whether a key encryption key protects the secrets
}

type countView struct {
	Count  int     `json:"count"`
	Oldest float64 `json:"oldest_seconds"`
}

func (c *countView) add(age time.Duration) {
	c.Count++
	c.Oldest = max(c.Oldest, age.Seconds())
}

func (c countView) String() string {
	if c.Count == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, the oldest for %s", c.Count, age(time.Duration(c.Oldest*float64(time.Second))))
}

// skewLimit is how far the store's clock may be from ours before doctor says so.
// Nothing depends on it, but people read the two side by side.
const skewLimit = 5 * time.Second

// Run is the command.
func (c *doctorCmd) Run(a *app) error {
	s, err := a.store(mustExist)
	if err != nil {
		return err
	}
	ctx, stop := a.interruptible()
	defer stop()
	v, err := a.examine(ctx, s)
	if err != nil {
		return a.storeErr(err)
	}
	if c.JSON {
		err = a.printJSON(v)
	} else {
		err = a.printDoctor(v)
	}
	if err == nil && len(v.Problems) > 0 {
		return silent(exitFailed)
	}
	return err
}

func (a *app) examine(ctx context.Context, s onceguard.Store) (doctorView, error) {
	info, err := s.Info(ctx)
	if err != nil {
		return doctorView{}, err
	}
	v := doctorView{
		Store: a.at.shown, Kind: info.Kind, Name: info.Name, StoreID: info.StoreID, Epoch: info.Epoch, Frozen: info.Frozen, FrozenWhy: info.FrozenWhy,
		Durability: info.Durability, Schema: info.Schema, Server: info.Version, Version: programVersion(),
		Process: "ok", Clock: "ok", Warnings: append([]string{}, info.Warnings...), Problems: []string{},
	}
	problem := func(format string, args ...any) { v.Problems = append(v.Problems, fmt.Sprintf(format, args...)) }
	if info.Frozen {
		problem("the store is frozen: %s; look into it, then onceguard store acknowledge --epoch %s --by NAME --reason TEXT%s", info.FrozenWhy, quoteArg(info.Epoch), a.at.flag())
	}
	if _, err := bootclock.System.Now(); err != nil {
		v.Clock = err.Error()
		problem("no clock that counts suspend: %v; nothing can be started here", err)
	}
	if self := process.Self(); self.State() != process.Alive {
		v.Process = "processes cannot be told alive or dead here: lost claims wait for their lease"
		v.Warnings = append(v.Warnings, v.Process)
	}
	if _, err := a.guardOn(s, onceguard.Options{}); err != nil {
		problem("%v", prefixless{err})
	}
	if err := a.secretsState(ctx, s, &v); err != nil {
		return v, err
	}
	if err := countOpen(ctx, s, &v); err != nil {
		return v, err
	}
	if v.Uncertain.Count > 0 {
		problem("%d uncertain requests need a person or a lookup: onceguard receipts list --state uncertain%s", v.Uncertain.Count, a.at.flag())
	}
	if v.Lapsed.Count > 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("%d claims are lost (lease over): the next call decides, or onceguard receipts sweep%s", v.Lapsed.Count, a.at.flag()))
	}
	if skew := time.Duration(v.ClockSkew * float64(time.Second)).Abs(); skew > skewLimit {
		v.Warnings = append(v.Warnings, fmt.Sprintf("the store's clock is %s away from this host's", skew.Round(time.Millisecond)))
	}
	return v, nil
}

func (a *app) secretsState(ctx context.Context, s onceguard.Store, v *doctorView) error {
	secrets, err := s.Secrets(ctx, nil)
	if err != nil {
		return err
	}
	wrapped := len(secrets) > 0
	for _, x := range secrets {
		wrapped = wrapped && x.Wrapped
	}
	v.Wrapped = wrapped
	return nil
}

func countOpen(ctx context.Context, s onceguard.Store, v *doctorView) error {
	f := onceguard.Filter{States: []onceguard.State{onceguard.Claimed, onceguard.Uncertain}, Limit: 1000}
	asked := time.Now()
	first := true
	_, err := eachPage(ctx, pageHook{s, func(p onceguard.Page) {
		if first {
			// The answer was made between asking and now.
			v.ClockSkew = skewBetween(asked, time.Now(), p.Now).Seconds()
			first = false
		}
	}}, f, true, func(r onceguard.Record, now time.Time) error {
		switch {
		case r.State == onceguard.Uncertain:
			v.Uncertain.add(now.Sub(r.Since))
		case r.LeaseLeft(now) <= 0:
			v.Lapsed.add(now.Sub(r.LeaseUntil))
		default:
			v.Claimed.add(now.Sub(r.ClaimedAt))
		}
		return nil
	})
	return err
}

// skewBetween is how far the store's time lies outside of the question's span.
func skewBetween(asked, answered, store time.Time) time.Duration {
	switch {
	case store.IsZero():
		return 0
	case store.Before(asked):
		return store.Sub(asked)
	case store.After(answered):
		return store.Sub(answered)
	}
	return 0
}

// pageHook sees each page as it comes.
type pageHook struct {
	onceguard.Store
	see func(onceguard.Page)
}

// List implements onceguard.Store.
func (h pageHook) List(ctx context.Context, f onceguard.Filter) (onceguard.Page, error) {
	p, err := h.Store.List(ctx, f)
	if err == nil {
		h.see(p)
	}
	return p, err
}

func (a *app) printDoctor(v doctorView) error {
	frozen := "no"
	if v.Frozen {
		frozen = a.colour(red, "yes")
	}
	wrapped := "no key encryption key"
	if v.Wrapped {
		wrapped = "wrapped by a key encryption key"
	}
	err := a.pairs([][2]string{
		{"store", plain(v.Store)},
		{"server", plain(v.Server)},
		{"store ID", plain(v.StoreID)},
		{"epoch", plain(v.Epoch)},
		{"frozen", frozen},
		{"durability", plain(v.Durability)},
		{"schema", fmt.Sprint(v.Schema)},
		{"secrets", wrapped},
		{"claimed", v.Claimed.String()},
		{"lost claims", v.Lapsed.String()},
		{"uncertain", v.Uncertain.String()},
		{"process identity", plain(v.Process)},
		{"clock", plain(v.Clock)},
		{"onceguard", v.Version},
	})
	if err != nil {
		return err
	}
	for _, w := range v.Warnings {
		a.say("warning: %s", plain(w))
	}
	for _, p := range v.Problems {
		a.say("problem: %s", plain(p))
	}
	if len(v.Problems) == 0 {
		a.say("fine")
	}
	return nil
}
