package cli

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
)

// storeURL is a store's place after parsing. The text is kept apart from what
// may be shown: a password must reach neither logs nor errors nor copied lines.
type storeURL struct {
	kind   string // "sqlite" or "postgres"
	path   string // of sqlite
	url    string // of postgres, our own parameters removed
	shown  string // for people, no password
	secret bool   // holds a password
	source string // "--store", "$ONCEGUARD_STORE" or "default"

	pooler, noEpoch, carryOn bool // of postgres
}

// withheld replaces ONCEGUARD_STORE in a guarded command's environment where
// the URL holds a password. It is no URL of any store, so that a nested
// onceguard fails loudly instead of using another memory.
const withheld = "withheld:password"

// Parameters of a Postgres URL that are ours and not the server's.
const (
	paramPooler     = "onceguard_pooler"
	paramNoEpoch    = "onceguard_no_epoch"
	paramOnFailover = "onceguard_on_failover"
)

const storeForms = "write sqlite:PATH, sqlite:///ABSOLUTE/PATH or postgres://USER@HOST/DATABASE"

// chooseStore finds the store's URL: flag, then environment, then the default.
func (a *app) chooseStore() (storeURL, error) {
	text, source := a.globals.StoreURL, "--store"
	if text == "" {
		text, source = a.env.get(envStore), "$"+envStore
	}
	if text == "" {
		dir, ok := a.env.stateDir()
		if !ok {
			return storeURL{}, unavailable("there is no home directory (HOME and XDG_STATE_HOME are not set to absolute paths), so no default store: name one with --store sqlite:PATH or --store postgres://…")
		}
		path := filepath.Join(dir, "receipts.db")
		return storeURL{kind: "sqlite", path: path, shown: "sqlite:" + path, source: "default"}, nil
	}
	u, err := parseStoreURL(text)
	if err != nil {
		return storeURL{}, err.from(source)
	}
	u.source = source
	return u, nil
}

// storeURLError is a problem with a store URL; it never quotes the whole URL.
type storeURLError struct {
	problem  string
	withheld bool
}

func (e *storeURLError) from(source string) error {
	if e.withheld {
		return unavailable("%s: the store's URL holds a password and was withheld from this command by the onceguard run around it: give --store, or keep the password in PGPASSFILE", source)
	}
	return usageError("%s: %s; %s", source, e.problem, storeForms)
}

func parseStoreURL(text string) (storeURL, *storeURLError) {
	bad := func(format string, args ...any) (storeURL, *storeURLError) {
		return storeURL{}, &storeURLError{problem: fmt.Sprintf(format, args...)}
	}
	scheme, rest, found := strings.Cut(text, ":")
	switch {
	case text == withheld:
		return storeURL{}, &storeURLError{withheld: true}
	case !found:
		return bad("no scheme in %q", short(text, 60))
	case scheme == "sqlite":
		return parseSQLite(rest)
	case scheme == "postgres", scheme == "postgresql":
		return parsePostgres(text)
	}
	return bad("the scheme %q is not that of a store", short(scheme, 20))
}

// parseSQLite takes the path as it is: no percent-encoding, no parameters.
func parseSQLite(path string) (storeURL, *storeURLError) {
	bad := func(problem string) (storeURL, *storeURLError) {
		return storeURL{}, &storeURLError{problem: problem}
	}
	if rest, ok := strings.CutPrefix(path, "//"); ok {
		if !strings.HasPrefix(rest, "/") {
			return bad("sqlite://" + plain(rest) + " would name a host; three slashes begin an absolute path")
		}
		path = rest
	}
	switch {
	case path == "":
		return bad("sqlite: without a path")
	case strings.ContainsRune(path, 0):
		return bad("the path holds a NUL byte")
	case strings.HasSuffix(path, "/"):
		return bad("sqlite:" + plain(path) + " is a directory; name the file, such as receipts.db in it")
	case path == ":memory:":
		return bad("a memory that ends with the command remembers nothing")
	}
	return storeURL{kind: "sqlite", path: path, shown: "sqlite:" + path}, nil
}

func parsePostgres(text string) (storeURL, *storeURLError) {
	bad := func(format string, args ...any) (storeURL, *storeURLError) {
		return storeURL{}, &storeURLError{problem: fmt.Sprintf(format, args...)}
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("the Postgres URL cannot be read; percent-encode special characters of user and password")
	}
	s := storeURL{kind: "postgres"}
	q := u.Query()
	for name, target := range map[string]*bool{paramPooler: &s.pooler, paramNoEpoch: &s.noEpoch} {
		switch v := q.Get(name); v {
		case "", "false":
		case "true":
			*target = true
		default:
			return bad("%s=%s is neither true nor false", name, plain(v))
		}
		q.Del(name)
	}
	switch v := q.Get(paramOnFailover); v {
	case "", "freeze":
	case "continue":
		s.carryOn = true
	default:
		return bad("%s=%s is neither freeze nor continue", paramOnFailover, plain(v))
	}
	q.Del(paramOnFailover)
	for name := range q {
		if strings.HasPrefix(name, "onceguard_") {
			return bad("the parameter %s is not known; there are %s, %s and %s", plain(name), paramPooler, paramNoEpoch, paramOnFailover)
		}
	}
	_, inUser := u.User.Password()
	s.secret = inUser || q.Get("password") != "" || q.Get("sslpassword") != ""
	u.RawQuery = q.Encode()
	s.url = u.String()
	shown := *u
	shown.User, shown.RawQuery, shown.Fragment = nil, "", ""
	if name := u.User.Username(); name != "" {
		shown.User = url.User(name)
	}
	s.shown = shown.String()
	return s, nil
}

// flag is the --store part of a line that a person copies: empty where the
// environment says the same, without the password where there is one.
func (u storeURL) flag() string {
	if u.source != "--store" {
		return ""
	}
	return " --store " + quoteArg(u.shown)
}
