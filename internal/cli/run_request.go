package cli

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
)

// runner is one `onceguard run` on its way.
type runner struct {
	*app
	cmd    *runCmd
	status *statusFile

	request onceguard.Request
	id      onceguard.RequestID
	input   *document // of --input
	stdin   io.Reader // what the command reads

	ctx     context.Context // ends when a signal asks before the start
	relay   *relay
	child   *child // waiting to become the command
	outcome *commandEnd
}

// prepare checks everything that can be checked before the store is asked.
func (r *runner) prepare() error {
	c := r.cmd
	if c.Command[0] == "" {
		return usageError("the command after -- is empty")
	}
	if err := c.codes(); err != nil {
		return err
	}
	r.stdin = r.app.stdin
	if c.Input != "" {
		if err := r.readInput(); err != nil {
			return err
		}
	}
	key, err := keyFlags{c.Key, c.RawKey, c.KeyFrom, c.Issued}.key(r.input)
	if err != nil {
		return usageError("%w", prefixless{err})
	}
	policy, err := c.policy()
	if err != nil {
		return usageError("%w", err)
	}
	r.request = onceguard.Request{
		Action: c.Action, Key: key, RawInput: meaning(c.Command, r.input), Policy: policy,
		Codec: runCodec{}, RunAfterNeverWill: c.RunAfterNeverWill,
		Limits: onceguard.Limits{
			Lease: c.Lease, MaxRun: c.MaxRun, Wait: c.Wait.limit(), MaxResult: maxResult(int64(c.MaxOutput)),
			ResultRetention: time.Duration(c.ResultRetention), IdentityRetention: time.Duration(c.IdentityRetention),
		},
	}
	if c.KeepInput {
		if r.input == nil {
			return usageError("--keep-input needs --input")
		}
		r.request.Keep = jsonText(r.input.raw)
	}
	if r.id, err = onceguard.NewRequestID(c.Scope, c.Action, key); err != nil {
		return usageError("%w", prefixless{err})
	}
	return r.notNested()
}

// jsonText is JSON that is kept as it came.
type jsonText []byte

// MarshalJSON implements json.Marshaler.
func (j jsonText) MarshalJSON() ([]byte, error) { return j, nil }

// notNested refuses a run inside the run of the same request: it would wait for
// itself until the lease or the wait is over.
func (r *runner) notNested() error {
	if slices.Contains(strings.Split(r.env.get(envAncestors), ":"), r.id.String()) {
		return usageError("this call is inside the run of the same request %s (%s %s): it would wait for itself; give the inner command a key of its own", r.id, r.request.Action, r.request.Key)
	}
	return nil
}

// maxOutput bounds --max-output: a store keeps each result as one value.
const maxOutput = 64 << 20

func (c *runCmd) codes() error {
	seen := map[int]string{}
	check := func(flag string, codes []int) error {
		for _, code := range codes {
			switch {
			case code == 0:
				return usageError("%s 0: exit 0 is a success; list other codes", flag)
			case code < 0 || code > 255:
				return usageError("%s %d: an exit code is between 1 and 255", flag, code)
			case seen[code] != "" && seen[code] != flag:
				return usageError("exit code %d is in %s and in %s; it can mean one of the two", code, seen[code], flag)
			}
			seen[code] = flag
		}
		return nil
	}
	if err := check("--not-executed-on", c.NotExecutedOn); err != nil {
		return err
	}
	if err := check("--refused-on", c.RefusedOn); err != nil {
		return err
	}
	if c.MaxOutput > maxOutput {
		return usageError("--max-output is %d bytes; at most %d (64MiB) can be kept with a receipt", c.MaxOutput, maxOutput)
	}
	if c.ResultRetention == 0 || c.IdentityRetention == 0 {
		return usageError("a retention of 0s would forget at once; give a duration such as 30d, and --max-output 0 to keep no output")
	}
	if c.ReconcileTimeout <= 0 {
		return usageError("--reconcile-timeout is %s; it must be positive", c.ReconcileTimeout)
	}
	if c.MaxRun <= 0 {
		return usageError("--max-run is %s; it must be positive", c.MaxRun)
	}
	return nil
}

func (c *runCmd) policy() (onceguard.Policy, error) {
	kind, err := onceguard.ParsePolicyKind(c.Policy)
	if err != nil {
		return onceguard.Policy{}, err
	}
	p := onceguard.Policy{Kind: kind, Horizon: time.Duration(c.Horizon), MaxAttempts: c.MaxAttempts}
	switch c.RemembersRefusals {
	case "true":
		p.Refusals = onceguard.RefusalsRemembered
	case "false":
		p.Refusals = onceguard.RefusalsForgotten
	}
	switch {
	case c.Horizon.forever():
		return p, fmt.Errorf("--horizon forever: no downstream honours a key for ever; its documentation names a time, such as 24h")
	case kind == onceguard.SafeRetryKind && c.Horizon == 0:
		return p, fmt.Errorf("--policy safe-retry needs --horizon: how long the downstream honours an idempotency key; its documentation says")
	case kind == onceguard.SafeRetryKind && p.Refusals == onceguard.RefusalsUnset:
		return p, fmt.Errorf("--policy safe-retry needs --remembers-refusals=true or =false: whether the downstream keeps refusing a key that it refused once")
	case kind != onceguard.SafeRetryKind && (c.Horizon != 0 || p.Refusals != onceguard.RefusalsUnset):
		return p, fmt.Errorf("--horizon and --remembers-refusals belong to --policy safe-retry; the policy here is %s", kind)
	case kind == onceguard.AtMostOnceKind && c.MaxAttempts != 0:
		return p, fmt.Errorf("--max-attempts belongs to --policy safe-retry and rerun; at-most-once never starts another attempt by itself")
	}
	return p, p.Validate()
}

// readInput reads --input whole. Standard input is kept for the command.
func (r *runner) readInput() error {
	var data []byte
	var err error
	from := r.cmd.Input
	if from == "-" {
		from = "standard input"
		data, err = readAtMost(r.app.stdin, onceguard.MaxCanonicalLen)
		r.stdin = strings.NewReader(string(data))
	} else {
		var f *os.File
		if f, err = os.Open(from); err == nil {
			data, err = readAtMost(f, onceguard.MaxCanonicalLen)
			_ = f.Close()
		}
	}
	if err != nil {
		return usageError("--input: reading %s: %w", plain(from), err)
	}
	if r.input, err = parseDocument(data); err != nil {
		return usageError("--input: %s is not usable JSON: %w", plain(from), prefixless{err})
	}
	return nil
}

func readAtMost(src io.Reader, most int) ([]byte, error) {
	if src == nil {
		return nil, fmt.Errorf("there is none")
	}
	data, err := io.ReadAll(io.LimitReader(src, int64(most)+1))
	if err == nil && len(data) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return data, err
}

// meaningTag opens what a run's fingerprint covers. Another way of writing it
// needs another tag.
const meaningTag = "onceguard/run/1"

// meaning is what a run's fingerprint covers: the command line, byte for byte,
// and the canonical form of the declared input. Each field comes after its
// length as 8 bytes big-endian, so that no two command lines share a form.
func meaning(argv []string, input *document) []byte {
	b := field(nil, meaningTag)
	b = binary.BigEndian.AppendUint64(b, uint64(len(argv)))
	for _, arg := range argv {
		b = field(b, arg)
	}
	if input != nil {
		b = field(b, string(input.canonical))
	}
	return b
}

func field(dst []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(len(text))), text...)
}
