package proxy

import (
	"io"
	"net/http"
	"time"
)

// bodyTime is how long a guarded request's body may take to come. Nothing is
// claimed before it is there, but its connection is held.
const bodyTime = time.Minute

// hurried bounds how long r's body may take. The bound goes when the body is
// there: it would cut the wait for the upstream otherwise.
func hurried(w http.ResponseWriter, r *http.Request, limit time.Duration) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(limit)) != nil {
		return r // no connection underneath, as in tests
	}
	c := *r
	c.Body = &hurriedBody{r.Body, rc}
	return &c
}

type hurriedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

// Read implements io.Reader.
func (b *hurriedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
