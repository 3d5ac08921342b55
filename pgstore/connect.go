package pgstore

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// minServer is server_version_num of the oldest server that is tested.
const minServer = 150000

// configure turns pc into the store's own kind of connection.
func (s *Store) configure(pc *pgxpool.Config) error {
	cc := pc.ConnConfig
	pc.MaxConns, pc.MinConns, pc.MinIdleConns = int32(s.opt.MaxConns), 0, 0
	pc.PingTimeout = 5 * time.Second
	pc.BeforeConnect = noCancel
	pc.AfterConnect = s.verify
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = 10 * time.Second
	}
	keep := net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 4}
	cc.DialFunc = (&net.Dialer{KeepAliveConfig: keep}).DialContext
	cc.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if v, ok := c.CustomData()[sessionName].(*session); ok {
			v.notice(n)
		}
	}
	if len(cc.Fallbacks) > 0 && cc.ValidateConnect == nil {
		cc.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	level := cc.RuntimeParams["synchronous_commit"]
	switch level {
	case "", "on":
		level = "on"
	case "remote_apply":
	default:
		return fmt.Errorf("synchronous_commit=%s in the store URL would lose acknowledged claims; use on or remote_apply", level)
	}
	s.commitLevel = level
	delete(cc.RuntimeParams, "synchronous_commit")
	if s.opt.Pooler {
		// A pooler refuses start-up parameters, or leaks them to other clients.
		cc.DefaultQueryExecMode = pgx.QueryExecModeExec
		cc.StatementCacheCapacity, cc.DescriptionCacheCapacity = 0, 0
		return nil
	}
	cc.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	for name, value := range s.settings() {
		cc.RuntimeParams[name] = value
	}
	if cc.RuntimeParams["application_name"] == "" {
		cc.RuntimeParams["application_name"] = "onceguard"
	}
	return nil
}

// settings are what the store's sessions run with, whatever the role, the
// database or the server say.
func (s *Store) settings() map[string]string {
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	return map[string]string{
		"synchronous_commit":                  s.commitLevel,
		"default_transaction_isolation":       "read committed",
		"default_transaction_deferrable":      "off",
		"lock_timeout":                        ms(s.opt.batchWait),
		"idle_in_transaction_session_timeout": ms(s.opt.Timeout),
		// A generic plan made while a table is tiny would scan it for ever.
		"enable_seqscan":    "off",
		"enable_bitmapscan": "off", // which would lock rows in the order of the heap
		// The cost that this adds would have scans of one row compiled, which
		// takes a hundred times as long as running them.
		"jit": "off",
		// A session whose client vanished must not keep its row locks for hours.
		"tcp_keepalives_idle":     "15",
		"tcp_keepalives_interval": "5",
		"tcp_keepalives_count":    "4",
		"tcp_user_timeout":        "35000",
	}
}

const sessionName = "onceguard"

// session is what the store knows of one connection.
type session struct {
	warning  string // of the server, since the last call began
	system   string // system identifier; empty where it must be asked each time
	standbys bool   // synchronous_standby_names is set
}

// notice keeps warnings: one during a write means that the commit may not be
// what it seems ("canceling wait for synchronous replication").
func (v *session) notice(n *pgconn.Notice) {
	severity := n.SeverityUnlocalized
	if severity == "" {
		severity = n.Severity
	}
	if severity == "WARNING" || strings.HasPrefix(n.Code, "01") {
		v.warning = fmt.Sprintf("%s (SQLSTATE %s)", n.Message, n.Code)
	}
}

// verify looks at each new connection before its first use: settings are read
// back, not assumed.
func (s *Store) verify(ctx context.Context, c *pgx.Conn) error {
	v := &session{}
	c.PgConn().CustomData()[sessionName] = v
	var version int
	var standby bool
	var readOnly, level, isolation, standbys string
	err := c.QueryRow(ctx, `SELECT current_setting('server_version_num')::integer, pg_is_in_recovery(),
		current_setting('transaction_read_only'), current_setting('synchronous_commit'),
		current_setting('default_transaction_isolation'), current_setting('synchronous_standby_names')`).
		Scan(&version, &standby, &readOnly, &level, &isolation, &standbys)
	switch {
	case err != nil:
		return err
	case version < minServer:
		return refusal("the server's version number is %d; PostgreSQL 15 or later is needed", version)
	case standby:
		return s.notPrimary("the server is a standby")
	case readOnly != "off":
		return s.notPrimary("the session is read-only")
	case !s.opt.Pooler && level != s.commitLevel:
		return refusal("synchronous_commit is %s although the store asked for %s", level, s.commitLevel)
	case !s.opt.Pooler && isolation != "read committed":
		return refusal("default_transaction_isolation is %s although the store asked for read committed", isolation)
	}
	v.standbys = strings.TrimSpace(standbys) != ""
	if s.opt.NoEpoch {
		return nil
	}
	if !s.opt.Pooler {
		// One connection is one server: its identifier cannot change under it.
		if err := c.QueryRow(ctx, "SELECT system_identifier::text FROM pg_control_system()").Scan(&v.system); err != nil {
			return err
		}
	}
	if s.started.Load() && !v.standbys {
		_, err = c.Exec(ctx, s.sql.notSynchronous, v.system) // Continue must not rely on this epoch
	}
	return err
}

// refused is a condition that stays until somebody changes something.
type refused struct{ text string }

func (e *refused) Error() string { return e.text }

func refusal(format string, args ...any) error {
	return &refused{fmt.Sprintf(format, args...)}
}

// notPrimary is permanent, unless the URL names other servers to try.
func (s *Store) notPrimary(what string) error {
	if s.hosts > 1 {
		return fmt.Errorf("%s and only the primary is asked; the next try looks for it again", what)
	}
	return refusal("%s; the store asks only the primary: correct the URL, or name all servers in it", what)
}
