package httpguard

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/onceguard/onceguard"
)

// answer turns the guard's verdict into the response.
func (e *exchange) answer(v verdict) {
	var ge *onceguard.Error
	errors.As(v.err, &ge)
	passed := e.rec != nil && e.rec.passed()
	switch {
	case e.cut:
		// An attempt of this call was taken over after its client had a part of
		// the response; nothing whole can follow it.
		panic(http.ErrAbortHandler)
	case v.err == nil && !v.receipt.Replayed && e.ended:
		e.rec.deliver(e.w, e.live, false)
	case passed:
		// The client has the handler's own response; only a trailer is left.
		e.rec.deliver(e.w, e.live, errors.Is(v.err, onceguard.ErrUnsettled))
	case v.err == nil:
		e.replay(v.receipt)
	case ge == nil:
		e.misconfigured(e.w, e.r, v.err)
	default:
		e.refuse(v.receipt, ge)
	}
}

// refuse answers for every error of the guard.
func (e *exchange) refuse(receipt onceguard.Receipt[response], ge *onceguard.Error) {
	switch ge.Code {
	case onceguard.ErrRefused:
		switch {
		case e.ended && !receipt.Replayed:
			e.rec.deliver(e.w, e.live, false)
		case receipt.Value.status != 0:
			e.replay(receipt)
		default: // settled by a lookup or a person: there is no response
			e.completed(receipt, e.gap())
		}
	case onceguard.ErrNotExecuted:
		e.rec.deliver(e.w, e.live, false)
	case onceguard.ErrUnsettled:
		e.unsettled(ge)
	case onceguard.ErrInProgress:
		e.inProgress(ge)
	case onceguard.ErrUncertain:
		e.unknown(ge)
	case onceguard.ErrMismatch:
		e.problem(ProblemKeyReused).write(e.w) // and nothing else: it may be somebody else's
	case onceguard.ErrNoResult:
		if e.ended && !receipt.Replayed {
			e.rec.deliver(e.w, e.live, false) // the owner need not lose what could not be kept
			return
		}
		e.completed(receipt, e.gap())
	case onceguard.ErrUndecodable, onceguard.ErrCorrupt:
		e.completed(receipt, "damaged")
	case onceguard.ErrExpired:
		e.tell(ProblemKeyExpired, nil)
	case onceguard.ErrFrozen:
		e.tell(ProblemStoreFrozen, nil)
	case onceguard.ErrNotRun, onceguard.ErrKeyMissing:
		e.tell(ProblemStoreUnavailable, nil)
	default:
		e.misconfigured(e.w, e.r, ge)
	}
}

// tell writes a problem that names the request.
func (e *exchange) tell(name string, change func(*Problem)) {
	p := e.problem(name)
	p.RequestID = e.id.String()
	if change != nil {
		change(&p)
	}
	p.write(e.w)
}

// replay repeats a stored response byte for byte.
func (e *exchange) replay(receipt onceguard.Receipt[response]) {
	p := receipt.Value
	if p.gap != "" {
		e.completed(receipt, p.gap)
		return
	}
	h := e.w.Header()
	maps.Copy(h, p.header())
	h.Set(HeaderReplayed, "true")
	if bodyAllowed(p.status) && e.r.Method != http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(p.body)))
	}
	e.w.WriteHeader(p.status)
	_, _ = e.w.Write(p.body)
}

// completed answers for a final record without a response.
func (e *exchange) completed(receipt onceguard.Receipt[response], why string) {
	p := receipt.Value
	if e.opts.Rebuild != nil && why != "damaged" {
		c := Completed{
			RequestID: e.id, State: receipt.State, At: receipt.SettledAt, By: receipt.SettledBy,
			Status: p.status, Length: p.length, Digest: p.digest, Why: why,
		}
		if len(p.fields) > 0 {
			c.Header = p.header()
		}
		e.w.Header().Set(HeaderReplayed, "true")
		e.opts.Rebuild(e.w, e.r, c)
		return
	}
	e.tell(ProblemAlreadyCompleted, func(out *Problem) {
		out.State, out.Body, out.HandlerStatus, out.Attempt = receipt.State.String(), why, p.status, receipt.Attempt
		out.at(receipt.SettledAt)
	})
}

// gap asks the store why a receipt has no result.
func (e *exchange) gap() string {
	if rec, _, ok := e.read(); ok && rec.Result.Missing != onceguard.HasBody {
		return rec.Result.Missing.String()
	}
	return onceguard.BodyNotKept.String()
}

// unsettled: the effect ended and its receipt is not stored yet.
func (e *exchange) unsettled(ge *onceguard.Error) {
	if e.ended && e.class != onceguard.StatusUnknown {
		e.rec.deliver(e.w, e.live, true)
		return
	}
	e.w.Header().Set(HeaderStatus, receiptPending)
	e.unknown(ge)
}

// unknown tells the first caller that its own request has an unknown outcome,
// and duplicates that an earlier one has.
func (e *exchange) unknown(ge *onceguard.Error) {
	e.tell(ProblemOutcomeUnknown, func(p *Problem) {
		p.State, p.Attempt = ge.State.String(), ge.Attempt
		p.at(ge.Since)
		if e.rec == nil {
			return
		}
		p.Status = http.StatusInternalServerError
		if e.over {
			p.Status = http.StatusGatewayTimeout
		}
		if e.ended {
			p.HandlerStatus = e.live.status
		}
	})
}

// overdue answers 504 for a handler that goes on although its context has ended.
// What it comes to is still stored, and told to a retry.
func (e *exchange) overdue() {
	rec, _, _ := e.read()
	e.tell(ProblemOutcomeUnknown, func(p *Problem) {
		p.Status, p.Attempt = http.StatusGatewayTimeout, rec.Attempt
		if rec.State != onceguard.Absent {
			p.State = rec.State.String()
		}
		p.at(rec.Since)
	})
}

// readTimeout bounds a read that only makes an answer more precise.
const readTimeout = 2 * time.Second

// read returns the record as the store has it now.
func (e *exchange) read() (onceguard.Record, time.Time, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.r.Context()), readTimeout)
	defer cancel()
	answers, err := e.guard.Store().Get(ctx, []onceguard.RequestID{e.id})
	if err != nil || answers[0].Err != nil {
		return onceguard.Record{}, time.Time{}, false
	}
	return answers[0].Record, answers[0].Now, true
}

// inProgress answers 409 with what remains of the lease, as the store has it
// now: within one process a duplicate hears no lease from the first caller.
func (e *exchange) inProgress(ge *onceguard.Error) {
	left, attempt, since := time.Second, int64(0), time.Time{}
	if ge != nil {
		left, attempt, since = ge.RetryAfter, ge.Attempt, ge.Since
	}
	if rec, now, ok := e.read(); ok && rec.State == onceguard.Claimed {
		left, attempt, since = rec.LeaseLeft(now), rec.Attempt, rec.Since
	}
	e.tell(ProblemInProgress, func(p *Problem) {
		p.State, p.Attempt, p.retryAfter = onceguard.Claimed.String(), attempt, max(left, time.Second)
		p.at(since)
	})
}
