//go:build failpoint

package fault

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrInjected is what every injected error is, by errors.Is.
var ErrInjected = errors.New("injected fault")

// InjectedError is the error of the action "error" and the value of the action
// "panic". It says nothing about what the step beside it did: its outcome is
// unknown.
type InjectedError struct{ Point string }

// Error names the point.
func (e *InjectedError) Error() string { return "injected fault at " + e.Point }

// Is reports whether target is ErrInjected.
func (e *InjectedError) Is(target error) bool { return target == ErrInjected }

type rule struct {
	point  string
	nth    int    // 0: every time
	fuse   string // "": no fuse
	action action
}

// action is a verb with its argument; the zero value does nothing.
type action struct {
	verb  string
	delay time.Duration
	code  int
}

// String gives the action as in a rule, "-" for none.
func (a action) String() string {
	switch a.verb {
	case "":
		return "-"
	case "delay":
		return "delay:" + a.delay.String()
	case "exit":
		return "exit:" + strconv.Itoa(a.code)
	}
	return a.verb
}

func parse(spec string) ([]rule, error) {
	var rules []rule
	for text := range strings.SplitSeq(spec, ";") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		r, err := parseRule(text)
		if err != nil {
			return nil, fmt.Errorf("rule %q: %w", text, err)
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(text string) (rule, error) {
	eq := strings.LastIndexByte(text, '=') // a fuse file may have one in its name
	if eq < 0 {
		return rule{}, errors.New("want POINT[@N][%FUSE]=ACTION")
	}
	var r rule
	left, fuse, hasFuse := strings.Cut(text[:eq], "%")
	if hasFuse && fuse == "" {
		return rule{}, errors.New("the fuse file after % has no name")
	}
	r.fuse = fuse
	point, nth, hasNth := strings.Cut(left, "@")
	if hasNth {
		n, err := strconv.Atoi(nth)
		if err != nil || n < 1 {
			return rule{}, fmt.Errorf("@%s: want a whole number from 1", nth)
		}
		r.nth = n
	}
	if !slices.Contains(Points, point) {
		return rule{}, fmt.Errorf("no point is called %q; the points are %s", point, strings.Join(Points, " "))
	}
	r.point = point
	act, err := parseAction(text[eq+1:])
	r.action = act
	return r, err
}

func parseAction(text string) (action, error) {
	verb, arg, hasArg := strings.Cut(text, ":")
	a := action{verb: verb}
	var err error
	switch verb {
	case "delay":
		if a.delay, err = time.ParseDuration(arg); err != nil || a.delay <= 0 {
			return a, fmt.Errorf("delay:%s: want a positive duration, as in delay:3s", arg)
		}
	case "exit":
		if a.code, err = strconv.Atoi(arg); err != nil || a.code < 0 || a.code > 255 {
			return a, fmt.Errorf("exit:%s: want a status from 0 to 255", arg)
		}
	case "kill", "stop", "error", "panic", "goexit":
		if hasArg {
			return a, fmt.Errorf("%s takes no argument", verb)
		}
	default:
		return a, fmt.Errorf("no action is called %q; want kill, stop, exit:N, error, delay:D, panic or goexit", verb)
	}
	return a, nil
}
