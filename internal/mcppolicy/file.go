package mcppolicy

// file is the policy file. docs/mcp-policy.md explains every key.
type file struct {
	Version  int     `yaml:"version"`  // 1
	Server   string  `yaml:"server"`   // identity: part of every receipt
	Defaults entry   `yaml:"defaults"` // for every tool; an entry's own keys go before
	Tools    []entry `yaml:"tools"`    // the first whose name matches counts
}

// entry speaks of one tool, or of all whose names match a pattern.
type entry struct {
	Name string `yaml:"name"`
	Mode string `yaml:"mode"` // guard (default) or pass
	Pin  string `yaml:"pin"`

	Policy            string `yaml:"policy"`
	Horizon           span   `yaml:"horizon"`
	RemembersRefusals *bool  `yaml:"remembers_refusals"`
	MaxAttempts       int    `yaml:"max_attempts"`

	Identity identity `yaml:"identity"`
	IsError  string   `yaml:"is_error"`
	Repeat   string   `yaml:"repeat"`
	Inject   inject   `yaml:"inject"`
	// CancelSafe is a pointer so that an entry can say no where the defaults say yes.
	CancelSafe *bool  `yaml:"cancel_safe"`
	Result     string `yaml:"result"`

	Wait              span `yaml:"wait"`
	AnswerWithin      span `yaml:"answer_within"`
	MaxRun            span `yaml:"max_run"`
	Lease             span `yaml:"lease"`
	ResultRetention   span `yaml:"result_retention"`
	IdentityRetention span `yaml:"identity_retention"`
}

type identity struct {
	Key        []string `yaml:"key"`
	Template   string   `yaml:"template"`
	Ignore     []string `yaml:"ignore"`
	Meta       string   `yaml:"meta"`
	CallIDs    []string `yaml:"call_ids"`
	TurnIDs    []string `yaml:"turn_ids"`
	ShowValues []string `yaml:"show_values"`
}

type inject struct {
	Argument string `yaml:"argument"`
	Header   string `yaml:"header"`
	Meta     string `yaml:"meta"`
	Length   int    `yaml:"length"`
}

// over returns e with what it does not say taken from the defaults. Keys that
// belong together (a policy and its facts, an identity's key and template, an
// injection) are taken together.
func (e entry) over(d entry) entry {
	if e.Policy == "" {
		e.Policy = d.Policy
		pick(&e.Horizon, d.Horizon)
		pick(&e.RemembersRefusals, d.RemembersRefusals)
		pick(&e.MaxAttempts, d.MaxAttempts)
	}
	if len(e.Identity.Key) == 0 && e.Identity.Template == "" {
		e.Identity.Key, e.Identity.Template = d.Identity.Key, d.Identity.Template
	}
	pick(&e.Identity.Meta, d.Identity.Meta)
	for _, list := range []struct{ own, given *[]string }{
		{&e.Identity.Ignore, &d.Identity.Ignore},
		{&e.Identity.CallIDs, &d.Identity.CallIDs},
		{&e.Identity.TurnIDs, &d.Identity.TurnIDs},
		{&e.Identity.ShowValues, &d.Identity.ShowValues},
	} {
		if *list.own == nil {
			*list.own = *list.given
		}
	}
	pick(&e.IsError, d.IsError)
	pick(&e.Repeat, d.Repeat)
	pick(&e.Inject, d.Inject)
	pick(&e.CancelSafe, d.CancelSafe)
	pick(&e.Result, d.Result)
	for _, s := range []struct{ own, given *span }{
		{&e.Wait, &d.Wait},
		{&e.AnswerWithin, &d.AnswerWithin},
		{&e.MaxRun, &d.MaxRun},
		{&e.Lease, &d.Lease},
		{&e.ResultRetention, &d.ResultRetention},
		{&e.IdentityRetention, &d.IdentityRetention},
	} {
		pick(s.own, *s.given)
	}
	return e
}

func pick[T comparable](own *T, given T) {
	var zero T
	if *own == zero {
		*own = given
	}
}
