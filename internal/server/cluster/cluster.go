// Package cluster joins the webhooks of Kubernetes to the rest of the server: it
// puts them on the mux and finds out which identity a user of a cluster is.
//
// A service account is an identity by a trust rule whose location names the
// cluster and whose claims the account meets; one that does not meet the rules about
// it is nobody, unless it is quarantined or retired. Where no rule is about it, the
// inventory may know it by what the cluster calls it: provider kubernetes, the
// cluster as account, and the object's uid as the native id; for users without an
// object the name. Whom neither knows is nobody. Only a service account is one:
// a user whose name or uid is that of a service account, as whoever signs
// certificates for users can make them, is nobody either.
package cluster

import (
	"net/http"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/enforce/kubernetes"
	"github.com/muster-id/muster/internal/nhi"
)

// Provider is that of identities which the inventory knows by a cluster's own
// names.
const Provider = "kubernetes"

// Handle puts the webhooks on mux.
func Handle(mux *http.ServeMux, c kubernetes.Config) {
	h := kubernetes.New(c)
	for _, path := range []string{kubernetes.AuthorizePath, kubernetes.StrictPath, kubernetes.AdmitPath} {
		mux.Handle(path, h)
	}
}

// Subjects implements kubernetes.Subjects.
type Subjects struct {
	Trust *oidc.Trust
	// Identity looks into the inventory. It reads memory only.
	Identity func(nhi.ID) (nhi.Identity, bool)
}

// What an API server says of a service account's token (Kubernetes, "Managing
// Service Accounts", additional metadata in pod bound tokens).
const (
	saidPod     = "authentication.kubernetes.io/pod-name"
	saidPodUID  = "authentication.kubernetes.io/pod-uid"
	saidNode    = "authentication.kubernetes.io/node-name"
	saidNodeUID = "authentication.kubernetes.io/node-uid"
)

// Subject implements kubernetes.Subjects.
func (s Subjects) Subject(cluster string, user *kubernetes.User) nhi.ID {
	namespace, name, account := user.ServiceAccount()
	ruled := false
	if account {
		var id nhi.ID
		id, ruled = s.Trust.Account(cluster, oidc.Account{
			Namespace: namespace, Name: name, UID: user.UID,
			Pod: user.Said(saidPod), PodUID: user.Said(saidPodUID), Node: user.Said(saidNode), NodeUID: user.Said(saidNodeUID),
		})
		if id != "" {
			return id
		}
	}
	native := user.UID
	if native == "" && !account && uuid.Validate(user.Name) != nil {
		native = user.Name
	}
	if native == "" {
		return ""
	}
	id := nhi.IdentityID(Provider, cluster, native)
	switch found, known := s.Identity(id); {
	case !known || found.Kind == nhi.KindServiceAccount && !account:
		return ""
	case ruled && (found.Alias != "" || found.State != nhi.Quarantined && found.State != nhi.Retired):
		return "" // it does not meet what a rule pins; what is dead stays dead all the same
	}
	return id
}
