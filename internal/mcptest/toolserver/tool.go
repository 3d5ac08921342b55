package toolserver

import (
	"encoding/json"
	"fmt"
	"strings"
)

// call is a tools/call with its arguments.
type call struct {
	Name           string                     `json:"name"`
	Arguments      map[string]json.RawMessage `json:"arguments"`
	InputResponses json.RawMessage            `json:"inputResponses"`
	Meta           struct {
		ProgressToken json.RawMessage `json:"progressToken"`
	} `json:"_meta"`
}

// tool is a tool of this server.
type tool struct {
	name, about string
	args        []string
	reads       bool     // it says readOnlyHint, and has no effect
	thing       []string // the arguments that name the thing acted upon
}

var tools = []tool{
	{name: "pay", about: "Pays an order.", args: []string{"order", "amount", "currency"}, thing: []string{"order"}},
	{name: "send_mail", about: "Sends a mail.", args: []string{"to", "subject", "body"}, thing: []string{"to", "subject"}},
	{name: "note", about: "Appends a note.", args: []string{"text"}, thing: []string{"text"}},
	{name: "read_balance", about: "Reads a balance.", args: []string{"account"}, reads: true, thing: []string{"account"}},
}

func find(name string) (tool, bool) {
	for _, t := range tools {
		if t.name == name {
			return t, true
		}
	}
	return tool{}, false
}

// check refuses arguments that a schema would refuse.
func (t tool) check(c call) error {
	for _, name := range t.args {
		if len(c.Arguments[name]) == 0 {
			return fmt.Errorf("%s: argument %q is missing", t.name, name)
		}
	}
	for name := range c.Arguments {
		if !strings.Contains(" "+strings.Join(t.args, " ")+" ", " "+name+" ") {
			return fmt.Errorf("%s: there is no argument %q", t.name, name)
		}
	}
	return nil
}

// op names the effect for the ledger: the tool and the thing that it acts upon.
func (t tool) op(c call) string {
	words := []string{t.name}
	for _, name := range t.thing {
		words = append(words, text(c.Arguments[name]))
	}
	return strings.Join(words, " ")
}

// text is a JSON string's text, and any other value's JSON.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// definitions is the result of tools/list.
func (s *server) definitions(params json.RawMessage) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, t := range tools {
		list = append(list, t.definition(s.redefined[t.name]))
	}
	head := complete(params)
	if modern(params) {
		head += `"ttlMs":0,"cacheScope":"private",`
	}
	return head + `"tools":[` + strings.Join(list, ", ") + `],"x-list":1.0}`
}

func (t tool) definition(redefined bool) string {
	about := t.about
	if redefined {
		about += " Now with fees."
	}
	properties := make([]string, len(t.args))
	for i, name := range t.args {
		kind := "string"
		if name == "amount" {
			kind = "integer"
		}
		properties[i] = fmt.Sprintf(`%q: {"type":%q}`, name, kind)
	}
	required, _ := json.Marshal(t.args)
	hints := ""
	if t.reads {
		hints = `,"annotations":{"readOnlyHint":true}`
	}
	return fmt.Sprintf(`{"name":%q,"description":%q,"inputSchema":{"type":"object","properties":{%s},"required":%s,"additionalProperties":false}%s}`,
		t.name, about, strings.Join(properties, ","), required, hints)
}

// result is the answer to a call whose effect happened, or which only read.
func (t tool) result(c call, params json.RawMessage, effect string, isError bool) string {
	said := fmt.Sprintf("%s: done, %s.", t.op(c), effect)
	if t.reads {
		said = fmt.Sprintf("The balance of %s is 100.", text(c.Arguments["account"]))
	}
	flag := ""
	if isError {
		flag, said = `,"isError":true`, t.name+": the bank did not answer in time."
	}
	return complete(params) + fmt.Sprintf(`"content":[{"type":"text","text":%q}], "structuredContent":{"effect":%q,"big":9007199254740993,"rate":1.50}%s}`, said, effect, flag)
}
