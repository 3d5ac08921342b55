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
// Rule.Classify is nil. It is ClassifyHandler, except that AlreadyExists is unknown:
// a server that remembers keys may mean our own earlier request by it. Rule.BeforeWork
// lists the codes that the server documents as given before any work.
//
// A guard of this package on the other side is understood: its own answers say
// whether the handler ran.
func ClassifyPeer(st *status.Status) onceguard.StatusClass {
	if info, ok := Info(st); ok {
		return reasons[info.Reason].peer
	}
	if st.Code() == codes.AlreadyExists {
		return onceguard.StatusUnknown
	}
	return ClassifyHandler(st)
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
