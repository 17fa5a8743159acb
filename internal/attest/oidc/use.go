package oidc

import (
	"net/url"
	"slices"
)

// Where the tokens of a rule are accepted.
const (
	UseExchange = "exchange" // at /oauth2/token, for one of Muster's own
	UsePoints   = "points"   // at enforcement points, as they are
)

const maxOrigins = 64

// bare reports whether the rule says nothing about tokens.
func (r *Rule) bare() bool {
	return r.Issuer == "" && r.JWKSURI == "" && r.Audience == "" && len(r.Claims) == 0 && len(r.Use) == 0 && len(r.Origins) == 0 &&
		len(r.Audiences) == 0 && len(r.Scopes) == 0 && !r.Bearer && r.TTL == 0 && len(r.Purposes) == 0
}

func (r *Rule) exchanged() bool { return len(r.Use) == 0 || slices.Contains(r.Use, UseExchange) }
func (r *Rule) atPoints() bool  { return slices.Contains(r.Use, UsePoints) }

// checkUse says which field is wrong and why; two empty texts when none is.
func (r *Rule) checkUse() (field, why string) {
	for _, use := range r.Use {
		if use != UseExchange && use != UsePoints {
			return "use", "use is a list of exchange and points"
		}
	}
	switch {
	case len(r.Origins) > maxOrigins:
		return "origins", "more than 64 origins"
	case len(r.Origins) > 0 && !r.atPoints():
		return "origins", "origins say where tokens are good at points, so use must name points"
	case slices.ContainsFunc(r.Origins, func(o string) bool { return !isOrigin(o) }):
		return "origins", "an origin is like https://payments.example, without a path"
	case r.atPoints() && len(r.Origins) == 0 && !isOrigin(r.Audience):
		return "audience", "at points a token must be for the service that is asked: the audience is neither the origin of a service nor Muster's own URL, so list under origins what it stands for"
	}
	return "", ""
}

// isOrigin reports whether s is scheme, host and perhaps a port.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Scheme+"://"+u.Host == s
}

// opens reports whether a token by this rule is meant for a request to origin,
// at points of the installation whose URL is home. It is what keeps a service
// that was shown a token from using it elsewhere.
func (r *Rule) opens(home, origin string) bool {
	switch {
	case !r.atPoints():
		return false
	case len(r.Origins) > 0:
		return slices.Contains(r.Origins, origin)
	default:
		return r.Audience == home || origin != "" && r.Audience == origin
	}
}
