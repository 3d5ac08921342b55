package proxy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// requestPath is a path as it was sent, cut into decoded segments. A slash at
// its end does not count: many servers route both spellings alike.
type requestPath struct {
	segments []string
	// odd: servers differ in how they read it (an encoded slash, a ';').
	odd bool
}

var errAmbiguous = errors.New("the path has empty, '.' or '..' segments, a backslash or control characters; servers read those differently, so it cannot be told which route it means")

// readPath reads an escaped path.
func readPath(escaped string) (requestPath, error) {
	var p requestPath
	rest, ok := strings.CutPrefix(escaped, "/")
	if !ok {
		return p, errAmbiguous
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest == "" {
		if len(escaped) > 1 {
			return p, errAmbiguous
		}
		return p, nil
	}
	for raw := range strings.SplitSeq(rest, "/") {
		s, err := url.PathUnescape(raw)
		if err != nil || s == "" || s == "." || s == ".." {
			return p, errAmbiguous
		}
		for i := range len(s) {
			switch c := s[i]; {
			case c == '\\' || c < ' ' || c == 0x7f:
				return p, errAmbiguous
			case c == '/':
				// %2E%2E%2F is a way up where a server decodes first.
				if slices.ContainsFunc(strings.Split(s, "/"), func(t string) bool { return t == "" || t == "." || t == ".." }) {
					return p, errAmbiguous
				}
				p.odd = true
			case c == ';' || c == '%' || c == '?' || c == '#':
				p.odd = true
			}
		}
		p.segments = append(p.segments, s)
	}
	return p, nil
}

// pattern is a route's path: literal segments, {name} for one segment, and
// {name...} at the end for the rest, which may be empty.
type pattern struct {
	segments []patternSegment
	rest     bool // the last segment takes all that is left
}

type patternSegment struct{ literal, variable string }

func parsePattern(text string) (pattern, error) {
	var p pattern
	if !strings.HasPrefix(text, "/") {
		return p, fmt.Errorf("path %.80q does not begin with '/'", text)
	}
	if text == "/" {
		return p, nil
	}
	parts := strings.Split(strings.TrimSuffix(text[1:], "/"), "/")
	for i, s := range parts {
		inner, braced := strings.CutPrefix(s, "{")
		if !braced {
			if s == "" || s == "." || s == ".." || strings.ContainsAny(s, "{}%*?#\\") {
				return p, fmt.Errorf("path %.80q: segment %.40q; write it decoded, {name} for one segment, {name...} at the end for the rest", text, s)
			}
			p.segments = append(p.segments, patternSegment{literal: s})
			continue
		}
		name, ok := strings.CutSuffix(inner, "}")
		name, rest := strings.CutSuffix(name, "...")
		if !ok || name == "" || strings.ContainsAny(name, "{}. ") || rest && i != len(parts)-1 {
			return p, fmt.Errorf("path %.80q: segment %.40q; write {name} for one segment, {name...} at the end for the rest", text, s)
		}
		if slices.Contains(p.variables(), name) {
			return p, fmt.Errorf("path %.80q has two {%s}", text, name)
		}
		p.rest = rest
		p.segments = append(p.segments, patternSegment{variable: name})
	}
	return p, nil
}

func (p pattern) variables() (names []string) {
	for _, s := range p.segments {
		if s.variable != "" {
			names = append(names, s.variable)
		}
	}
	return names
}

// match returns the values of the variables.
func (p pattern) match(path requestPath) (map[string]string, bool) {
	n := len(p.segments)
	if p.rest {
		n--
	}
	if len(path.segments) < n || !p.rest && len(path.segments) > n {
		return nil, false
	}
	values := map[string]string{}
	for i, s := range p.segments[:n] {
		switch {
		case s.variable != "":
			values[s.variable] = path.segments[i]
		case s.literal != path.segments[i]:
			return nil, false
		}
	}
	if p.rest {
		values[p.segments[n].variable] = strings.Join(path.segments[n:], "/")
	}
	return values, true
}
