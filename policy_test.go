package onceguard

import (
	"testing"
	"time"
)

func TestPolicyKindNames(t *testing.T) {
	for k, name := range map[PolicyKind]string{AtMostOnceKind: "at-most-once", SafeRetryKind: "safe-retry", RerunKind: "rerun", TransactionalKind: "transactional"} {
		if k.String() != name {
			t.Errorf("%d is named %s, want %s", k, k, name)
		}
		if got, err := ParsePolicyKind(name); err != nil || got != k {
			t.Errorf("%s is read as %s, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "exactly-once", "At-Most-Once", "policy(4)"} {
		if got, err := ParsePolicyKind(name); err == nil {
			t.Errorf("%q is read as %s", name, got)
		}
	}
	if (Policy{}).Kind != AtMostOnceKind {
		t.Error("the zero policy is not the strictest")
	}
}

func TestPolicyValidate(t *testing.T) {
	for name, p := range map[string]Policy{
		"zero": {}, "at most once": AtMostOnce, "rerun": Rerun, "transactional": Transactional,
		"safe retry": SafeRetry(time.Hour, RefusalsForgotten), "limited": {Kind: RerunKind, MaxAttempts: 1},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, p := range map[string]Policy{
		"unknown kind":                {Kind: 4},
		"negative attempts":           {MaxAttempts: -1},
		"no horizon":                  SafeRetry(0, RefusalsRemembered),
		"negative horizon":            SafeRetry(-time.Hour, RefusalsRemembered),
		"refusals not said":           SafeRetry(time.Hour, RefusalsUnset),
		"refusals of another version": SafeRetry(time.Hour, 3),
		"horizon of at-most-once":     {Horizon: time.Hour},
		"refusals of rerun":           {Kind: RerunKind, Refusals: RefusalsRemembered},
	} {
		if p.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestStricterPolicy(t *testing.T) {
	short, long := SafeRetry(time.Hour, RefusalsForgotten), SafeRetry(2*time.Hour, RefusalsRemembered)
	mixed := SafeRetry(time.Hour, RefusalsForgotten)
	few := Policy{Kind: RerunKind, MaxAttempts: 2}
	for name, x := range map[string]struct{ row, declared, want Policy }{
		"the same":                        {long, long, long},
		"declared at-most-once":           {Rerun, AtMostOnce, AtMostOnce},
		"row at-most-once":                {AtMostOnce, Rerun, AtMostOnce},
		"safe-retry over rerun":           {Rerun, long, long},
		"rerun under safe-retry":          {long, Rerun, long},
		"shorter horizon, forgets":        {long, short, mixed},
		"row's shorter horizon, forgets":  {short, long, mixed},
		"transactional row":               {Transactional, long, Transactional},
		"declared transactional":          {long, Transactional, Transactional},
		"fewer attempts declared":         {Rerun, few, few},
		"fewer attempts on the row":       {few, Rerun, few},
		"more than the default is looser": {Rerun, Policy{Kind: RerunKind, MaxAttempts: 9}, Rerun},
		"horizon leaves with its kind":    {long, AtMostOnce, AtMostOnce},
	} {
		got := stricter(x.row, x.declared)
		if got != x.want {
			t.Errorf("%s: %+v, want %+v", name, got, x.want)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: the stricter policy is invalid: %v", name, err)
		}
		if again := stricter(got, x.declared); again != got {
			t.Errorf("%s: recorded and asked again it becomes %+v", name, again)
		}
	}
}

// Whatever row and declaration say, what governs is no looser than either.
func TestStricterIsNoLooser(t *testing.T) {
	for rowName, row := range rulePolicies {
		for name, declared := range rulePolicies {
			for _, limits := range [][2]int{{0, 0}, {2, 0}, {0, 2}, {9, 3}} {
				row, declared := row, declared
				row.MaxAttempts, declared.MaxAttempts = limits[0], limits[1]
				p := stricter(row, declared)
				for _, x := range []Policy{row, declared} {
					if p.repeats() && !x.repeats() || p.attempts() > x.attempts() ||
						x.Kind == SafeRetryKind && p.repeats() && (p.Kind != SafeRetryKind || p.Horizon > x.Horizon || p.Refusals == RefusalsRemembered && x.Refusals != RefusalsRemembered) {
						t.Errorf("row %s, declared %s: %+v is looser than %+v", rowName, name, p, x)
					}
				}
			}
		}
	}
}
