package process

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var sample = Identity{
	OS: "linux", Boot: "b2c67880-4acb-4a2b-ae96-6f0f378be6ed", PIDNamespace: "4026531836/4026531834",
	PID: 4711, Start: "987654", Host: "0123456789abcdef",
}

const sampleText = "linux/1;boot=b2c67880-4acb-4a2b-ae96-6f0f378be6ed;ns=4026531836/4026531834;pid=4711;start=987654;host=0123456789abcdef"

func TestText(t *testing.T) {
	for name, tc := range map[string]struct {
		id   Identity
		text string
	}{
		"full":    {sample, sampleText},
		"minimal": {Identity{OS: "plan9", PID: 1}, "plan9/1;boot=;ns=;pid=1;start=;host="},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := tc.id.MarshalText()
			if err != nil || string(text) != tc.text {
				t.Errorf("got %q, %v, want %q", text, err, tc.text)
			}
			var back Identity
			if err := back.UnmarshalText([]byte(tc.text)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.id, back); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
	self := Self()
	text, err := self.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back Identity
	if err := back.UnmarshalText(text); err != nil || back != self {
		t.Errorf("self came back as %+v, %v, was %+v", back, err, self)
	}
}

func TestMarshalRefuses(t *testing.T) {
	for name, change := range map[string]func(*Identity){
		"no system": func(i *Identity) { i.OS = "" },
		"no pid":    func(i *Identity) { i.PID = 0 },
		"semicolon": func(i *Identity) { i.Host = "a;b" },
		"comma":     func(i *Identity) { i.Boot = "a,b" },
		"newline":   func(i *Identity) { i.Start = "1\n" },
		"slash":     func(i *Identity) { i.OS = "a/b" },
		"too long":  func(i *Identity) { i.Boot = strings.Repeat("b", 600) },
	} {
		t.Run(name, func(t *testing.T) {
			id := sample
			change(&id)
			if text, err := id.MarshalText(); err == nil {
				t.Errorf("got %q", text)
			}
			if text, err := FormatList([]Identity{sample, id}); err == nil {
				t.Errorf("list: got %q", text)
			}
		})
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"later version":  strings.Replace(sampleText, "linux/1", "linux/2", 1),
		"no system":      strings.TrimPrefix(sampleText, "linux"),
		"field missing":  strings.Replace(sampleText, ";start=987654", "", 1),
		"field added":    sampleText + ";more=1",
		"field twice":    strings.Replace(sampleText, "start=", "pid=", 1),
		"pid zero":       strings.Replace(sampleText, "pid=4711", "pid=0", 1),
		"pid negative":   strings.Replace(sampleText, "pid=4711", "pid=-1", 1),
		"pid with plus":  strings.Replace(sampleText, "pid=4711", "pid=+4711", 1),
		"pid with zero":  strings.Replace(sampleText, "pid=4711", "pid=04711", 1),
		"pid too large":  strings.Replace(sampleText, "pid=4711", "pid=99999999999999999999", 1),
		"blank":          strings.Replace(sampleText, "4711", "4711 ", 1),
		"too long":       sampleText + strings.Repeat("0", 500),
		"list of two":    sampleText + "," + sampleText,
		"equals in host": sampleText + "=",
	} {
		t.Run(name, func(t *testing.T) {
			id := sample
			id.PID = 1
			before := id
			if err := id.UnmarshalText([]byte(text)); err == nil {
				t.Errorf("accepted as %+v", id)
			}
			if id != before {
				t.Errorf("changed to %+v in spite of the error", id)
			}
		})
	}
}

func TestList(t *testing.T) {
	child := sample
	child.PID++
	for _, ids := range [][]Identity{nil, {sample}, {sample, child}} {
		text, err := FormatList(ids)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseList(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(ids, back); diff != "" {
			t.Errorf("%q (-want +got)\n%s", text, diff)
		}
	}
	for name, text := range map[string]string{
		"comma at the end": sampleText + ",",
		"comma alone":      ",",
		"second broken":    sampleText + ",linux/1",
		"too many":         strings.Repeat(sampleText+",", maxList) + sampleText,
	} {
		if ids, err := ParseList(text); err == nil || ids != nil {
			t.Errorf("%s: got %d identities, %v", name, len(ids), err)
		}
	}
	if _, err := FormatList(make([]Identity, maxList+1)); err == nil {
		t.Error("too many were accepted")
	}
}

func TestAllDeadOfNobody(t *testing.T) {
	if AllDead(nil) || AllDead([]Identity{{}}) {
		t.Error("nobody in particular is dead")
	}
}

func TestNothingReadIsNotNear(t *testing.T) {
	for name, blank := range map[string]func(*Identity){
		"boot":      func(i *Identity) { i.Boot = "" },
		"namespace": func(i *Identity) { i.PIDNamespace = "" },
	} {
		id := sample
		if !id.near(sample) {
			t.Fatal("not near itself")
		}
		blank(&id)
		if id.near(id) {
			t.Errorf("without a %s two unknown places are taken for one", name)
		}
	}
}

func FuzzUnmarshalText(f *testing.F) {
	f.Add(sampleText)
	f.Add("plan9/1;boot=;ns=;pid=1;start=;host=")
	f.Add("linux/1;boot=a=b;ns=;pid=1;start=;host=")
	f.Fuzz(func(t *testing.T, text string) {
		var id Identity
		if err := id.UnmarshalText([]byte(text)); err != nil {
			return
		}
		back, err := id.MarshalText()
		if err != nil || string(back) != text {
			t.Errorf("%q came back as %q, %v", text, back, err)
		}
	})
}
