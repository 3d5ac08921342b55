package pgstore

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// readConfig parses the store's URL. Its errors never quote the URL, which may
// hold a password.
func readConfig(storeURL string) (*pgxpool.Config, error) {
	pc, err := pgxpool.ParseConfig(storeURL)
	if err != nil {
		return nil, fmt.Errorf("the store URL cannot be used (%s); write postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full, or leave parts to the PG* variables", parseProblem(storeURL, err))
	}
	return pc, nil
}

// parseProblem is the reason without the URL around it.
func parseProblem(storeURL string, err error) string {
	if _, uerr := url.Parse(storeURL); uerr != nil && strings.Contains(storeURL, "://") {
		return "it is not a URL; percent-encode the special characters of user and password"
	}
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+3:]
	} else {
		text = "malformed"
	}
	if u, _ := url.Parse(storeURL); u != nil && u.User != nil {
		if pw, ok := u.User.Password(); ok && pw != "" && strings.Contains(text, pw) {
			text = "malformed"
		}
	}
	return text
}

func countHosts(c *pgx.ConnConfig) int {
	hosts := map[string]bool{address(c.Host, c.Port): true}
	for _, f := range c.Fallbacks {
		hosts[address(f.Host, f.Port)] = true
	}
	return len(hosts)
}

func address(host string, port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }

// displayName names the database for people: no user, no password.
func displayName(c *pgx.ConnConfig) string {
	name := fmt.Sprintf("postgres://%s/%s", address(c.Host, c.Port), c.Database)
	if path := c.RuntimeParams["search_path"]; path != "" {
		name += "?search_path=" + path
	}
	return name
}
