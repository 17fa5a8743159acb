// Package kubernetes answers the webhooks of a Kubernetes API server: whether a
// request is authorized (SubjectAccessReview, authorization.k8s.io/v1) and
// whether an object is admitted (AdmissionReview, admission.k8s.io/v1).
//
// The API server is an enrolled point whose dialect is kubernetes. Its name is
// the name of the cluster. It sends its key as "Authorization: Bearer
// muster_pnt_…", which is the token of its kubeconfig, and speaks only from its
// trusted addresses.
//
// A review is looked up in the same routes as every request. The host is the
// name of the cluster, the method the verb in capital letters (GET, LIST, WATCH,
// CREATE, UPDATE, PATCH, DELETE, DELETECOLLECTION, ...; of admission CREATE,
// UPDATE, DELETE and CONNECT), and the path one of
//
//	/resources/NAMESPACE/GROUP/RESOURCE/NAME[/SUBRESOURCE]
//	/paths/PATH                      what is no resource, such as /healthz
//
// with "-" for no namespace and no name, and "core" for the group without a name.
// A question about all namespaces, to LIST, WATCH or DELETECOLLECTION, has "-" for
// the namespace too. A variable {namespace} does not stand for that: it is for one.
//
// The version of the interface does not matter, and a selector of fields or
// labels is passed over: the question is about all that could be selected.
//
// Who asks is what the API server says, so it is asserted: nothing was proven to
// us, the assurance is 0, and no baseline learns from it. [Subjects] knows which
// identity a user of the cluster is.
//
// # Authorization
//
// A yes of the first authorizer that says one is the cluster's, so Muster says
// it seldom:
//
//	denied      a policy forbids it, or the identity is quarantined or revoked
//	allowed     a permit that somebody wrote, not the built-in one, lets it pass,
//	            and the point enforces for everybody
//	no opinion  all else; the next authorizer, such as RBAC, decides
//
// No route, a user whom nobody knows, and a question about a wildcard or about
// no object in particular are never allowed. Nor are they denied, unless the
// cluster asks at [StrictPath]. A point that observes never allows, and denies
// only what is revoked, suspended or quarantined.
//
// # Admission
//
// Admission can only refuse, so it fails closed: what is not allowed, has no
// route or comes from nobody known is refused, by a point that enforces. One that
// observes admits it with a warning. Of the object nothing is believed; its
// digest is what an approval is bound to. A dry run leaves no trace but its
// record, whose method is kubernetes-dry-run: nobody is asked to approve it.
//
// There is no error: what cannot be read and what breaks is answered as a
// refusal. Reasons name decisions and policies by their ids, and nothing else.
package kubernetes

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/nhi"
)

// Where the handler serves.
const (
	AuthorizePath = "/enforce/kubernetes/authorize"
	StrictPath    = "/enforce/kubernetes/authorize/strict" // what no route or no identity is known for is denied
	AdmitPath     = "/enforce/kubernetes/admit"
)

const (
	maxBody   = 3 << 20 // bytes of a review: what etcd takes, and both states of the object
	maxDepth  = 128
	maxHeader = 256
)

// Subjects knows the users of clusters. It reads memory only.
type Subjects interface {
	// Subject returns the identity that a user of a cluster is, empty when
	// nobody knows.
	Subject(cluster string, user *User) nhi.ID
}

// Config is what a Handler needs. Log may be nil.
type Config struct {
	Points   *enforce.Points
	Routes   *enforce.Routes
	Subjects Subjects
	Decider  enforce.Decider
	// BasePermit is the id of the permit that stands for "no guard forbids it".
	// It alone never authorizes.
	BasePermit string
	Log        *slog.Logger
}

// A Handler serves the paths above. It is safe for concurrent use.
type Handler struct{ c Config }

// New returns a Handler.
func New(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{c}
}

// Why a review cannot be answered on its merits. The texts go to the cluster.
var (
	errMethod  = errors.New("ask with POST")
	errMedia   = errors.New("send application/json")
	errLarge   = errors.New("the review is larger than 3 MiB")
	errBody    = errors.New("the review could not be read")
	errJSON    = errors.New("the review is not a JSON object of the right shape, repeats a name, or is nested too deeply")
	errKind    = errors.New("send a SubjectAccessReview of authorization.k8s.io/v1")
	errReview  = errors.New("send an AdmissionReview of admission.k8s.io/v1 with a request and its uid")
	errDialect = errors.New("the dialect of the point is not kubernetes; change it with muster point set NAME --dialect kubernetes")
)

// ServeHTTP answers one review.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	header, ok := enforce.Single(r.Header, "Authorization", maxHeader)
	if !ok {
		header = ""
	}
	point, err := h.c.Points.Authenticate(header, enforce.Remote(r))
	if err != nil {
		h.c.Log.Warn("Kubernetes refused", "error", err)
		w.Header().Set("WWW-Authenticate", `Bearer realm="muster point"`)
		write(w, http.StatusUnauthorized, map[string]string{"error": "an enrolled point's key is required, as the token of the kubeconfig"})
		return
	}
	switch r.URL.Path {
	case AuthorizePath:
		h.authorize(w, r, &point, false)
	case StrictPath:
		h.authorize(w, r, &point, true)
	case AdmitPath:
		h.admit(w, r, &point)
	default:
		write(w, http.StatusNotFound, map[string]string{"error": "there is nothing here"})
	}
}

// read reads a review into v.
func read(r *http.Request, point *nhi.Point, v any) error {
	if point.Dialect != nhi.DialectKubernetes {
		return errDialect
	}
	if r.Method != http.MethodPost {
		return errMethod
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return errMedia
	}
	if r.ContentLength > maxBody {
		return errLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return errLarge
	}
	if err != nil {
		return errBody
	}
	if enforce.TooDeep(body, maxDepth) || json.Unmarshal(body, v) != nil { // its error would quote the body
		return errJSON
	}
	return nil
}

func write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, nil // texts that are no UTF-8; the cluster takes it as a failure
	}
	w.WriteHeader(status)
	// The API server may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
}
