package grpcguard

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onceguard/onceguard"
)

// ClassifyHandler is the reading of a handler's status where Method.Classify is nil.
// A refusal is stored and replayed with the same code, message and details; every
// code that says nothing about whether the work was done is an unknown outcome.
//
// PermissionDenied, Unauthenticated and Unimplemented are refusals, too: a handler
// may have passed them on from somewhere below, after a part of its work, and a
// refusal is never run again. A handler that has changed nothing and wants the key
// to stay usable returns onceguard.NotExecuted(err).
func ClassifyHandler(st *status.Status) onceguard.StatusClass {
	switch st.Code() {
	case codes.OK:
		return onceguard.StatusSucceeded
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange, codes.NotFound, codes.AlreadyExists,
		codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return onceguard.StatusRefused
	}
	return onceguard.StatusUnknown
}

// ClassifyPeer is the reading of a status that came from the peer, where
// Rule.Classify is nil. It is ClassifyHandler, except for what may be about an
// earlier request of our own with the same key: AlreadyExists, and the guard's
// answers KEY_REUSED, KEY_EXPIRED and ALREADY_COMPLETED, are unknown.
//
// That a guard on the other side ran nothing (STORE_UNAVAILABLE) is not believed: the
// peer may have passed on what another server told it after a part of its work.
func ClassifyPeer(st *status.Status) onceguard.StatusClass {
	info, _ := Info(st)
	switch {
	case st.Code() == codes.AlreadyExists,
		info.GetReason() == ReasonKeyReused, info.GetReason() == ReasonKeyExpired, info.GetReason() == ReasonAlreadyCompleted:
		return onceguard.StatusUnknown
	}
	return ClassifyHandler(st)
}

// beforeKey reports a status that a server may give before it looks at the key. It
// says nothing about an earlier attempt, also where the server remembers refusals.
func beforeKey(st *status.Status) bool {
	_, own := Info(st)
	return own || st.Code() == codes.Unauthenticated || st.Code() == codes.PermissionDenied || st.Code() == codes.Unimplemented
}

// declared marks err with what a class says; nil for unknown, which needs no mark.
func declared(class onceguard.StatusClass, err error) error {
	switch class {
	case onceguard.StatusRefused:
		return onceguard.Refused(err)
	case onceguard.StatusNotExecuted:
		return onceguard.NotExecuted(err)
	}
	return nil
}
