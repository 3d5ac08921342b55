package mcpcall

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/onceguard/onceguard"
	"github.com/onceguard/onceguard/internal/mcppolicy"
)

// JSON-RPC errors that the protocol documents as refusals before any work.
const (
	codeNoMethod  = -32601
	codeBadParams = -32602
)

// shape is what a result is.
type shape uint8

const (
	shapePlain  shape = iota
	shapeError        // isError
	shapeInput        // input_required: a question, no receipt
	shapeTask         // a task handle: in progress
	shapeBroken       // no result at all
)

// shapeOf looks at a raw result. taskID is the handle's, for shapeTask.
func shapeOf(result json.RawMessage) (s shape, taskID string) {
	if !json.Valid(result) {
		return shapeBroken, ""
	}
	if _, _, ok := members(result); !ok {
		return shapeBroken, ""
	}
	kind, _ := text(field(result, "resultType"))
	if kind == "input_required" {
		return shapeInput, ""
	}
	// Revision 2025-11-25 wraps the handle in "task"; SEP-2663 marks the result.
	if id, ok := text(field(result, "task", "taskId")); ok && field(result, "content") == nil {
		return shapeTask, id
	}
	if id, ok := text(field(result, "taskId")); ok && kind == "task" {
		return shapeTask, id
	}
	if string(field(result, "isError")) == "true" {
		return shapeError, ""
	}
	return shapePlain, ""
}

// busy reports a question that asks for nothing and hands out no state: the server
// sheds load (SEP-2322), and the client makes the same call again.
func busy(question json.RawMessage) bool {
	if state := field(question, "requestState"); state != nil && string(state) != "null" {
		return false
	}
	asked, _, ok := members(field(question, "inputRequests"))
	return ok && len(asked) == 0
}

// errorCode reads a raw JSON-RPC error.
func errorCode(raw json.RawMessage) (code int, message string) {
	var e struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return 0, ""
	}
	return e.Code, e.Message
}

// outcome says what an answer means for the effect, in the words of an effect:
// a value, NotExecuted, Refused, or any other error for "nobody knows". The
// reasons are kept in the store and do not repeat what the tool said.
func outcome(r Reply, s shape, how mcppolicy.IsError) ([]byte, error) {
	switch {
	case r.Error != nil && r.Result == nil:
		code, _ := errorCode(r.Error)
		err := fmt.Errorf("the server answered with the JSON-RPC error %d", code)
		if code == codeNoMethod || code == codeBadParams {
			return nil, onceguard.NotExecuted(err)
		}
		return nil, err
	case r.Result == nil || s == shapeBroken:
		return nil, errors.New("the server's answer has no readable result")
	case s == shapeTask:
		return nil, errTask
	case s == shapeInput && busy(r.Result):
		return nil, onceguard.NotExecuted(errors.New("the server was busy and asked for the same call later"))
	case s == shapeError:
		err := errors.New("the tool answered with isError")
		switch how {
		case mcppolicy.IsErrorRefused:
			return r.Result, onceguard.Refused(err)
		case mcppolicy.IsErrorNotExecuted:
			return nil, onceguard.NotExecuted(err)
		case mcppolicy.IsErrorSuccess:
			return r.Result, nil
		}
		return nil, err
	}
	return r.Result, nil
}

// errTask is why a call whose task runs has no receipt yet.
var errTask = errors.New("the tool answered with a task, which has not ended as far as is known here")
