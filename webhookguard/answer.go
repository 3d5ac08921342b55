package webhookguard

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/onceguard/onceguard"
)

// retryAfter is told to senders that look at it; most have a plan of their own.
const retryAfter = 30 * time.Second

// answer turns the guard's verdict into a status. 2xx is for what is handled or
// durably stored; everything else makes the sender try again, and shows in its
// list of failed deliveries.
func (r *Receiver) answer(w http.ResponseWriter, req *http.Request, e Event, err error) {
	var ge *onceguard.Error
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
	case !errors.As(err, &ge):
		r.later(w, req, e, err) // of a handler within DoTx
	case ge.Code == onceguard.ErrNoResult && ge.State == onceguard.Succeeded,
		ge.Code == onceguard.ErrUndecodable && ge.State == onceguard.Succeeded,
		ge.Code == onceguard.ErrCorrupt && ge.State == onceguard.Succeeded:
		w.WriteHeader(http.StatusOK) // handled; nobody needs the result
	case ge.Code == onceguard.ErrMismatch:
		// Another body under a known id: a bug of the sender, or somebody who has
		// the secret. The event of this id is not touched.
		r.refuse(w, req, e, http.StatusUnprocessableEntity, err)
	case ge.Code == onceguard.ErrRefused, ge.Code == onceguard.ErrNoResult:
		r.refuse(w, req, e, http.StatusUnprocessableEntity, err)
	case ge.Code == onceguard.ErrExpired:
		// It may have been handled before its receipt was dropped. Not 2xx: an
		// event that was never handled must not look as if it were.
		r.refuse(w, req, e, http.StatusUnprocessableEntity, err)
	case ge.Code == onceguard.ErrInvalid:
		r.refuse(w, req, e, http.StatusInternalServerError, err)
	case ge.Code == onceguard.ErrUncertain && r.o.AckUncertain && ge.State == onceguard.Uncertain:
		r.o.Logger.WarnContext(req.Context(), "webhookguard: uncertain event acknowledged; it is kept for a person", "event", e.ID, "error", err)
		w.WriteHeader(http.StatusAccepted)
	default:
		// In progress, uncertain, unsettled, not run, frozen: the sender tries again.
		r.later(w, req, e, err)
	}
}

// later answers 503: every sender takes it for "try again".
func (r *Receiver) later(w http.ResponseWriter, req *http.Request, e Event, err error) {
	r.o.Logger.InfoContext(req.Context(), "webhookguard: delivery put off", "provider", r.o.Source.Provider(), "endpoint", r.o.Endpoint, "event", e.ID, "error", err)
	after := retryAfter
	var ge *onceguard.Error
	if errors.As(err, &ge) && ge.RetryAfter > 0 {
		after = min(after, max(ge.RetryAfter, time.Second))
	}
	w.Header().Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	end(w, http.StatusServiceUnavailable)
}
