package onceguard

import (
	"fmt"
	"strings"
)

// A result's Type reads "CODEC TYPE", and "; sealed=KEY" when the body is
// encrypted; the request ID is bound in, so that rows cannot be swapped.
const sealedMark = "; sealed="

// sealedInput is the first byte of an encrypted kept input. Inputs are JSON,
// which cannot begin with it.
const sealedInput = 0x01

func (k *keyring) sealResult(id RequestID, typ string, body []byte) Result {
	if k.data == nil {
		return NewResult(typ, body)
	}
	return NewResult(typ+sealedMark+k.data.id, k.data.seal(body, id[:]))
}

func (k *keyring) openResult(id RequestID, r Result) ([]byte, error) {
	_, key, sealed := strings.Cut(r.Type, sealedMark)
	if !sealed {
		return r.Body, nil
	}
	if k.data == nil || k.data.id != key {
		return nil, &Error{Code: ErrKeyMissing, RequestID: id, MayHaveRun: true, Reason: fmt.Sprintf("the result is encrypted under %s; give the key encryption key", key)}
	}
	own := id // a copy only here: an unsealed replay allocates nothing for it
	return k.data.open(r.Body, own[:])
}

func (k *keyring) sealInput(id RequestID, input []byte) []byte {
	if k.data == nil || len(input) == 0 {
		return input
	}
	return append([]byte{sealedInput}, k.data.seal(input, id[:])...)
}

func (k *keyring) openInput(id RequestID, input []byte) ([]byte, error) {
	if len(input) == 0 || input[0] != sealedInput {
		return input, nil
	}
	if k.data == nil {
		return nil, &Error{Code: ErrKeyMissing, RequestID: id, MayHaveRun: true, Reason: "the kept input is encrypted; give the key encryption key"}
	}
	return k.data.open(input[1:], id[:])
}
