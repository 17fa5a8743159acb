// Package forwardauth answers proxies that ask about each request before they
// pass it on: nginx auth_request, Caddy forward_auth, Traefik ForwardAuth,
// HAProxy's auth-request and Envoy's HTTP ext_authz.
//
// The proxy is an enrolled point. It sends its key in Muster-Point-Authorization
// ("Bearer muster_pnt_…"), the caller's own headers untouched, and the original
// request in the headers of its dialect:
//
//	nginx                  X-Original-Method, X-Forwarded-Proto,
//	                       X-Original-URI and X-Forwarded-Host, or X-Original-URL,
//	                       X-Forwarded-For or X-Real-IP; X-Original-Host, if it is
//	                       there, must name the same host
//	caddy traefik haproxy  X-Forwarded-Method, -Proto, -Host, -Uri, -For
//	envoy                  the request itself below /enforce/forward-auth,
//	                       X-Forwarded-Proto, X-Forwarded-For
//
// Each must occur exactly once. Of a list in X-Forwarded-For the last entry
// counts, the one that the trusted point appended; the rest is hearsay. A
// header by which a client could ask the application for another method or
// path than the one judged here refuses the request.
//
// The caller proves itself with Authorization (a Muster API key or registered
// key as Bearer, a Muster token as DPoP or, by exception, Bearer), with the
// proof in DPoP, and with Muster-Attestation: a Muster token of the workload
// that holds the key. When that token is bound to a key, the proof in DPoP is
// for it (its ath is the hash of the attestation token).
//
// A point that is let (Config.Tells) may also tell which certificate its caller
// showed in the TLS handshake, which an X.509-SVID or a token that is bound to a
// certificate takes. It tells so in the header that carries its own key, so that no
// client can: "Bearer muster_pnt_…;cert=CERTIFICATE", where the certificate is
// PEM with percent-encoding (nginx's $ssl_client_escaped_cert) or DER in Base64
// (Caddy, HAProxy), and empty when the client showed none. Traefik cannot write its
// own header so; of a point of that dialect X-Forwarded-Tls-Client-Cert is read,
// which Traefik sets itself or takes away. Of an envoy point that Config.Forwards names,
// X-Forwarded-Client-Cert is read instead ([enforce.Forwarded]), for the same reason. No
// other header names a certificate.
//
// The reply is one of
//
//	200  allowed. Muster-Identity names the caller ("none" when it proved
//	     nothing to us), Muster-Decision the decision: its id, or where the point is
//	     to assert, a signed assertion of it ([enforce.Asserter]). Where only a
//	     break-glass code let it pass, Muster-Break-Glass is the code's serial.
//	401  no enrolled point; or the caller proved nothing; or it must step up,
//	     which WWW-Authenticate says in the words of RFC 9470. 401 and 403 are
//	     all that nginx can carry to the client.
//	403  denied, with the reasons' ids.
//
// There is no 500: an error inside is a denial. Both Muster headers are always
// set on 200, so that a proxy that copies them overwrites what a client sent.
package forwardauth

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Path is where the handler is served; with the envoy dialect, below it too.
const Path = "/enforce/forward-auth"

// Config is what a Handler needs. Log may be nil.
type Config struct {
	Points   *enforce.Points
	Routes   *enforce.Routes
	Verifier enforce.Verifier
	Decider  enforce.Decider
	Asserter *enforce.Asserter // nil: a point that is to assert refuses
	// Tells reports whether a point may tell which certificate its caller showed.
	// Nil: none may.
	Tells func(*nhi.Point) bool
	// Forwards reports whether an envoy point tells it in X-Forwarded-Client-Cert,
	// and nowhere else. Nil: none does.
	Forwards func(*nhi.Point) bool
	Log      *slog.Logger
}

// A Handler answers forward-auth requests. It is safe for concurrent use.
type Handler struct {
	c     Config
	judge enforce.Judge
}

// New returns a Handler. Mount it at Path and, for envoy, at Path + "/".
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{c: c, judge: enforce.Judge{Routes: c.Routes, Verifier: c.Verifier, Decider: c.Decider}}
}

// ServeHTTP answers one request. The method and body of the sub-request do not
// matter; a key in the query is never read.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			// The value may hold anything, so only its kind is logged.
			h.c.Log.Error("panic while deciding: denied", "panic", kindOf(v))
			write(w, &enforce.Broken)
		}
	}()
	header, ok := enforce.Single(r.Header, "Muster-Point-Authorization", maxSmall+maxCertificate)
	if !ok {
		header = ""
	}
	key, shown, _ := strings.Cut(header, ";cert=")
	point, err := h.c.Points.Authenticate(key, enforce.Remote(r))
	if err != nil {
		h.c.Log.Warn("forward-auth refused", "error", err)
		write(w, &enforce.Unenrolled)
		return
	}
	asking := enforce.Asking{Point: &point, Header: r.Header}
	asking.Original, asking.Err = read(r, point.Dialect)
	if h.c.Forwards != nil && point.Dialect == nhi.DialectEnvoy && h.c.Forwards(&point) {
		asking.Forwarded(r.Header)
	} else if h.c.Tells != nil && h.c.Tells(&point) {
		tell(&asking, r.Header, shown)
	}
	verdict := h.judge.Judge(r.Context(), &asking)
	decision, err := h.c.Asserter.Tell(&point, &asking.Original, &verdict, enforce.Body{})
	if err != nil {
		h.c.Log.Error("a decision could not be asserted: denied", "point", point.Name, "error", err)
		verdict = enforce.Unasserted(&verdict)
	}
	w.Header().Set("Muster-Decision", decision)
	write(w, &verdict)
}

// tell takes up what a point says about its caller's certificate. One that cannot
// be read makes the request unreadable: without it, the caller might be somebody
// else.
func tell(asking *enforce.Asking, header http.Header, shown string) {
	if asking.Point.Dialect == nhi.DialectTraefik {
		var ok bool
		if shown, ok = enforce.Single(header, "X-Forwarded-Tls-Client-Cert", maxCertificate); !ok {
			asking.Err = errHeader
			return
		}
	}
	var err error
	if asking.Certificates, err = enforce.ParseCertificates(shown); err != nil && asking.Err == nil {
		asking.Err = err
	}
}

// write says what the point must do.
func write(w http.ResponseWriter, v *enforce.Verdict) {
	if v.Outcome == nhi.Allow {
		w.Header().Set("Muster-Identity", v.Caller())
		if v.Glass != "" {
			w.Header().Set("Muster-Break-Glass", v.Glass)
		}
		w.WriteHeader(http.StatusOK)
		return
	}
	v.Refuse(w)
}

func kindOf(v any) string {
	if _, ok := v.(error); ok {
		return "error"
	}
	return "value"
}
