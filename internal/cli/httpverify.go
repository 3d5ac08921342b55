package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/onceguard/onceguard/internal/httpverify"
)

var _ = addCommands(&httpCmds{})

// httpCmds holds `onceguard http`.
type httpCmds struct {
	HTTP httpCmd `cmd:"" name:"http" help:"Try how an HTTP API keeps its promise of idempotency."`
}

type httpCmd struct {
	Verify httpVerifyCmd `cmd:"" help:"Send an API repeated, changed, racing and lost requests, and print what it keeps and what it breaks."`
}

type httpVerifyCmd struct {
	URL         string        `arg:"" name:"url" help:"The operation to try."`
	Method      string        `default:"POST" placeholder:"NAME" help:"Its method. Default: ${default}."`
	Body        string        `placeholder:"TEXT" help:"A request body that it accepts; @FILE reads a file. {unique} is replaced by a text that differs for every intention."`
	OtherBody   string        `placeholder:"TEXT" help:"Another body, for the same key. Default: the body with one more member, or one more space."`
	Header      []string      `sep:"none" placeholder:"'NAME: VALUE'" help:"A request header; may be repeated. Credentials belong into --header-file: other users see command lines."`
	HeaderFile  string        `placeholder:"FILE" help:"File with request headers, one a line."`
	KeyHeader   string        `default:"Idempotency-Key" placeholder:"NAME" help:"The header of the key. Default: ${default}."`
	CountURL    string        `name:"count-url" placeholder:"URL" help:"Where GET answers how many effects there were, as a number. Without it only answers are compared."`
	CountField  string        `placeholder:"NAME" help:"The member of a JSON object that holds the count."`
	Parallel    int           `default:"8" placeholder:"N" help:"Copies sent at once. Default: ${default}."`
	Timeout     time.Duration `default:"30s" placeholder:"DURATION" help:"How long one answer may take. Default: ${default}."`
	IOwnThisTgt string        `name:"i-own-this-target" placeholder:"HOST" help:"The URL's host, if it is not this machine: the check causes effects there."`
	JSON        bool          `name:"json" help:"Print the report as JSON."`
}

// Help is shown below the flags.
func (httpVerifyCmd) Help() string {
	return `Each check sends its own keys: a retry, another payload, copies at once, a dropped answer, no key, two keys.
It CAUSES EFFECTS at the target, about ten, one per accepted request: use a test account. Only loopback
addresses are tried, unless --i-own-this-target names the host. Redirects are not followed.

Exit status: 0 nothing is broken, 1 something is, 69 the target cannot be tried.

Example:

  onceguard http verify http://127.0.0.1:8080/refunds --body '{"order":"{unique}","amount":5}'`
}

// Run is the command.
func (c *httpVerifyCmd) Run(a *app) error {
	header, err := c.headers()
	if err != nil {
		return err
	}
	body, err := c.text("--body", c.Body)
	if err != nil {
		return err
	}
	other, err := c.text("--other-body", c.OtherBody)
	if err != nil {
		return err
	}
	if c.Timeout <= 0 {
		return usageError("--timeout is %s; write a duration such as 30s", c.Timeout)
	}
	ctx, cancel := a.interruptible()
	defer cancel()
	target := httpverify.Target{
		URL: c.URL, Method: strings.ToUpper(c.Method), Header: header, Body: body, OtherBody: other, KeyHeader: c.KeyHeader, CountURL: c.CountURL,
		CountField: c.CountField, Parallel: c.Parallel, Timeout: c.Timeout, Owned: c.IOwnThisTgt,
	}
	var failed error // of a line that could not be printed
	rep, err := httpverify.Run(ctx, target, func(r httpverify.Result) {
		if !c.JSON && failed == nil {
			failed = c.line(a, r)
		}
	})
	switch {
	case errors.Is(err, httpverify.ErrUnusable):
		return &failure{status: exitUnavailable, text: plain(err.Error()), done: "no check was made", err: err}
	case err != nil:
		return err
	case failed != nil:
		return failed
	}
	if c.JSON {
		err = a.printJSON(rep)
	} else {
		err = c.summary(a, rep)
	}
	if err == nil && rep.Broken() > 0 {
		return silent(exitFailed)
	}
	return err
}

func (c *httpVerifyCmd) line(a *app, r httpverify.Result) error {
	// The longest verdict has seven letters; colour goes around the padding.
	verdict := a.colour(map[httpverify.Verdict]string{httpverify.Kept: green, httpverify.Broken: red, httpverify.Unclear: yellow}[r.Verdict], fmt.Sprintf("%-7s", r.Verdict))
	return a.print("%s  %-20s %s\n         %s (%s)\n", verdict, r.Check, r.Promise, plain(r.Detail), strings.Join(r.Seen, " "))
}

func (c *httpVerifyCmd) summary(a *app, rep httpverify.Report) error {
	unclear := 0
	for _, r := range rep.Results {
		if r.Verdict == httpverify.Unclear {
			unclear++
		}
	}
	how := "judged by answers and by a count of effects"
	if !rep.Counted {
		how = "judged by answers alone: --count-url would count effects"
	}
	return a.print("\n%d of %d promises broken, %d unclear; %s\n", rep.Broken(), len(rep.Results), unclear, how)
}

// text reads @FILE.
func (c *httpVerifyCmd) text(flag, value string) (string, error) {
	name, isFile := strings.CutPrefix(value, "@")
	if !isFile {
		return value, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", usageError("%s: %w", flag, err)
	}
	return string(data), nil
}

func (c *httpVerifyCmd) headers() (http.Header, error) {
	lines := c.Header
	if c.HeaderFile != "" {
		data, err := os.ReadFile(c.HeaderFile)
		if err != nil {
			return nil, usageError("--header-file: %w", err)
		}
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" {
				lines = append(lines, line)
			}
		}
	}
	h := make(http.Header)
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, usageError("header %d is not NAME: VALUE", i+1) // its text may be a secret
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h, nil
}
