package pgstore

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// noCancel keeps pgx from opening a second connection to cancel what runs on
// the first: a commit that waits for a synchronous standby would be answered as
// durable while only the primary has it. pgx cancels whenever it gives a
// connection up; all its dials go through DialFunc, so each connection gets one
// of its own that is shut once the connection stands.
//
// After a refused dial pgx still reads what the server sends, for 15 s; a host
// that has vanished would hold up Close for as long.
func noCancel(_ context.Context, cc *pgx.ConnConfig) error {
	var established atomic.Bool
	var dialled atomic.Pointer[net.Conn]
	dial, after := cc.DialFunc, cc.AfterConnect
	cc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if established.Load() {
			if c := dialled.Load(); c != nil {
				time.AfterFunc(time.Second, func() { (*c).Close() })
			}
			return nil, errors.New("statements of the store are never cancelled")
		}
		c, err := dial(ctx, network, addr)
		if err == nil {
			dialled.Store(&c)
		}
		return c, err
	}
	cc.AfterConnect = func(ctx context.Context, pc *pgconn.PgConn) error {
		established.Store(true)
		if after != nil {
			return after(ctx, pc)
		}
		return nil
	}
	return nil
}
