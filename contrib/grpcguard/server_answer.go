package grpcguard

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/onceguard/onceguard"
)

// MetadataReplayed is "true", in header and trailer, on an answer that was recorded
// earlier.
const MetadataReplayed = "idempotent-replayed"

// MetadataStatus is "receipt-pending", in header and trailer, on an answer whose
// receipt is not stored yet; the guard goes on trying.
const MetadataStatus = "idempotency-status"

const receiptPending = "receipt-pending"

// answer turns the guard's verdict into the call's.
func (c *served) answer(ctx context.Context, receipt onceguard.Receipt[answer], err error) (any, error) {
	var ge *onceguard.Error
	switch {
	case err == nil:
		return c.message(ctx, receipt)
	case !errors.As(err, &ge):
		return nil, c.misconfigured(ctx, err)
	}
	mine := c.ran && !receipt.Replayed
	switch ge.Code {
	case onceguard.ErrRefused:
		st := receipt.Value.status
		switch {
		case st != nil:
			if !mine {
				mark(ctx, MetadataReplayed, "true")
			}
			return nil, refusal(status.FromProto(st))
		case mine && c.failed != nil: // too large to be kept
			return nil, refusal(statusOf(c.failed))
		}
		return nil, c.completed(ctx, ge)
	case onceguard.ErrNotExecuted:
		return nil, again(statusOf(c.failed))
	case onceguard.ErrUnsettled:
		return c.unsettled(ctx, ge)
	case onceguard.ErrNoResult:
		if mine && c.failed == nil {
			return c.live, nil // the owner need not lose what could not be kept
		}
		return nil, c.completed(ctx, ge)
	case onceguard.ErrUndecodable, onceguard.ErrCorrupt:
		return nil, c.completed(ctx, ge)
	case onceguard.ErrInProgress:
		return nil, c.inProgress(ctx, ge)
	case onceguard.ErrUncertain:
		return nil, c.unknown(ge)
	case onceguard.ErrInvalid:
		return nil, c.misconfigured(ctx, ge)
	}
	return nil, tell(reasonOf(ge.Code), "", 0, facts(ge)).Err()
}

// message answers with the stored message, on the first run too, so that it and a
// replay cannot differ.
func (c *served) message(ctx context.Context, receipt onceguard.Receipt[answer]) (any, error) {
	m, err := receipt.Value.unpack()
	switch {
	case err == nil && receipt.Replayed:
		mark(ctx, MetadataReplayed, "true")
		return m, nil
	case err == nil:
		return m, nil
	case c.ran && !receipt.Replayed && c.failed == nil:
		return c.live, nil // a message whose type is not linked in, such as a dynamic one
	}
	c.opts.Logger.ErrorContext(ctx, "grpcguard: a stored message cannot be read", "method", c.name, "request_id", receipt.RequestID.String(), "error", err)
	return nil, c.completed(ctx, &onceguard.Error{
		Code: onceguard.ErrUndecodable, RequestID: receipt.RequestID, State: receipt.State, Attempt: receipt.Attempt, Since: receipt.SettledAt,
	})
}

// refusal is a stored refusal as its caller sees it. An error without a status that
// was declared as refused is no unknown one.
func refusal(st *status.Status) error { return recode(st, codes.FailedPrecondition) }

// again is the same for what surely did not happen.
func again(st *status.Status) error { return recode(st, codes.Unavailable) }

func recode(st *status.Status, code codes.Code) error { return recoded(st, code).Err() }

func recoded(st *status.Status, code codes.Code) *status.Status {
	if st.Code() != codes.Unknown && st.Code() != codes.OK {
		return st
	}
	p := st.Proto()
	p.Code = int32(code)
	return status.FromProto(p)
}

// completed answers for a final record without a message.
func (c *served) completed(ctx context.Context, ge *onceguard.Error) error {
	f := facts(ge)
	f["result"] = "damaged"
	if ge.Code == onceguard.ErrNoResult || ge.Code == onceguard.ErrRefused {
		f["result"] = onceguard.BodyNotKept.String()
		if rec, _, ok := c.read(ctx); ok && rec.Result.Missing != onceguard.HasBody {
			f["result"] = rec.Result.Missing.String()
		}
	}
	return tell(ReasonAlreadyCompleted, "", 0, f).Err()
}

// unsettled: the handler ended and its receipt is not stored yet.
func (c *served) unsettled(ctx context.Context, ge *onceguard.Error) (any, error) {
	mark(ctx, MetadataStatus, receiptPending)
	switch {
	case c.ran && c.failed == nil:
		return c.live, nil
	case c.ran && !ge.MayHaveRun: // declared or classified as not executed
		return nil, again(statusOf(c.failed))
	case c.ran && (!c.classified || c.class == onceguard.StatusRefused):
		return nil, refusal(statusOf(c.failed))
	}
	return nil, c.unknown(ge)
}

// unknown tells the first caller that its own call has an unknown outcome, and
// duplicates that an earlier one has.
func (c *served) unknown(ge *onceguard.Error) error {
	f := facts(ge)
	if c.ran && c.failed != nil {
		f["handler_code"] = statusOf(c.failed).Code().String()
	}
	return tell(ReasonOutcomeUnknown, "", 0, f).Err()
}

// inProgress tells what remains of the lease, as the store has it now: within one
// process a duplicate hears no lease from the first caller.
func (c *served) inProgress(ctx context.Context, ge *onceguard.Error) error {
	left := ge.RetryAfter
	if rec, now, ok := c.read(ctx); ok && rec.State == onceguard.Claimed {
		left, ge.Attempt, ge.Since = rec.LeaseLeft(now), rec.Attempt, rec.Since
	}
	return tell(ReasonInProgress, "", max(left, time.Second), facts(ge)).Err()
}

// readTimeout bounds a read that only makes an answer more precise.
const readTimeout = 2 * time.Second

// read returns the record as the store has it now.
func (c *served) read(ctx context.Context) (onceguard.Record, time.Time, bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	answers, err := c.guard.Store().Get(ctx, []onceguard.RequestID{c.id})
	if err != nil || answers[0].Err != nil {
		return onceguard.Record{}, time.Time{}, false
	}
	return answers[0].Record, answers[0].Now, true
}

// mark says something about the answer in its header and its trailer. It fails
// where the handler has sent the header already, or the call is over.
func mark(ctx context.Context, key, value string) {
	md := metadata.Pairs(key, value)
	_ = grpc.SetHeader(ctx, md)
	_ = grpc.SetTrailer(ctx, md)
}
