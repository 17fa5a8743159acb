package kubernetes

import "strings"

// A User is who asks an API server, as the API server authenticated them.
type User struct {
	Name   string              // of a service account: system:serviceaccount:NAMESPACE:NAME
	UID    string              // of the object, where there is one
	Groups []string            // not looked at: a group is not an identity
	Extra  map[string][]string // what else the authenticator said
}

const accountPrefix = "system:serviceaccount:"

// ServiceAccount returns the namespace and name of a service account, if the
// user is one.
func (u *User) ServiceAccount() (namespace, name string, ok bool) {
	rest, ok := strings.CutPrefix(u.Name, accountPrefix)
	if !ok {
		return "", "", false
	}
	namespace, name, ok = strings.Cut(rest, ":")
	if !ok || !plain(namespace) || !plain(name) {
		return "", "", false
	}
	return namespace, name, true
}

// Said returns what the authenticator said under a name, if it said one thing.
func (u *User) Said(name string) string {
	if values := u.Extra[name]; len(values) == 1 {
		return values[0]
	}
	return ""
}

// shown is the name of a user that belongs on record: those of the cluster's
// own. A person's name is nobody's business here.
func (u *User) shown() string {
	if !strings.HasPrefix(u.Name, "system:") || len(u.Name) > maxHeader {
		return ""
	}
	return u.Name
}

// plain reports whether s is a name of Kubernetes as DNS has them (RFC 1123).
func plain(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return s != "" && len(s) <= 253
}
