package frame

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/internal/nhi"
)

// statuses is the one table from kinds of error to HTTP.
var statuses = []struct {
	kind   error
	status int
}{
	{errStale, http.StatusPreconditionFailed},
	{nhi.ErrNotFound, http.StatusNotFound},
	{nhi.ErrConflict, http.StatusConflict},
	{nhi.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{nhi.ErrInvalid, http.StatusUnprocessableEntity},
	{nhi.ErrDenied, http.StatusForbidden},
	{nhi.ErrBusy, http.StatusTooManyRequests},
	{nhi.ErrUnavailable, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
}

// Problem turns an error into problem details (RFC 9457). denied is the
// status of nhi.ErrDenied here. What is not the caller's fault is logged and
// answered without its inside.
func Problem(err error, denied int) *huma.ErrorModel {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &huma.ErrorModel{Status: http.StatusRequestEntityTooLarge, Title: http.StatusText(http.StatusRequestEntityTooLarge), Detail: err.Error()}
	}
	for _, s := range statuses {
		if errors.Is(err, s.kind) {
			status := s.status
			if s.kind == nhi.ErrDenied {
				status = denied
			}
			return &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: err.Error()}
		}
	}
	if !errors.Is(err, context.Canceled) {
		slog.Error("a request could not be answered", "error", err)
	}
	return &huma.ErrorModel{Status: http.StatusInternalServerError, Title: "Internal Server Error", Detail: "the server could not do that; its log says why"}
}

// errStale means that somebody else changed what a caller wanted to change.
var errStale = errors.New("it was changed since you read it; read it again and decide anew")

// Fail is problem for handlers of the framework.
func Fail(err error) error {
	if err == nil {
		return nil
	}
	return Problem(err, http.StatusForbidden)
}

// Refuse answers with problem details. They hold no secret: an error often
// names what it is about, and that is what the caller sent.
func (s *Frame) Refuse(w http.ResponseWriter, p *huma.ErrorModel) {
	s.finish(p)
	if p.Status == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may be gone
}

// finish makes a problem fit to be shown: it says where it is explained, and
// keeps what the caller sent out of it. A token in the wrong field must not
// come back, or end up in somebody's log.
func (s *Frame) finish(p *huma.ErrorModel) {
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	p.Type = "/docs/reference/api#status-" + strconv.Itoa(p.Status)
	p.Detail = s.Clean(p.Detail)
	for _, d := range p.Errors {
		d.Value, d.Message, d.Location = nil, s.Clean(d.Message), s.Clean(d.Location)
	}
}

// WithoutValues is finish for what the framework answers.
func (s *Frame) WithoutValues(_ huma.Context, _ string, v any) (any, error) {
	if e, ok := v.(*huma.ErrorModel); ok {
		s.finish(e)
	}
	return v, nil
}

// unrouted answers a request that no route takes: 404, or 405 with the methods
// that there are.
func (s *Frame) unrouted(w http.ResponseWriter, r *http.Request, mux http.Handler) {
	rec := &recorder{head: http.Header{}, status: http.StatusOK}
	mux.ServeHTTP(rec, r)
	if allow := rec.head.Get("Allow"); allow != "" {
		w.Header().Set("Allow", allow)
		s.Refuse(w, &huma.ErrorModel{Status: http.StatusMethodNotAllowed, Detail: "this address takes " + allow})
		return
	}
	s.Refuse(w, &huma.ErrorModel{Status: http.StatusNotFound, Detail: "there is nothing at this address; /openapi.json lists what there is"})
}

func WriteJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}
