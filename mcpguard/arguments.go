package mcpguard

import (
	"encoding/json"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// sdkRefuses begins the SDK's own error for arguments that the tool's schema
// refuses; the handler is not called then.
const sdkRefuses = `validating "arguments": `

// refused reports whether the SDK refused a call's arguments before its handler:
// it says so, and they do not fit the schema. The words alone prove nothing, a
// handler may pass on those of another server.
func (m *Middleware) refused(tool string, arguments json.RawMessage, said error) bool {
	if !strings.HasPrefix(said.Error(), sdkRefuses) {
		return false
	}
	known, _ := m.tools.schema(tool)
	raw, err := json.Marshal(known)
	if err != nil {
		return false
	}
	var schema jsonschema.Schema
	if json.Unmarshal(raw, &schema) != nil {
		return false
	}
	resolved, err := schema.Resolve(nil)
	if err != nil {
		return false
	}
	values := map[string]any{}
	if len(arguments) > 0 && json.Unmarshal(arguments, &values) != nil {
		return false
	}
	return resolved.Validate(values) != nil
}
