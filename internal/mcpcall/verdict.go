package mcpcall

// Verdict names what the gate answered in place of the upstream.
type Verdict string

// The verdicts. All but Replayed and Awaiting are tool results with isError.
const (
	Replayed   Verdict = "replayed"    // the recorded result; nothing ran
	InFlight   Verdict = "in-flight"   // the same call is running
	Uncertain  Verdict = "uncertain"   // may have happened; not run again
	Refused    Verdict = "refused"     // did not happen, recorded as refused
	Conflict   Verdict = "conflict"    // the call's key or id belongs to other arguments
	Drift      Verdict = "drift"       // the business key was used with other arguments
	Repeat     Verdict = "repeat"      // happened and was answered already: a repeat needs a token or a person
	NoResult   Verdict = "no-result"   // happened; the result is not kept
	Expired    Verdict = "expired"     // the key is older than the memory
	NotRun     Verdict = "not-run"     // nothing ran: call again
	Frozen     Verdict = "frozen"      // nothing ran: the store may have forgotten
	Unsettled  Verdict = "unsettled"   // ran; the outcome is not stored yet
	Invalid    Verdict = "invalid"     // the params cannot be read unambiguously; a JSON-RPC error
	InProgress Verdict = "in-progress" // a task of this call is running: its handle again
	Awaiting   Verdict = "awaiting"    // the upstream waits for input: its question again
)
