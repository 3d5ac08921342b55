package grpcguard

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/onceguard/onceguard"
)

// result is what the caller gets once the guard has its verdict.
func (o *outgoing) result(reply proto.Message, to returns) error {
	var ge *onceguard.Error
	errors.As(o.err, &ge)
	mine := o.ran && !o.receipt.Replayed
	if mine {
		o.replies.fill(to)
	}
	switch {
	case o.err == nil:
		if !mine {
			replayed(to)
		}
		if err := o.receipt.Value.unpackInto(reply); err != nil {
			ge = &onceguard.Error{
				Code: onceguard.ErrUndecodable, RequestID: o.receipt.RequestID, Action: o.rule.Action, State: o.receipt.State,
				Attempt: o.receipt.Attempt, MayHaveRun: true, Err: err,
			}
			return o.told(ge)
		}
		return nil
	case ge == nil:
		return o.err
	case mine && o.live != nil && (ge.Code == onceguard.ErrUnsettled || ge.Code == onceguard.ErrNoResult):
		proto.Reset(reply)
		proto.Merge(reply, o.live)
		if ge.Code == onceguard.ErrUnsettled {
			to.add(MetadataStatus, receiptPending)
		}
		return nil
	case ge.Code == onceguard.ErrRefused:
		if o.receipt.Value.status == nil {
			return &callError{ge, recoded(statusOf(ge), codes.FailedPrecondition)}
		}
		if !mine {
			replayed(to)
		}
		return &callError{ge, status.FromProto(o.receipt.Value.status)}
	case ge.Code == onceguard.ErrNotExecuted && mine && o.failed != nil:
		return &callError{ge, recoded(statusOf(o.failed), codes.Unavailable)}
	}
	return o.told(ge)
}

// told is an error of the guard's own.
func (o *outgoing) told(ge *onceguard.Error) error {
	name := reasonOf(ge.Code)
	if name == "" { // not executed, before the call was made
		name = ReasonStoreUnavailable
	}
	f := facts(ge)
	if name == ReasonOutcomeUnknown && o.ran && o.failed != nil {
		f["handler_code"] = statusOf(o.failed).Code().String()
	}
	return &callError{ge, tell(name, "", ge.RetryAfter, f)}
}

// replayed tells, in the caller's header, that nothing was sent.
func replayed(to returns) { to.add(MetadataReplayed, "true") }

func (r returns) add(key, value string) {
	for _, list := range [][]*metadata.MD{r.header, r.trailer} {
		for _, md := range list {
			if *md == nil {
				*md = metadata.MD{}
			}
			md.Set(key, value)
		}
	}
}
