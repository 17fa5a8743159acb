package oidc

import (
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// An Account is a service account of a Kubernetes cluster, as the cluster's API
// server names it. It is no proof: the server's word stands for a token that it
// has seen itself.
type Account struct {
	Namespace, Name, UID string
	// Of the pod that the token is bound to, where the server says so.
	Pod, PodUID, Node, NodeUID string
}

const accountSubject = "system:serviceaccount:"

// claims are those that a token of the account would have.
func (a *Account) claims() map[string]any {
	part := func(name, uid string) map[string]any {
		out := map[string]any{}
		if name != "" {
			out["name"] = name
		}
		if uid != "" {
			out["uid"] = uid
		}
		return out
	}
	return map[string]any{
		"sub": accountSubject + a.Namespace + ":" + a.Name,
		"kubernetes.io": map[string]any{
			"namespace": a.Namespace, "serviceaccount": part(a.Name, a.UID), "pod": part(a.Pod, a.PodUID), "node": part(a.Node, a.NodeUID),
		},
	}
}

// Account returns the identity that a service account is by the rules whose
// location names the cluster. All claims of such a rule must be among those that
// the account's own token has; one that pins anything else is for nobody here.
// When rules name two identities the account is neither. about tells that there is a
// rule for the account, met or not: whoever does not meet it is not to be taken for
// somebody by less.
func (t *Trust) Account(cluster string, a Account) (id nhi.ID, about bool) {
	set := t.rules.Load()
	if set == nil || cluster == "" {
		return "", false
	}
	var claims map[string]any
	several := false
	for _, key := range [...]string{a.Namespace + ":" + a.Name, a.UID} {
		for _, r := range set.accounts[accountKey{cluster, key}] {
			about = true
			if claims == nil {
				claims = a.claims()
			}
			if !r.matches(claims) {
				continue
			}
			several = several || id != "" && id != r.Identity
			id = r.Identity
		}
	}
	if several {
		return "", true
	}
	return id, about
}

// An accountKey is a cluster, and "namespace:name" or the uid of a service
// account in it.
type accountKey struct{ cluster, account string }

// accountKeys are where a rule is found. None: it is about no service account of
// a known cluster.
func (r *Rule) accountKeys() (keys []accountKey) {
	if r.Location.Cluster == "" || !r.kubernetes() {
		return nil
	}
	add := func(account string) {
		if key := (accountKey{r.Location.Cluster, account}); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	const prefix = len(accountSubject)
	for _, sub := range r.Claims["sub"] {
		if len(sub) > prefix && sub[:prefix] == accountSubject {
			add(sub[prefix:])
		}
	}
	for _, namespace := range r.Claims["kubernetes.io.namespace"] {
		for _, name := range r.Claims["kubernetes.io.serviceaccount.name"] {
			add(namespace + ":" + name)
		}
	}
	for _, uid := range r.Claims["kubernetes.io.serviceaccount.uid"] {
		add(uid)
	}
	return keys
}
