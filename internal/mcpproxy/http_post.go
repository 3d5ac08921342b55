package mcpproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/onceguard/onceguard/internal/mcpcall"
	"github.com/onceguard/onceguard/internal/mcpwire"
)

// headerSession names the session of revisions that have them.
const headerSession = "Mcp-Session-Id"

// What clients of HTTP are told.
const (
	textHost      = "onceguard: this proxy does not answer for that host; a name besides localhost needs --host"
	textOrigin    = "onceguard: pages of that origin may not call; --allow-origin lets one in"
	textForm      = "onceguard: this is no request to a server"
	textEncoding  = "onceguard: the body is encoded and cannot be looked at; send it as it is. Nothing was executed"
	textBody      = "onceguard: the body did not come whole; nothing was executed"
	textNoServer  = "onceguard: the server cannot be reached or broke off"
	textNoCaller  = "onceguard: it is not known who calls, so nothing was executed: "
	textRedirect  = "onceguard: the server redirects this call; correct --upstream. Nothing was executed"
	textTooLarge2 = "onceguard: a message that may call a guarded tool may have 16 MiB; nothing was executed"
)

// post reads a message and passes it on, unless it calls a guarded tool.
func (p *HTTP) post(w http.ResponseWriter, r *http.Request) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		refuseHTTP(w, http.StatusUnsupportedMediaType, nil, textEncoding)
		return
	}
	body, whole, err := p.body(w, r)
	if err != nil {
		refuseHTTP(w, http.StatusBadRequest, nil, textBody)
		return
	}
	if !whole {
		p.large(w, r, body)
		return
	}
	defer p.held.Add(-int64(len(body)))
	if p.held.Add(int64(len(body))) > maxHeld {
		w.Header().Set("Retry-After", "5")
		refuseHTTP(w, http.StatusServiceUnavailable, nil, textBusy)
		return
	}
	m := mcpwire.Parse(body)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.TransferEncoding = nil
	principal, denied := p.Principal(r)
	if denied != nil {
		principal = ""
	}
	switch {
	case m.Calls(methodCall):
		p.postCall(w, r, &m, principal, denied)
	case p.cancels(&m, principal, r.Header.Get(headerSession)):
		w.WriteHeader(http.StatusAccepted)
	default:
		p.postPass(w, r, &m, principal)
	}
}

// body reads up to the limit. It reports whether that was all.
func (p *HTTP) body(w http.ResponseWriter, r *http.Request) ([]byte, bool, error) {
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(bodyTime)) == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, p.limit+1))
	return b, int64(len(b)) <= p.limit, err
}

// large passes a body on that is too large to be read whole, unless it may be a
// call of a guarded tool.
func (p *HTTP) large(w http.ResponseWriter, r *http.Request, begin []byte) {
	var g mcpwire.Glance
	_, _ = g.Write(begin)
	if !passesLarge(p.Gate, &g) {
		refuseHTTP(w, http.StatusRequestEntityTooLarge, nil, textTooLarge2)
		return
	}
	r.Body = joined{io.MultiReader(bytes.NewReader(begin), r.Body), r.Body}
	p.pass.ServeHTTP(w, r)
}

// postPass passes a message on, and shows its answer to the gate where that is
// to be seen.
func (p *HTTP) postPass(w http.ResponseWriter, r *http.Request, m *mcpwire.Message, principal string) {
	if m.Kind == mcpwire.Request {
		p.acknowledge(r, principal, mcpcall.Handle{})
	}
	if m.Kind == mcpwire.Request && (m.Method == methodList || settlesTask(m.Method)) {
		r.Header.Del("Accept-Encoding") // the answer must be readable here
		r = r.WithContext(context.WithValue(r.Context(), watchedKey{}, watchedRequest{watched{m.Method, m.Params}, mcpwire.IDKey(m.ID), principal}))
	}
	p.pass.ServeHTTP(w, r)
}

// postCall takes a message that is, or may be, a call of a tool.
func (p *HTTP) postCall(w http.ResponseWriter, r *http.Request, m *mcpwire.Message, principal string, denied error) {
	if m.Kind == mcpwire.Batch {
		if callsGuarded(p.Gate, m) {
			answerJSON(w, http.StatusBadRequest, refusals(m, textBatch))
			return
		}
		p.postPass(w, r, m, principal)
		return
	}
	tool, refusal := readCall(m)
	if refusal != nil {
		answerJSON(w, http.StatusBadRequest, refusal)
		return
	}
	decision := p.Gate.Decide(tool)
	wrong := ""
	if decision != mcpcall.Pass {
		wrong = p.mirrors.mismatch(r.Header, m, tool)
	}
	switch {
	case decision == mcpcall.Pass:
		p.postPass(w, r, m, principal)
	case wrong != "":
		answerJSON(w, http.StatusBadRequest, mcpwire.Failure(m.ID, mcpwire.ErrorObject(codeHeaderMismatch, "onceguard: "+wrong+"; nothing was executed")))
	case m.Kind == mcpwire.Notification:
		p.Log.WarnContext(r.Context(), "a call of a guarded tool without an id was dropped; nothing was executed")
		w.WriteHeader(http.StatusAccepted)
	case denied != nil:
		refuseHTTP(w, http.StatusUnauthorized, m.ID, textNoCaller+denied.Error())
	case decision == mcpcall.Own:
		ctx, cancel := context.WithTimeout(r.Context(), storeTime)
		defer cancel()
		answerJSON(w, http.StatusOK, frame(m.ID, p.Gate.Helper(ctx, principal, m.Params), nil))
	default:
		p.guarded(w, r, m, principal)
	}
}

// refuseHTTP answers with an error of JSON-RPC.
func refuseHTTP(w http.ResponseWriter, status int, id []byte, text string) {
	answerJSON(w, status, mcpwire.Failure(id, mcpwire.ErrorObject(codeOurs, text)))
}

func answerJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// brief says how an exchange failed. It is stored, and net/http's own errors can
// quote what the server sent, and addresses with what is in them.
func brief(err error) string {
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "it took too long, or the caller left"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &op):
		return op.Op + " failed"
	}
	return "the answer could not be read"
}
