package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

// statuses is the one table from kinds of error to HTTP.
var statuses = []struct {
	kind   error
	status int
}{
	{nhi.ErrNotFound, http.StatusNotFound},
	{nhi.ErrConflict, http.StatusConflict},
	{nhi.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{nhi.ErrInvalid, http.StatusUnprocessableEntity},
	{nhi.ErrDenied, http.StatusForbidden},
	{nhi.ErrBusy, http.StatusTooManyRequests},
	{nhi.ErrUnavailable, http.StatusServiceUnavailable},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
}

// problem turns an error into problem details (RFC 9457). denied is the
// status of nhi.ErrDenied here. What is not the caller's fault is logged and
// answered without its inside.
func problem(err error, denied int) *huma.ErrorModel {
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
			return &huma.ErrorModel{Status: status, Title: http.StatusText(status), Detail: redact(err.Error())}
		}
	}
	if !errors.Is(err, context.Canceled) {
		slog.Error("a request could not be answered", "error", err)
	}
	return &huma.ErrorModel{Status: http.StatusInternalServerError, Title: "Internal Server Error", Detail: "the server could not do that; its log says why"}
}

// scanner knows what secrets look like; it is made at the first error.
var scanner = sync.OnceValues(func() (*leak.Scanner, error) { return leak.NewScanner() })

// redact removes secrets from what is answered. An error often names what it
// is about, and that is what the caller sent: a key in the wrong field must
// not come back, or end up in somebody's log.
func redact(text string) string {
	s, err := scanner()
	if err != nil {
		return "the request was refused"
	}
	return s.RedactString(text)
}

// fail is problem for handlers of the framework.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return problem(err, http.StatusForbidden)
}

func writeProblem(w http.ResponseWriter, p *huma.ErrorModel) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may be gone
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}
