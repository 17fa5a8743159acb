package activity

import (
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Providers that events can be attributed to.
const (
	aws  = "aws"
	oidc = "oidc"
)

// maxLinks bounds how many temporary credentials are remembered, and
// maxIDs how many computed ids are. Both are caches: forgetting costs time or
// a shorter chain, never an event.
const (
	maxLinks = 65536
	maxIDs   = 65536
)

// An Attributor says which identity and which credential an event belongs to.
// It remembers the ids it computed and the temporary credentials it saw being
// minted. Use one for each consumer of events; it is not for concurrent use.
type Attributor struct {
	ids   map[nativeKey]nhi.ID
	creds map[nativeKey]nhi.CredentialID
	links map[linkKey]Link
	older map[linkKey]Link // the generation before, dropped when links is full
}

type nativeKey struct{ provider, account, native string }

type linkKey struct{ account, key string }

// NewAttributor returns an Attributor that remembers nothing yet.
func NewAttributor() *Attributor {
	return &Attributor{
		ids:   map[nativeKey]nhi.ID{},
		creds: map[nativeKey]nhi.CredentialID{},
		links: map[linkKey]Link{},
		older: map[linkKey]Link{},
	}
}

// Learn remembers that a temporary credential was minted. Links of one log
// never explain events of another account's log.
func (a *Attributor) Learn(l Link) {
	if l.KeyID == "" {
		return
	}
	if len(a.links) >= maxLinks/2 {
		a.older, a.links = a.links, map[linkKey]Link{}
	}
	a.links[linkKey{l.Account, l.KeyID}] = l
}

// Attribute sets Identity and Credential of ev, and completes its principal
// from the credential's minting when the record itself does not tell.
//
// The identity is the non-human identity itself: the role, never the session;
// the OIDC subject before the role it is about to assume. Ids follow
// [nhi.IdentityID] over the provider's immutable id, so they meet those of the
// inventory. A principal that only has a name is known by that name until the
// inventory knows better. Both ids stay empty when the record names nobody.
func (a *Attributor) Attribute(ev *nhi.Event) {
	a.follow(ev)
	key, ok := keyOf(ev)
	if ok {
		id, known := a.ids[key]
		if !known {
			id = nhi.IdentityID(key.provider, key.account, key.native)
			if len(a.ids) >= maxIDs {
				clear(a.ids)
			}
			a.ids[key] = id
		}
		ev.Identity = id
	}
	p := &ev.Principal
	if p.KeyID == "" || p.Temporary {
		return
	}
	// A static key belongs to the account of its owner.
	ck := nativeKey{ev.Provider, accountOf(ev), p.KeyID}
	id, known := a.creds[ck]
	if !known {
		id = nhi.NewCredentialID(ck.provider, ck.account, ck.native)
		if len(a.creds) >= maxIDs {
			clear(a.creds)
		}
		a.creds[ck] = id
	}
	ev.Credential = id
}

// follow joins a temporary credential to the call that minted it.
func (a *Attributor) follow(ev *nhi.Event) {
	p := &ev.Principal
	if !p.Temporary || p.KeyID == "" || len(a.links)+len(a.older) == 0 {
		return
	}
	l, ok := a.links[linkKey{ev.Account, p.KeyID}]
	if !ok {
		if l, ok = a.older[linkKey{ev.Account, p.KeyID}]; !ok {
			return
		}
	}
	if !l.Expires.IsZero() && ev.Time.After(l.Expires.Add(time.Minute)) {
		return
	}
	if p.Native == "" {
		chain := p.Chain
		session, keyID := p.Session, p.KeyID
		*p = l.Target
		p.Chain, p.KeyID, p.Temporary = chain, keyID, true
		if session != "" {
			p.Session = session
		}
	}
	if caller := nameOf(&l.Caller); caller != "" && len(p.Chain) < maxChain {
		p.Chain = append([]string{caller}, p.Chain...)
	}
}

const maxChain = 8

// nameOf is what a chain calls a principal.
func nameOf(p *nhi.Principal) string {
	switch {
	case p.Subject != "":
		return p.Subject
	case p.Path != "":
		return p.Path
	}
	return p.Native
}

// accountOf is the account that the principal lives in.
func accountOf(ev *nhi.Event) string {
	if ev.Principal.Account != "" {
		return ev.Principal.Account
	}
	return ev.Account
}

// keyOf says what identifies the principal at its provider.
func keyOf(ev *nhi.Event) (nativeKey, bool) {
	p := &ev.Principal
	switch {
	case p.Type == "WebIdentityUser" && p.Issuer != "" && p.Subject != "":
		return nativeKey{oidc, p.Issuer, p.Subject}, true
	case p.Native != "":
		return nativeKey{ev.Provider, accountOf(ev), p.Native}, true
	case p.Path != "":
		return nativeKey{ev.Provider, accountOf(ev), p.Path}, true
	case p.Name != "":
		return nativeKey{ev.Provider, accountOf(ev), p.Type + ":" + p.Name}, true
	case p.KeyID != "" && !p.Temporary:
		return nativeKey{ev.Provider, accountOf(ev), p.KeyID}, true
	}
	return nativeKey{}, false
}

// Shadow describes the identity of an attributed event as far as the event
// tells: what the inventory keeps of an identity that acts and that no
// connector has reported. ok is false when the event names nobody.
func Shadow(ev *nhi.Event) (who nhi.Identity, ok bool) {
	key, ok := keyOf(ev)
	if !ok || ev.Identity == "" {
		return nhi.Identity{}, false
	}
	p := &ev.Principal
	who = nhi.Identity{
		ID: ev.Identity, Kind: kindOf(p), Provider: key.provider, Account: key.account, Native: key.native,
		Name: p.Name, Path: p.Path, State: nhi.Active, Shadow: true,
		Environment: nhi.Environment{Class: nhi.ClassUnknown},
		FirstSeen:   ev.Time, LastSeen: ev.Time,
	}
	if key.provider == oidc {
		who.Path = p.Subject
	}
	for _, name := range []string{p.Subject, p.Path, p.Native, p.KeyID} {
		if who.Name == "" {
			who.Name = name
		}
	}
	return who, true
}

// Attribute attributes one event on its own and describes its identity. It is
// the slow and simple way; see [Attributor].
func Attribute(ev *nhi.Event) (nhi.ID, nhi.Identity) {
	NewAttributor().Attribute(ev)
	who, _ := Shadow(ev)
	return ev.Identity, who
}

// kindOf guesses the kind of an identity from how the log names it.
func kindOf(p *nhi.Principal) nhi.Kind {
	switch p.Type {
	case "WebIdentityUser":
		if strings.HasPrefix(p.Subject, "repo:") || strings.HasPrefix(p.Subject, "project_path:") ||
			strings.HasPrefix(p.Subject, "organization:") || strings.HasPrefix(p.Subject, "pipeline:") {
			return nhi.KindCIJob
		}
		return nhi.KindWorkload
	case "AWSService":
		return nhi.KindService
	case "IAMUser":
		return nhi.KindUser
	case "AssumedRole", "Role":
		return nhi.KindRole
	}
	switch {
	case strings.HasPrefix(p.Native, "AIDA"):
		return nhi.KindUser
	case strings.HasPrefix(p.Native, "AROA"):
		return nhi.KindRole
	}
	return nhi.KindUnknown
}
