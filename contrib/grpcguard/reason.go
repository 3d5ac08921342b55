package grpcguard

import (
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/onceguard/onceguard"
)

// Domain is the domain of the google.rpc.ErrorInfo in the guard's own answers. A
// status without such a detail is the handler's.
const Domain = "github.com/onceguard/onceguard"

// The reasons of the guard's own answers. They never change. docs/grpc.md says for
// each what ran and what a client should do.
const (
	ReasonKeyMissing       = "KEY_MISSING"       // INVALID_ARGUMENT: nothing ran
	ReasonKeyMalformed     = "KEY_MALFORMED"     // INVALID_ARGUMENT: nothing ran
	ReasonScopeDenied      = "SCOPE_DENIED"      // PERMISSION_DENIED: nothing ran
	ReasonInProgress       = "IN_PROGRESS"       // ABORTED, with RetryInfo: it may be running
	ReasonOutcomeUnknown   = "OUTCOME_UNKNOWN"   // UNKNOWN: it may have happened
	ReasonAlreadyCompleted = "ALREADY_COMPLETED" // ALREADY_EXISTS: the outcome is known, its message is not kept
	ReasonKeyExpired       = "KEY_EXPIRED"       // FAILED_PRECONDITION: this call ran nothing
	ReasonKeyReused        = "KEY_REUSED"        // FAILED_PRECONDITION: this call ran nothing
	ReasonMisconfigured    = "MISCONFIGURED"     // INTERNAL: nothing ran
	ReasonStoreUnavailable = "STORE_UNAVAILABLE" // UNAVAILABLE, with RetryInfo: this call ran nothing
	ReasonStoreFrozen      = "STORE_FROZEN"      // UNAVAILABLE, with RetryInfo: this call ran nothing
)

// What a client should do next, in the metadata "retry" of the ErrorInfo.
const (
	RetrySameKey = "same-key" // make the same call again, later, with the same key
	RetryNewKey  = "new-key"  // this key will not work: nothing ran under it
	RetryNo      = "no"       // another try changes nothing until somebody acts
)

// reason is the fixed part of one answer of the guard.
type reason struct {
	code    codes.Code
	retry   string
	after   time.Duration
	message string
}

var reasons = map[string]reason{
	ReasonKeyMissing: {
		code: codes.InvalidArgument, retry: RetryNewKey,
		message: "this method needs the metadata key idempotency-key, the same on every retry of one intention; nothing was run",
	},
	ReasonKeyMalformed: {
		code: codes.InvalidArgument, retry: RetryNewKey,
		message: "the idempotency key could not be read; nothing was run",
	},
	ReasonScopeDenied: {
		code: codes.PermissionDenied, retry: RetryNo,
		message: "the call cannot be told to belong to a tenant; nothing was run",
	},
	ReasonInProgress: {
		code: codes.Aborted, retry: RetrySameKey,
		message: "a call with this key is being handled; retry with the same key, never a new one, to collect its answer",
	},
	ReasonOutcomeUnknown: {
		code: codes.Unknown, retry: RetrySameKey,
		message: "the operation may or may not have happened, and is not started again until that is known; retry with the same key, never a new one",
	},
	ReasonAlreadyCompleted: {
		code: codes.AlreadyExists, retry: RetryNo,
		message: "the operation is finished as the state says, and its message is not kept; nothing was run again; read the resource itself",
	},
	ReasonKeyExpired: {
		code: codes.FailedPrecondition, retry: RetryNo,
		message: "the key is older than what is remembered; nothing was run by this call, and whether one with this key ran long ago is not known here",
	},
	ReasonKeyReused: {
		code: codes.FailedPrecondition, retry: RetryNo,
		message: "this key was used for a call with another content; nothing was run by this call",
	},
	ReasonMisconfigured: {
		code: codes.Internal, retry: RetryNo,
		message: "the guard of this method is misconfigured; nothing was run by this call",
	},
	ReasonStoreUnavailable: {
		code: codes.Unavailable, retry: RetrySameKey, after: 5 * time.Second,
		message: "the memory of requests does not answer; nothing was run by this call, an earlier one with the same key may have; retry with the same key, never a new one",
	},
	ReasonStoreFrozen: {
		code: codes.Unavailable, retry: RetrySameKey, after: 30 * time.Second,
		message: "the memory of requests may have lost something; nothing was run by this call, an earlier one with the same key may have; operations are stopped until an operator has looked",
	},
}

// reasonOf names the answer to an error of the guard; empty for one whose status is
// the handler's own.
func reasonOf(c onceguard.Code) string {
	switch c {
	case onceguard.ErrRefused, onceguard.ErrNotExecuted:
		return ""
	case onceguard.ErrInProgress:
		return ReasonInProgress
	case onceguard.ErrUncertain, onceguard.ErrUnsettled:
		return ReasonOutcomeUnknown
	case onceguard.ErrMismatch:
		return ReasonKeyReused
	case onceguard.ErrNoResult, onceguard.ErrUndecodable, onceguard.ErrCorrupt:
		return ReasonAlreadyCompleted
	case onceguard.ErrExpired:
		return ReasonKeyExpired
	case onceguard.ErrFrozen:
		return ReasonStoreFrozen
	case onceguard.ErrNotRun, onceguard.ErrKeyMissing:
		return ReasonStoreUnavailable
	}
	return ReasonMisconfigured
}

// Info returns the guard's own detail of a status; false where there is none, so
// that the status is a handler's. Its metadata are "retry", one of the Retry
// constants, and, where they are known, "request_id", "state" (of the record),
// "attempt", "since" (RFC 3339, the store's clock), "handler_code" (of the status that
// is not passed on) and "result" (why a message is not kept).
func Info(st *status.Status) (*errdetails.ErrorInfo, bool) {
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Domain == Domain {
			if _, known := reasons[info.Reason]; known {
				return info, true
			}
		}
	}
	return nil, false
}

// tell builds the guard's own status. What is empty in facts is left out.
func tell(name, message string, after time.Duration, facts map[string]string) *status.Status {
	r := reasons[name]
	if message == "" {
		message = r.message
	}
	if after == 0 {
		after = r.after
	}
	info := &errdetails.ErrorInfo{Domain: Domain, Reason: name, Metadata: map[string]string{"retry": r.retry}}
	for k, v := range facts {
		if v != "" {
			info.Metadata[k] = v
		}
	}
	details := []protoadapt.MessageV1{info}
	if after > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	}
	st, err := status.New(r.code, message).WithDetails(details...)
	if err != nil {
		panic("grpcguard: a status cannot carry its details: " + err.Error()) // two known messages of valid text always can
	}
	return st
}

// facts are what an error of the guard may tell its caller. A mismatch tells
// nothing: the record may be somebody else's.
func facts(e *onceguard.Error) map[string]string {
	if e.Code == onceguard.ErrMismatch {
		return nil
	}
	f := map[string]string{}
	if !e.RequestID.IsZero() {
		f["request_id"] = e.RequestID.String()
	}
	if e.Attempt > 0 {
		f["attempt"], f["state"] = strconv.FormatInt(e.Attempt, 10), e.State.String()
	}
	if !e.Since.IsZero() {
		f["since"] = e.Since.UTC().Format(time.RFC3339)
	}
	return f
}
