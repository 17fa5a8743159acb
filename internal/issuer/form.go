package issuer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
)

const maxForm = 64 << 10

// An oauthError is an error response (RFC 6749, section 5.2). Description is
// for developers and goes to the client.
type oauthError struct {
	Status      int    `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	cause       error
}

func (e *oauthError) Error() string {
	if e.cause != nil {
		return e.Code + ": " + e.cause.Error()
	}
	return e.Code + ": " + e.Description
}

func (e *oauthError) Unwrap() error { return e.cause }

// refuse returns an error with status 400.
func refuse(code, format string, args ...any) error {
	return &oauthError{Status: http.StatusBadRequest, Code: code, Description: fmt.Sprintf(format, args...)}
}

// asOAuth finds the response for an error. What was not meant for the client
// is not told.
func asOAuth(err error) *oauthError {
	var known *oauthError
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, nhi.ErrBusy):
		return &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable", Description: "try again later"}
	default:
		return &oauthError{Status: http.StatusInternalServerError, Code: "server_error"}
	}
}

// unproven reports whether an error says that the sender did not prove to be
// who a token speaks of, or whose credential was presented. What policy refuses
// is a decision, and on record as one.
func unproven(err error) bool {
	e := asOAuth(err)
	return e.Status == http.StatusUnauthorized || e.Code == "invalid_dpop_proof" || errors.Is(err, nhi.ErrDenied)
}

func writeError(w http.ResponseWriter, e *oauthError) {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `DPoP algs="ES256", Bearer realm="muster"`)
	}
	writeJSON(w, e.Status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
}

// A form holds the parameters of a request, each given once.
type form map[string]string

// readForm reads a form body (RFC 6749, appendix B). Parameters in the query
// are not read, a repeated parameter is refused (section 3.2), an empty one
// counts as absent (section 3.1).
func readForm(r *http.Request) (form, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, refuse("invalid_request", "send application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxForm))
	if err != nil {
		return nil, refuse("invalid_request", "the body could not be read, or has over %d bytes", maxForm)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, refuse("invalid_request", "the body is not a well-formed form")
	}
	f := make(form, len(values))
	for name, list := range values {
		if len(list) > 1 {
			return nil, refuse("invalid_request", "a parameter is repeated")
		}
		if list[0] != "" {
			f[name] = list[0]
		}
	}
	return f, nil
}

// require returns a parameter that must be there.
func (f form) require(name string) (string, error) {
	if f[name] == "" {
		return "", refuse("invalid_request", "%s is missing", name)
	}
	return f[name], nil
}

// oneHeader returns the single value of a header, empty when absent.
func oneHeader(r *http.Request, name string) (string, error) {
	values := r.Header.Values(name)
	if len(values) > 1 {
		return "", refuse("invalid_request", "%s is repeated", name)
	}
	if len(values) == 0 {
		return "", nil
	}
	if strings.ContainsAny(values[0], "\r\n\x00") {
		return "", refuse("invalid_request", "%s is malformed", name)
	}
	return values[0], nil
}
