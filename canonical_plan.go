package onceguard

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// structPlan is what canonicalValue writes of a struct type.
type structPlan struct {
	fields            []planField
	at, code, problem string // why the type is refused
}

type planField struct {
	name     string
	step     []byte // the name in a pointer; never written to
	index    []int
	tagged   bool
	quoted   bool
	omitzero bool
}

var plans sync.Map // reflect.Type → *structPlan

func planOf(t reflect.Type) *structPlan {
	if plan, ok := plans.Load(t); ok {
		return plan.(*structPlan)
	}
	plan, _ := plans.LoadOrStore(t, newPlan(t))
	return plan.(*structPlan)
}

func newPlan(t reflect.Type) *structPlan {
	c := planCollector{plan: &structPlan{}}
	c.collect(t, nil, nil)
	if c.plan.problem != "" {
		return c.plan
	}
	if len(c.found) == 0 && !c.chosen && c.hidden {
		c.plan.code = codeUnsupported
		c.plan.problem = "the fields of " + t.String() + ` are all unexported, so its content would not count; give it MarshalJSON or MarshalText, or tag the field json:"-"`
		return c.plan
	}
	c.dominant(t)
	return c.plan
}

type planCollector struct {
	plan   *structPlan
	found  []planField
	chosen bool // a field was left out on purpose
	hidden bool // an unexported field was met
}

// collect gathers the fields of a struct and of those embedded in it. The types
// on the way down are kept, because a struct may embed a pointer to itself.
func (c *planCollector) collect(t reflect.Type, index []int, way []reflect.Type) {
	if slices.Contains(way, t) {
		return
	}
	way = append(slices.Clip(way), t)
	for i := range t.NumField() {
		sf := t.Field(i)
		target := sf.Type
		if target.Kind() == reflect.Pointer && target.Name() == "" {
			target = target.Elem()
		}
		embedded := sf.Anonymous && target.Kind() == reflect.Struct
		if !sf.IsExported() && !embedded {
			c.hidden = c.hidden || sf.Name != "_"
			continue
		}
		tag := sf.Tag.Get("json")
		if tag == "-" {
			c.chosen = true
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if !isFieldName(name) {
			name = ""
		}
		here := append(slices.Clip(index), i)
		if embedded && (name == "" || !sf.IsExported()) && marshalerOf(target) != noMarshaler {
			c.refuse(sf.Name, codeAmbiguous, "embedded "+target.String()+" has a MarshalJSON or MarshalText that the outer struct does not inherit, so its content would not count; make it a named field")
			return
		}
		if embedded && name == "" {
			c.collect(target, here, way)
			continue
		}
		opts := strings.Split(options, ",")
		f := planField{name: name, index: here, tagged: name != "", omitzero: slices.Contains(opts, "omitzero")}
		f.quoted = slices.Contains(opts, "string") && isQuotable(target)
		if name == "" {
			f.name = sf.Name
		}
		c.found = append(c.found, f)
	}
}

// dominant applies Go's rule for promoted fields as encoding/json does: the
// least nested wins, then the tagged one. Where encoding/json would silently
// drop all of several equals, the type is refused.
func (c *planCollector) dominant(t reflect.Type) {
	byName := make(map[string][]planField)
	var names []string
	for _, f := range c.found {
		if byName[f.name] == nil {
			names = append(names, f.name)
		}
		byName[f.name] = append(byName[f.name], f)
	}
	for _, name := range names {
		fields := byName[name]
		slices.SortStableFunc(fields, func(a, b planField) int {
			if d := len(a.index) - len(b.index); d != 0 {
				return d
			}
			if a.tagged != b.tagged && a.tagged {
				return -1
			} else if a.tagged != b.tagged {
				return 1
			}
			return 0
		})
		if len(fields) > 1 && len(fields[0].index) == len(fields[1].index) && fields[0].tagged == fields[1].tagged {
			c.refuse(name, codeAmbiguous, "two fields of "+t.String()+" have this JSON name, so neither would count; rename one")
			return
		}
		f := fields[0]
		f.step = []byte(f.name)
		c.plan.fields = append(c.plan.fields, f)
	}
}

func (c *planCollector) refuse(at, code, problem string) {
	c.plan.at, c.plan.code, c.plan.problem = at, code, problem
}

// isQuotable says where the option "string" of a tag has an effect.
func isQuotable(t reflect.Type) bool {
	if t != numberType && marshalerOf(t) != noMarshaler {
		return false
	}
	k := t.Kind()
	return k == reflect.Bool || k == reflect.String || k == reflect.Float32 || k == reflect.Float64 ||
		reflect.Int <= k && k <= reflect.Uint64
}

// isFieldName is encoding/json's rule for names in tags; a name outside it is
// ignored there, so it is ignored here.
func isFieldName(s string) bool {
	if s == "" {
		return false
	}
	for _, c := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return true
}
