package cli

import (
	"strings"
	"testing"
)

func TestParseStoreURL(t *testing.T) {
	for _, c := range []struct {
		text, kind, path, url, shown string
		secret, pooler, on           bool
	}{
		{text: "sqlite:a.db", kind: "sqlite", path: "a.db", shown: "sqlite:a.db"},
		{text: "sqlite:///v/a b%20.db", kind: "sqlite", path: "/v/a b%20.db", shown: "sqlite:/v/a b%20.db"},
		{text: "sqlite:../x?y#z", kind: "sqlite", path: "../x?y#z", shown: "sqlite:../x?y#z"},
		{text: "postgres://h/d", kind: "postgres", url: "postgres://h/d", shown: "postgres://h/d"},
		{text: "postgresql://u:p%40@h:5/d?sslmode=require", kind: "postgres", url: "postgresql://u:p%40@h:5/d?sslmode=require", shown: "postgresql://u@h:5/d", secret: true},
		{text: "postgres://h/d?password=x", kind: "postgres", url: "postgres://h/d?password=x", shown: "postgres://h/d", secret: true},
		{text: "postgres://h/d?onceguard_pooler=true&onceguard_on_failover=continue&a=1", kind: "postgres", url: "postgres://h/d?a=1", shown: "postgres://h/d", pooler: true, on: true},
	} {
		u, err := parseStoreURL(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err.problem)
			continue
		}
		got := storeURL{kind: c.kind, path: c.path, url: c.url, shown: c.shown, secret: c.secret, pooler: c.pooler, carryOn: c.on}
		if u != got {
			t.Errorf("%s: got %+v, want %+v", c.text, u, got)
		}
	}
}

func TestBadStoreURLs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "no scheme",
		"a.db":                                  "no scheme",
		"file:a.db":                             `the scheme "file"`,
		"sqlite:":                               "without a path",
		"sqlite://h/a.db":                       "would name a host",
		"sqlite:/a/":                            "is a directory",
		"postgres://h/d?onceguard_x=1":          "onceguard_x is not known",
		"postgres://h/d?onceguard_pooler=maybe": "neither true nor false",
		"postgres://h/d?onceguard_on_failover=hope": "neither freeze nor continue",
		"postgres://me:hunter2@%zz/d":               "cannot be read",
	} {
		_, err := parseStoreURL(text)
		if err == nil {
			t.Errorf("%q was accepted", text)
			continue
		}
		message := err.from("--store").Error()
		if !strings.Contains(message, want) || !strings.Contains(message, "--store: ") || !strings.Contains(message, nothing) {
			t.Errorf("%q: %q does not say %q, the place and %q", text, message, want, nothing)
		}
		if strings.Contains(message, "hunter2") {
			t.Errorf("%q: the message shows the password", text)
		}
	}
}
