package mcpcall

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// A repeat token lets one call happen once more. It is made of the number of the
// occurrence that it allows and an HMAC under a key of the store over scope,
// tool, that occurrence's key and what the call said, so a model can carry it and
// can neither guess nor change it. It is single-use by construction: it means
// that occurrence, whoever sends it and however often.
const tokenStart = "again-"

func (g *Gate) newToken(c *call, ch chain, n int) string {
	return tokenStart + strconv.Itoa(n) + "-" + g.secret.short("repeat", c.guard.Scope(), c.action, ch.key(n).Encoded(), string(c.says))
}

// redeemed is the occurrence that the call's token stands for; ok is false for
// no token, one of another call, and tools that only a person may repeat.
func (g *Gate) redeemed(c *call, ch chain) (n int, ok bool) {
	rest, ok := strings.CutPrefix(c.token, tokenStart)
	digits, _, cut := strings.Cut(rest, "-")
	n, err := strconv.Atoi(digits)
	if !ok || !cut || err != nil || n < 0 || n >= maxOccurrence || !c.tokens() {
		return 0, false
	}
	return n, subtle.ConstantTimeCompare([]byte(c.token), []byte(g.newToken(c, ch, n))) == 1
}

// tokens reports whether the tool's repeats may be allowed by a token at all.
func (c *call) tokens() bool { return c.how.Repeat == mcppolicy.RepeatAsk }

// Redeem lets the next call that repeats the receipt id happen once more, in
// the name of a person: by and why are kept as evidence and shown. The leave is
// good for an hour and for one occurrence. It refuses receipts that did not
// succeed, and those whose repeat exists already; then nothing changed.
func Redeem(ctx context.Context, g *onceguard.Guard, id onceguard.RequestID, by, why string) error {
	if by == "" || why == "" {
		return errors.New("a repeat needs the name of who allows it, and a reason")
	}
	answers, err := g.Store().Get(ctx, []onceguard.RequestID{id})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	rec := answers[0].Record
	switch {
	case answers[0].Outcome != onceguard.Found:
		return fmt.Errorf("there is no receipt %s in this store", id)
	case !strings.HasPrefix(rec.Action, actionCall+"/"):
		return fmt.Errorf("%s is a receipt of %s, which is no tool of an MCP server", id, rec.Action)
	case rec.State != onceguard.Succeeded:
		return fmt.Errorf("%s is %s; only a call that happened can be repeated", id, rec.State)
	}
	key, err := onceguard.ParseKey(rec.Key)
	if err != nil {
		return err
	}
	leave := onceguard.Evidence{ID: id, Kind: kindRepeat, By: "operator:" + by, Detail: why}
	leave.Body = compact(map[string]string{"by": by, "why": why, "at": answers[0].Now.UTC().Format(time.RFC3339Nano)})
	n, ok := occurrence(key)
	if !ok { // an explicit key: the repeat is one of a call without a key
		return g.Store().AppendEvidence(ctx, leave)
	}
	parts := []any{}
	for _, p := range key.Parts() {
		if p.Name != mcppolicy.OccurrencePart {
			parts = append(parts, p.Name, p.Value)
		}
	}
	next, err := onceguard.NewRequestID(rec.Scope, rec.Action, chain{parts}.key(n+1))
	if err != nil {
		return err
	}
	answers, err = g.Store().Get(ctx, []onceguard.RequestID{next})
	if err == nil {
		err = answers[0].Err
	}
	if err != nil {
		return err
	}
	if answers[0].Outcome == onceguard.Found {
		return fmt.Errorf("%s was repeated already: see %s", id, next)
	}
	return g.Store().AppendEvidence(ctx, leave)
}
