package cli

import (
	"errors"

	"github.com/onceguard/onceguard"
)

// openBody returns a settled record's body as its action's codec wrote it.
func (a *app) openBody(g *onceguard.Guard, rec onceguard.Record) ([]byte, error) {
	body, err := g.OpenResult(a.ctx, rec)
	if errors.Is(err, onceguard.ErrKeyMissing) {
		return nil, unavailable("%w; give --key-file", prefixless{err})
	}
	return body, err
}

// openedView is a receipt's JSON with its body as the codec wrote it. A body
// that fails its digest costs the body alone: the rest is still worth showing.
func (a *app) openedView(g *onceguard.Guard, rec onceguard.Record) (receiptView, error) {
	v := viewOf(rec, false)
	if v.Result == nil || rec.Result.Missing != onceguard.HasBody {
		return v, nil
	}
	body, err := a.openBody(g, rec)
	switch {
	case errors.Is(err, onceguard.ErrCorrupt):
		v.Result.Missing = "corrupt"
		a.say("warning: %v", prefixless{err})
	case err != nil:
		return v, err
	default:
		v.Result.setBody(body)
	}
	return v, nil
}
