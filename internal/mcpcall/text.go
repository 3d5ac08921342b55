package mcpcall

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// maxCarried bounds the content of an earlier result that a soft stop repeats,
// in bytes.
const maxCarried = 4 << 10

func (g *Gate) inFlight(c *call, rec onceguard.Record, left time.Duration) Reply {
	w := g.word(InFlight, c, rec, true, StepWait)
	w.RetryAfter = max(1, int(left.Round(time.Second)/time.Second))
	return g.say(c, w, fmt.Sprintf("This call of %s is running already and was not started a second time (%s). Wait about %d s, then make the same call with the same arguments to get its result. Do not change the arguments to get around this.",
		c.tool, w.RequestID, w.RetryAfter), nil)
}

// uncertain tells that nobody knows; o has what the upstream said to this very
// call, which may help a person.
func (g *Gate) uncertain(c *call, rec onceguard.Record, o *own) Reply {
	w := g.word(Uncertain, c, rec, true, StepPerson)
	w.Reason = rec.Reason
	var more json.RawMessage
	if o != nil && o.reply.Result != nil {
		more = field(o.reply.Result, "content")
	}
	text := fmt.Sprintf("Outcome unknown: %s may or may not have happened (%s). ", c.tool, w.RequestID)
	if c.how.Policy.Kind != onceguard.AtMostOnceKind && rec.State == onceguard.Claimed {
		// Its policy says how another run is safe.
		w.NextStep = StepSameCall
		text += "Making the same call with the same arguments again is safe; a changed call is not."
	} else {
		text += "It is not run again. Do not call it again for this, with these or with changed arguments. Tell the user that somebody must check what really happened, and then settle it with: onceguard receipts resolve " + w.RequestID
	}
	if o != nil && o.reply.Error != nil {
		_, message := errorCode(o.reply.Error)
		text += fmt.Sprintf("\nThe server's error was: %.500s", message)
	}
	return g.say(c, w, text, more)
}

func (g *Gate) refused(c *call, rec onceguard.Record) Reply {
	w := g.word(Refused, c, rec, false, StepMend)
	w.Reason = rec.Reason
	return g.say(c, w, fmt.Sprintf("%s did not happen: it was refused (%s). Find out why before you try anything else.", c.tool, w.RequestID), nil)
}

func (g *Gate) conflict(c *call) Reply {
	w := g.word(Conflict, c, onceguard.Record{}, false, StepNewCall)
	return g.say(c, w, fmt.Sprintf("Nothing was run: the key or id of this call of %s belongs to an earlier call with other arguments. If this is a new intention, make it a new call; if it is a retry, send the arguments of the first try.", c.tool), nil)
}

// drift tells which arguments differ from those of the business key's receipt.
func (g *Gate) drift(ctx context.Context, c *call, rec onceguard.Record) Reply {
	if rec.State == onceguard.Absent { // known by its ID alone
		if answers, err := g.get(ctx, c.guard, rec.ID); err == nil && answers[0].Outcome == onceguard.Found {
			rec = answers[0].Record
		}
	}
	w := g.word(Drift, c, rec, rec.State.MayHaveRun(), StepPerson)
	if n, err := g.notes(ctx, c.guard, rec); err == nil && n.said != nil {
		w.ChangedFields = changed(n.said.Fields, g.saidMark(c).Fields)
		for _, p := range c.how.Identity.ShowValues {
			if v, ok := n.said.Values[p.String()]; ok && slices.Contains(w.ChangedFields, p.String()) {
				if w.EarlierValues == nil {
					w.EarlierValues = map[string]any{}
				}
				w.EarlierValues[p.String()] = v
			}
		}
	}
	fields := "other arguments"
	if len(w.ChangedFields) > 0 {
		fields = "another " + strings.Join(w.ChangedFields, ", ")
	}
	state := map[onceguard.State]string{
		onceguard.Claimed: "is running", onceguard.Succeeded: "succeeded", onceguard.Uncertain: "has an unknown outcome",
	}[rec.State]
	if state == "" {
		state = "is known"
	}
	return g.say(c, w, fmt.Sprintf("Nothing was run: %s was called for the same thing before, with %s, and that call %s (%s). Do not try again with changed arguments. Ask the user which of the two is right.",
		c.tool, fields, state, w.RequestID), nil)
}

