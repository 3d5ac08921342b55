package mcpcall

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/onceguard/onceguard"
)

// Call is one tools/call as it arrived.
type Call struct {
	// Params are the raw params, byte for byte. They are not kept, and must not
	// change while the call is forwarded, which may be after Do returned.
	Params json.RawMessage
	// Header has the HTTP headers of the request; nil on stdio. Only
	// Idempotency-Key is read, and all are handed to Upstream.
	Header http.Header
	// Principal names who calls, as the transport authenticated it: receipts of
	// one principal are invisible to all others. It may be a secret, such as a
	// bearer token: only a keyed digest of it is stored. Empty on stdio, where
	// the client is the user.
	Principal string
}

// Reply is what the client is told: exactly one of Result and Error.
type Reply struct {
	Result json.RawMessage // raw, of the upstream or a verdict
	Error  json.RawMessage // raw JSON-RPC error object
	// Verdict is empty for an answer that the upstream gave to this call, and
	// otherwise says what the gate did instead.
	Verdict Verdict
	// Handle goes to Delivered and Acknowledged.
	Handle Handle
}

// Handle names the receipt that a reply tells about, for the evidence of
// delivery. The zero Handle stands for none and is accepted everywhere.
type Handle struct {
	id   onceguard.RequestID
	turn string // keyed digest of the host's turn id
}

// RequestID is the receipt's identity, zero where the reply tells about none.
func (h Handle) RequestID() onceguard.RequestID { return h.id }

// Upstream sends one tools/call and returns its raw result or error: a Reply
// with exactly one of Result and Error set. params and header are what to send,
// with the repeat token gone and the downstream key put in where the policy
// says so; header is a copy, and nil where the call had none and none is
// injected.
//
// An error says that no answer came. Mark it with onceguard.NotExecuted when
// surely nothing left this process (the dial failed, the server never started);
// any other error means that the call may have had its effect (a broken stream,
// a server that died, a timeout). Its text is kept as the receipt's reason and
// shown to the caller: no secrets in it.
//
// An error beside a Reply of an error or of a result with isError is the
// upstream's own word on what that means for the effect: NotExecuted, Refused, or
// any other error for "nobody knows". It goes before the policy's is_error.
//
// ctx does not end when the client leaves, unless the tool is cancel-safe; it
// ends when the tool's max_run is over or the lease is lost. Upstream must then
// return, and a late answer must be returned rather than dropped.
type Upstream func(ctx context.Context, params json.RawMessage, header http.Header) (Reply, error)
