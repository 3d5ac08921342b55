package httpguard

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onceguard/onceguard"
)

func TestKeyFromHeader(t *testing.T) {
	for value, want := range map[string]string{
		`"8e03978e-40d5-43ea"`: "8e03978e-40d5-43ea", // the draft's form
		`8e03978e-40d5-43ea`:   "8e03978e-40d5-43ea",
		`  "a b,c;d"  `:        "a b,c;d",
		`"say \"hi\" \\"`:      `say "hi" \`,
		`a=b/c~`:               "a=b/c~",
	} {
		key, err := KeyFromHeader(http.Header{"Idempotency-Key": {value}})
		if err != nil || key.Encoded() != onceguard.RawKey(want).Encoded() {
			t.Errorf("%s: %v %v, want %s", value, key, err, want)
		}
	}
	long := make([]byte, 512)
	for i := range long {
		long[i] = 'k'
	}
	for _, value := range []string{
		"", " ", `"`, `""`, `"a`, `a"`, `a"b"`, `"a"b`, `"a";v=1`, `"a", "b"`, "a,b", "a b", "a;b", "é", `"é"`, `"a\n"`, "a\x7f", string(long),
	} {
		if key, err := KeyFromHeader(http.Header{"Idempotency-Key": {value}}); err == nil {
			t.Errorf("%q was read as %v", value, key)
		}
	}
	if key, err := KeyFromHeader(http.Header{}); err != nil || key.Encoded() != "" {
		t.Errorf("no header: %v %v", key, err)
	}
	if _, err := KeyFromHeader(http.Header{"Idempotency-Key": {"a", "a"}}); err == nil {
		t.Error("a repeated header was accepted")
	}
}

// FuzzKeyFromHeader: what is accepted has one spelling in quotes, which reads back.
func FuzzKeyFromHeader(f *testing.F) {
	for _, s := range []string{`"a"`, "a", `"\\"`, `"\"`, "a,b", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := KeyFromHeader(http.Header{"Idempotency-Key": {value}})
		if err != nil {
			return
		}
		text := key.Parts()[0].Value
		quoted := []byte{'"'}
		for i := range len(text) {
			if text[i] == '"' || text[i] == '\\' {
				quoted = append(quoted, '\\')
			}
			quoted = append(quoted, text[i])
		}
		again, err := KeyFromHeader(http.Header{"Idempotency-Key": {string(append(quoted, '"'))}})
		if err != nil || again.Encoded() != key.Encoded() {
			t.Errorf("%q is %v, its quoted form %q is %v: %v", value, key, quoted, again, err)
		}
	})
}

func TestPreferredWait(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  time.Duration
		ok    bool
	}{
		{nil, 0, false},
		{[]string{"wait=10"}, 10 * time.Second, true},
		{[]string{"respond-async, WAIT = \"5\" ; x=1"}, 5 * time.Second, true},
		{[]string{"return=minimal", "wait=0"}, 0, true},
		{[]string{"wait=1, wait=9"}, time.Second, true}, // the first counts
		{[]string{`foo="wait=3, wait=4"`}, 0, false},
		{[]string{"wait"}, 0, false},
		{[]string{"wait=-1"}, 0, false},
		{[]string{"wait=99999999999999"}, 0, false},
	} {
		got, ok := preferredWait(http.Header{"Prefer": c.lines})
		if ok != c.ok || (ok && got != c.want) {
			t.Errorf("%q: %v %v, want %v %v", c.lines, got, ok, c.want, c.ok)
		}
	}
}

func TestResponseCodec(t *testing.T) {
	for name, p := range map[string]response{
		"empty":    {status: 204},
		"whole":    {status: 201, fields: []field{{"Etag", []string{`"1"`}}, {"Link", []string{"<a>", "<b>"}}}, body: []byte("\x00\xffbody")},
		"no CT":    {status: 200, fields: []field{{name: "Content-Type"}}, body: []byte("x")},
		"bodiless": {status: 200, fields: []field{{"Etag", []string{"x"}}}, gap: gapStreamed, length: 1 << 40, digest: [32]byte{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			data, err := responses.Encode(p)
			if err != nil {
				t.Fatal(err)
			}
			var got response
			if err := responses.Decode(data, &got); err != nil {
				t.Fatal(err)
			}
			again, err := responses.Encode(got)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(data, again); diff != "" {
				t.Error(diff)
			}
			if got.status != p.status || got.gap != p.gap || string(got.body) != string(p.body) || got.length != p.length || got.digest != p.digest {
				t.Errorf("got %+v, want %+v", got, p)
			}
			for cut := range data { // no prefix is a response
				if responses.Decode(data[:cut], &got) == nil {
					t.Errorf("%d of %d bytes were accepted", cut, len(data))
				}
			}
			if responses.Decode(append(data, 0), &got) == nil {
				t.Error("a trailing byte was accepted")
			}
		})
	}
	if _, err := responses.Encode("text"); err == nil {
		t.Error("a string was encoded")
	}
	if responses.Decode(nil, new(string)) == nil {
		t.Error("decoded into a string")
	}
}

// FuzzResponseCodec: no stored bytes can make the decoder panic or ask for much
// memory, and what it accepts encodes back to the same response.
func FuzzResponseCodec(f *testing.F) {
	seed, _ := responses.Encode(response{status: 201, fields: []field{{"Etag", []string{"1"}}}, body: []byte("b")})
	f.Add(seed)
	f.Add([]byte{1, 200, 1, 0, 255, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, data []byte) {
		var p response
		if responses.Decode(data, &p) != nil {
			return
		}
		again, err := responses.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		var q response
		if err := responses.Decode(again, &q); err != nil || q.status != p.status || string(q.body) != string(p.body) || len(q.fields) != len(p.fields) {
			t.Errorf("%+v and %+v: %v", p, q, err)
		}
	})
}

