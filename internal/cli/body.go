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