// changed lists the pointers whose digests differ.
func changed(before, now map[string]string) (list []string) {
	if before == nil || now == nil {
		return nil
	}
	for p, d := range now {
		if before[p] != d {
			list = append(list, p)
		}
	}
	for p := range before {
		if _, ok := now[p]; !ok {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}

// softStop tells that the call happened and was answered.
func (g *Gate) softStop(ctx context.Context, c *call, ch chain, at head, last onceguard.Record) Reply {
	w := g.word(Repeat, c, at.rec, true, StepPerson)
	text := fmt.Sprintf("Not run again: this exact call of %s already succeeded (%s, %s), and you were given its result.", c.tool, w.FirstAt, w.RequestID)
	if c.token != "" {
		text += " The repeat token that came with it is not one for this call."
	}
	if c.how.Repeat == mcppolicy.RepeatMoney {
		w.AllowCommand = g.opts.RepeatCommand + " " + w.RequestID
		text += " Only a person can allow it once more, with: " + w.AllowCommand + "; then make the same call again."
	} else {
		w.NextStep, w.RepeatToken, w.RepeatArgument = StepToken, g.newToken(c, ch, at.n+1), g.opts.RepeatArgument
		text += fmt.Sprintf(" Only if the user wants it done once more, make the same call with the further argument %q: %q.", w.RepeatArgument, w.RepeatToken)
	}
	var more json.RawMessage
	if body, err := c.guard.OpenResult(ctx, last); err == nil {
		if more = field(body, "content"); len(more) > maxCarried {
			more = nil
		} else if more != nil {
			text += " The earlier result follows."
		}
	}
	return g.say(c, w, text, more)
}

func (g *Gate) noResult(c *call, rec onceguard.Record) Reply {
	w := g.word(NoResult, c, rec, rec.State.MayHaveRun(), StepStopRepeat)
	if w.Reason = rec.Reason; c.how.Result != mcppolicy.ResultKeep {
		w.Reason = "the policy keeps no result"
	}
	r := g.say(c, w, fmt.Sprintf("%s already happened (%s, %s) and was not run again; its result is not kept. Treat it as done.", c.tool, w.FirstAt, w.RequestID), nil)
	r.Handle = Handle{rec.ID, c.turn} // whoever has read this knows that it happened
	return r
}

func (g *Gate) expired(c *call, rec onceguard.Record) Reply {
	w := g.word(Expired, c, rec, true, StepPerson)
	return g.say(c, w, fmt.Sprintf("Nothing was run: the key of this call of %s is older than what is remembered, so it may have happened long ago. Ask the user.", c.tool), nil)
}

func (g *Gate) notRun(c *call, rec onceguard.Record, why string) Reply {
	w := g.word(NotRun, c, rec, rec.UnknownAttempt, StepSameCall)
	w.Reason = why
	return g.say(c, w, fmt.Sprintf("Nothing was run: %s was not started (%s). Make the same call again, with the same arguments.", c.tool, why), nil)
}

func (g *Gate) frozen(c *call, rec onceguard.Record) Reply {
	w := g.word(Frozen, c, rec, false, StepPerson)
	return g.say(c, w, fmt.Sprintf("Nothing was run: after a failover or a restore the memory of what happened may have gaps, and %s waits until a person has looked at it with: onceguard doctor. Then make the same call again.", c.tool), nil)
}

func (g *Gate) unsettled(c *call, rec onceguard.Record, o *own) Reply {
	w := g.word(Unsettled, c, rec, true, StepStopRepeat)
	switch {
	case o.reply.Result == nil:
	case o.shape == shapeTask, o.shape == shapeInput:
		return Reply{Result: o.reply.Result, Handle: Handle{rec.ID, c.turn}}
	case o.shape == shapePlain:
		return Reply{Result: g.noted(o.reply.Result, c, w), Verdict: Unsettled, Handle: Handle{rec.ID, c.turn}}
	}
	var more json.RawMessage
	if o.reply.Result != nil {
		more = field(o.reply.Result, "content")
	}
	return g.say(c, w, fmt.Sprintf("%s was run, and what came of it could not be stored yet (%s). Do not call it again; ask for its state later.", c.tool, w.RequestID), more)
}

// invalid is a JSON-RPC error: the call cannot be told apart from another one,
// or not be told what it means.
func (g *Gate) invalid(err error) Reply {
	return Reply{Verdict: Invalid, Error: compact(map[string]any{
		"code": codeBadParams, "message": "Invalid params: " + strings.TrimPrefix(err.Error(), "onceguard: ") + ". Nothing was run.",
	})}
}