func TestStoredHeaders(t *testing.T) {
	allowed, err := allowList([]string{"x-kept", "Retry-After"})
	if err != nil {
		t.Fatal(err)
	}
	m := &Middleware{allowed: allowed}
	h := http.Header{
		"Content-Type": {"a"}, "X-Kept": {"1", "2"}, "X-Not": {"3"}, "Set-Cookie": {"canary"}, "Authorization": {"canary"}, "Date": {"now"},
		"Connection": {"close, Etag"}, "Etag": {"hop-by-hop here"}, "Location": {"/a\r\nSet-Cookie: canary"}, "Retry-After": {"1"},
	}
	want := []field{{"Content-Type", []string{"a"}}, {"Retry-After", []string{"1"}}, {"X-Kept", []string{"1", "2"}}}
	if diff := cmp.Diff(want, m.storable(h), cmp.AllowUnexported(field{})); diff != "" {
		t.Errorf("stored headers (-want +got)\n%s", diff)
	}
	for _, name := range neverStored {
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s is not spelled canonically, so it would be stored", name)
		}
	}
	for _, name := range StoredHeaders {
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s is not spelled canonically, so it would not be stored", name)
		}
	}
}

func TestRecorderFollowsTheRules(t *testing.T) {
	newRec := func() (*recorder, *httptest.ResponseRecorder) {
		w := httptest.NewRecorder()
		return newRecorder(w, httptest.NewRequest("POST", "/", nil), 8), w
	}
	t.Run("no body with 204", func(t *testing.T) {
		c, _ := newRec()
		c.WriteHeader(204)
		if _, err := c.Write([]byte("x")); err != http.ErrBodyNotAllowed {
			t.Error(err)
		}
	})
	t.Run("the first status counts, informational ones do not", func(t *testing.T) {
		c, _ := newRec()
		c.WriteHeader(103)
		c.WriteHeader(201)
		c.WriteHeader(500)
		c.Header().Set("Etag", "too late")
		p := c.end((&Middleware{allowed: map[string]bool{"Etag": true}}).storable)
		if p.status != 201 || len(p.fields) != 0 {
			t.Errorf("%+v", p)
		}
	})
	t.Run("an invalid status panics", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c, _ := newRec()
		c.WriteHeader(42)
	})
	t.Run("declared trailers pass through", func(t *testing.T) {
		c, w := newRec()
		c.Header().Set("Trailer", "Sum")
		_, _ = c.Write([]byte("ab"))
		c.Header().Set("Sum", "1")
		if p := c.end(func(http.Header) []field { return nil }); p.gap != gapStreamed || w.Result().Trailer.Get("Sum") != "1" {
			t.Errorf("%+v, trailer %v", p, w.Result().Trailer)
		}
	})
	t.Run("undeclared trailers are kept for the client", func(t *testing.T) {
		c, w := newRec()
		_, _ = c.Write([]byte("ab"))
		c.Header().Set(http.TrailerPrefix+"Sum", "1")
		p := c.end(func(http.Header) []field { return nil })
		c.deliver(w, p, false)
		if p.gap != "" || w.Result().Trailer.Get("Sum") != "1" {
			t.Errorf("%+v, trailer %v", p, w.Result().Trailer)
		}
	})
	t.Run("after the client has gone", func(t *testing.T) {
		c, w := newRec()
		if !c.detach() {
			t.Fatal("not detached")
		}
		for range 3 {
			if n, err := c.Write([]byte("12345")); n != 5 || err != nil {
				t.Errorf("%d %v: an effect must not be cut short", n, err)
			}
		}
		if err := c.FlushError(); err != nil {
			t.Error(err)
		}
		if _, _, err := c.Hijack(); err == nil {
			t.Error("hijacked a connection that is not ours any more")
		}
		if c.SetWriteDeadline(time.Now()) == nil || c.SetReadDeadline(time.Now()) == nil {
			t.Error("set a deadline on a connection that is not ours any more")
		}
		if p := c.end(func(http.Header) []field { return nil }); p.gap != gapTooLarge || p.length != 15 {
			t.Errorf("%+v", p)
		}
		if w.Body.Len() != 0 {
			t.Error("bytes went to the client that had gone")
		}
	})
}

// TestAttemptsOfOneCall: a call whose attempt was taken over may win the next one.
func TestAttemptsOfOneCall(t *testing.T) {
	newExchange := func() (*exchange, *httptest.ResponseRecorder) {
		w := httptest.NewRecorder()
		return &exchange{Middleware: &Middleware{opts: Options{MaxResponse: 4}}, w: w, r: httptest.NewRequest("POST", "/", nil)}, w
	}
	t.Run("nothing whole can follow a part", func(t *testing.T) {
		e, w := newExchange()
		_, _ = e.begin(t.Context()).Write([]byte("first"))
		_, _ = e.begin(t.Context()).Write([]byte("second"))
		if w.Body.String() != "first" || e.leave() {
			t.Errorf("the client got %q", w.Body)
		}
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the connection goes on as if the response were whole")
			}
		}()
		e.answer(verdict{})
	})
	t.Run("a client that has gone stays gone", func(t *testing.T) {
		e, w := newExchange()
		e.begin(t.Context())
		if !e.leave() {
			t.Error("could not leave")
		}
		_, _ = e.begin(t.Context()).Write([]byte("second"))
		if w.Body.Len() != 0 {
			t.Errorf("the client got %q", w.Body)
		}
	})
}
