package oidc

import (
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// maxPlace is the longest part of a location in bytes.
const maxPlace = 256

func checkLocation(l *nhi.Location) string {
	for _, part := range [...]string{l.Provider, l.Account, l.Region, l.VPC, l.Cluster, l.Namespace, l.Node} {
		if !fits(part) {
			return "has a part that is too long or not printable"
		}
	}
	return ""
}

func fits(s string) bool {
	return len(s) <= maxPlace && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\ufffd' })
}

// attestation says what a token proves about its workload. A token without a
// time of issue is of no age that anybody knows, so it attests nothing.
//
// The selectors are the claims that the rule pins: what is in the token and
// nobody asked for is not worth passing on.
func (r *Rule) attestation(issued time.Time, claims map[string]any) *nhi.Attestation {
	if issued.IsZero() {
		return nil
	}
	a := &nhi.Attestation{Method: "oidc", At: issued, Level: nhi.EvidencePlatform, Location: r.Location}
	for path := range r.Claims {
		value, _ := lookup(claims, path)
		if s, ok := plain(value); ok {
			a.Selectors = append(a.Selectors, path+":"+s)
		}
	}
	slices.Sort(a.Selectors)
	a.Selectors = bounded(a.Selectors)
	r.locate(&a.Location, claims)
	return a
}

// maxSelectors bounds the selectors of a token together, in bytes: they travel
// with every request. What does not fit is not proven.
const maxSelectors = 512

func bounded(selectors []string) []string {
	total := 0
	return slices.DeleteFunc(selectors, func(s string) bool {
		if total+len(s) > maxSelectors {
			return true
		}
		total += len(s)
		return false
	})
}

// google is the issuer of Google Cloud's instance identity tokens.
const google = "https://accounts.google.com"

// kubernetes reports whether the rule is about service accounts of a cluster.
// Elsewhere a claim of that name may be anybody's word.
func (r *Rule) kubernetes() bool {
	for path := range r.Claims {
		if strings.HasPrefix(path, "kubernetes.io") {
			return true
		}
	}
	return slices.ContainsFunc(r.Claims["sub"], func(s string) bool { return strings.HasPrefix(s, "system:serviceaccount:") })
}

// locate fills in where a token says that its workload runs, as far as its rule
// does not. Kubernetes names the namespace, and from 1.32 on the node
// ("Managing Service Accounts", bound tokens); Google Cloud names project, zone
// and instance ("Verify VM identity", token payload of the full format). A zone
// is its region and a letter.
func (r *Rule) locate(l *nhi.Location, claims map[string]any) {
	fill := func(to *string, s string) {
		if *to == "" && fits(s) {
			*to = s
		}
	}
	claim := func(path string) string {
		value, _ := lookup(claims, path)
		s, _ := plain(value)
		return s
	}
	if r.kubernetes() {
		fill(&l.Namespace, claim("kubernetes.io.namespace"))
		fill(&l.Node, claim("kubernetes.io.node.name"))
	}
	if r.Issuer == google && claim("google.compute_engine.instance_id") != "" {
		fill(&l.Provider, "gcp")
		fill(&l.Account, claim("google.compute_engine.project_id"))
		fill(&l.Node, claim("google.compute_engine.instance_id"))
		zone := claim("google.compute_engine.zone")
		fill(&l.Region, zone[:max(0, strings.LastIndexByte(zone, '-'))])
	}
}
