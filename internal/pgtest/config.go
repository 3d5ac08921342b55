package pgtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// harnessConf is included at the end of postgresql.conf.
const harnessConf = "harness.conf"

// configure writes the settings of the server. Those of the caller come last
// and win.
func (c *Cluster) configure(opts Options) error {
	settings := [][2]string{
		{"listen_addresses", "127.0.0.1"},
		{"port", strconv.Itoa(c.port)},
		{"unix_socket_directories", c.dir},
		{"fsync", "on"},
		{"synchronous_commit", "on"},
		{"max_connections", "200"},
		{"shared_buffers", "32MB"},
		{"wal_keep_size", "128MB"}, // a standby started from a backup finds its WAL
		{"timezone", "UTC"},
		{"log_timezone", "UTC"},
		{"lc_messages", "C"},
	}
	if opts.Name != "" {
		settings = append(settings, [2]string{"cluster_name", opts.Name})
	}
	if p := opts.StandbyOf; p != nil {
		conninfo := fmt.Sprintf("host=127.0.0.1 port=%d user=%s sslmode=disable", p.port, superuser)
		if opts.Name != "" {
			conninfo += " application_name=" + opts.Name
		}
		settings = append(settings, [2]string{"primary_conninfo", conninfo})
		if err := c.write("standby.signal", ""); err != nil {
			return err
		}
	}
	var names []string
	for name := range opts.Settings {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		settings = append(settings, [2]string{name, opts.Settings[name]})
	}
	var b strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&b, "%s = '%s'\n", s[0], strings.ReplaceAll(s[1], "'", "''"))
	}
	if err := c.write(harnessConf, b.String()); err != nil {
		return err
	}
	// A backup brings its primary's postgresql.conf, which has the line already.
	main := filepath.Join(c.dataDir(), "postgresql.conf")
	text, err := os.ReadFile(main)
	if err != nil {
		return err
	}
	const include = "\ninclude = '" + harnessConf + "'\n"
	if strings.Contains(string(text), include) {
		return nil
	}
	return c.write("postgresql.conf", string(text)+include)
}

// write writes a file in the data directory, for the server's account.
func (c *Cluster) write(name, text string) error {
	path := filepath.Join(c.dataDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return c.as.own(path)
}

// freePort picks a port below the range that Linux gives to outgoing
// connections: after a kill nobody else should hold it when we come back.
func freePort() (int, error) {
	var last error
	for range 100 {
		port := 15000 + rand.IntN(17000)
		ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, ln.Close()
	}
	return 0, fmt.Errorf("no free port: %w", last)
}

// serverEnv leaves out what would steer the server or initdb from outside, such
// as PGDATA and PGOPTIONS, and fixes the locale.
func serverEnv(env []string) []string {
	var kept []string
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") || name == "LANG" || name == "LANGUAGE" || name == "TZ" {
			continue
		}
		kept = append(kept, pair)
	}
	return append(kept, "LC_ALL=C", "TZ=UTC")
}
