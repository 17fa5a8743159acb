package cloudtrail

import (
	"bytes"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// A userIdentity holds the spans of the record's word for who acted.
type userIdentity struct {
	kind, principal, arn, account, key, name, invokedBy span
	provider                                            span // identityProvider
	credential                                          span // credentialId of Identity Center
	issuer                                              sessionIssuer
	sourceIdentity                                      span
	federated, subject                                  span // webIdFederationData
	onBehalfOf, identityStore                           span
}

// A sessionIssuer is the role or user that a session was made from.
type sessionIssuer struct{ kind, principal, arn, account, name span }

// read takes the spans and reports whether there was an object.
func (u *userIdentity) read(s *jsonscan.Scanner) bool {
	if !s.Object() {
		return false
	}
	for s.Next() {
		switch string(s.Key()) {
		case "type":
			u.kind, _ = s.Text()
		case "principalId", "principalid":
			u.principal, _ = s.Text()
		case "arn":
			u.arn, _ = s.Text()
		case "accountId", "accountid":
			u.account = digits(s)
		case "accessKeyId", "accesskeyid":
			u.key, _ = s.Text()
		case "userName", "username":
			u.name, _ = s.Text()
		case "invokedBy", "invokedby":
			u.invokedBy, _ = s.Text()
		case "identityProvider", "identityprovider":
			u.provider, _ = s.Text()
		case "credentialId", "credentialid":
			u.credential, _ = s.Text()
		case "sessionContext", "sessioncontext":
			u.session(s)
		case "onBehalfOf", "onbehalfof":
			u.behalf(s)
		default:
			s.Skip()
		}
	}
	return true
}

func (u *userIdentity) session(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "sessionIssuer", "sessionissuer":
			u.issuer.read(s)
		case "sourceIdentity", "sourceidentity":
			u.sourceIdentity, _ = s.Text()
		case "webIdFederationData", "webidfederationdata":
			u.federation(s)
		default:
			s.Skip()
		}
	}
}

func (i *sessionIssuer) read(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "type":
			i.kind, _ = s.Text()
		case "principalId", "principalid":
			i.principal, _ = s.Text()
		case "arn":
			i.arn, _ = s.Text()
		case "accountId", "accountid":
			i.account = digits(s)
		case "userName", "username":
			i.name, _ = s.Text()
		default:
			s.Skip()
		}
	}
}

// federation takes the provider and the subject of a web identity. The
// subject is an attribute named after the provider, ending in ":sub".
func (u *userIdentity) federation(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "federatedProvider", "federatedprovider":
			u.federated, _ = s.Text()
		case "attributes":
			if !s.Object() {
				continue
			}
			for s.Next() {
				sub := strings.HasSuffix(string(s.Key()), ":sub")
				if v, ok := s.Text(); ok && sub {
					u.subject = v
				}
			}
		default:
			s.Skip()
		}
	}
}

func (u *userIdentity) behalf(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "userId", "userid":
			u.onBehalfOf, _ = s.Text()
		case "identityStoreArn", "identitystorearn":
			u.identityStore, _ = s.Text()
		default:
			s.Skip()
		}
	}
}

// principal fills ev.Principal.
func (r *reader) principal() {
	u, t, p := &r.rec.user, r.text, &r.ev.Principal
	p.Type = t.Free(u.kind, activity.Word)
	if p.Type == "" {
		p.Type = "Unknown"
	}
	p.Account = t.ID(u.account, activity.Word)
	p.Name = t.Free(u.name, activity.Name)
	if p.KeyID = t.ID(u.key, activity.Word); !isKeyID(p.KeyID) {
		p.KeyID = ""
	}
	p.Temporary = strings.HasPrefix(p.KeyID, "ASIA")
	r.byType()
	r.chain()
	r.platform()
	p.Interactive = r.interactive()
}

// byType reduces the principal to the identity that lives on.
func (r *reader) byType() {
	u, t, p := &r.rec.user, r.text, &r.ev.Principal
	// A principal id may carry the name of a session behind a colon.
	id, session := cutSpan(u.principal, ':')
	switch p.Type {
	case "AssumedRole", "Role":
		r.assumedRole(id, session)
	case "FederatedUser":
		// The user who asked for the token answers for what is done with it.
		p.Native, p.Path = t.ID(u.principal, activity.Name), t.Free(u.arn, activity.Path)
		p.Session = t.Free(session, activity.Name)
		r.fromIssuer()
	case "WebIdentityUser":
		p.Issuer = issuerURL(t.Free(u.provider, activity.Path))
		p.Subject = p.Name
		if p.Subject == "" {
			p.Subject = t.Free(u.subject, activity.Path)
		}
		p.Account = ""
	case "SAMLUser":
		p.Native = t.Free(u.principal, activity.Path)
		p.Issuer = t.Free(u.provider, activity.Path)
		p.Subject = p.Name
	case "AWSService":
		p.Native = t.Free(u.invokedBy, activity.Name)
		p.Account, p.Name, p.Platform = "amazonaws.com", p.Native, true
	case "Root":
		p.Native, p.Path = p.Account, t.Free(u.arn, activity.Path)
		if p.Name == "" {
			p.Name = "root"
		}
	case "IdentityCenterUser":
		p.Native = t.ID(u.onBehalfOf, activity.Word)
		if _, store := cutSpan(u.identityStore, '/'); len(store.Raw) > 0 {
			p.Account = t.ID(store, activity.Name)
		}
		p.Session = t.ID(u.credential, activity.Name)
	case "AWSAccount", "Unknown":
		// Another account's caller.
		p.Native, p.Path = t.ID(id, activity.Name), t.Free(u.arn, activity.Path)
		p.Session = t.Free(session, activity.Name)
	default:
		p.Native, p.Path = t.ID(u.principal, activity.Name), t.Free(u.arn, activity.Path)
	}
}

// assumedRole names the role by its own id and ARN, and the session apart.
func (r *reader) assumedRole(id, session span) {
	u, t, p := &r.rec.user, r.text, &r.ev.Principal
	p.Native = t.ID(id, activity.Name)
	p.Session = t.Free(session, activity.Name)
	if len(u.issuer.arn.Raw) == 0 || p.Session == "" {
		var named string
		if p.Path, named = roleARN(t.Free(u.arn, activity.Path)); p.Session == "" {
			p.Session = named
		}
	}
	r.fromIssuer()
	if p.Name == "" {
		p.Name = lastPart(p.Path)
	}
}

// fromIssuer takes what the session's issuer tells better.
func (r *reader) fromIssuer() {
	i, t, p := &r.rec.user.issuer, r.text, &r.ev.Principal
	take := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	take(&p.Native, t.ID(i.principal, activity.Name))
	take(&p.Path, t.Free(i.arn, activity.Path))
	take(&p.Account, t.ID(i.account, activity.Word))
	take(&p.Name, t.Free(i.name, activity.Name))
}

// chain collects who stood behind the identity, outermost first.
func (r *reader) chain() {
	u, t, p := &r.rec.user, r.text, &r.ev.Principal
	add := func(link string) {
		if link != "" {
			p.Chain = append(p.Chain, link)
		}
	}
	add(t.Free(u.sourceIdentity, activity.Name))
	if p.Type != "IdentityCenterUser" {
		add(t.ID(u.onBehalfOf, activity.Name))
	}
	if p.Type == "AssumedRole" {
		if provider := t.Free(u.federated, activity.Path); provider != "" {
			p.Issuer = issuerURL(provider)
			p.Subject = t.Free(u.subject, activity.Path)
			add(p.Subject)
			if p.Subject == "" {
				add(p.Issuer)
			}
		}
	}
	if p.Type != "AWSService" {
		add(t.Free(u.invokedBy, activity.Name))
	}
}

// platform finds out whether AWS itself acts: through a role that only a
// service can take, on a forwarded call, or for an instance.
func (r *reader) platform() {
	u, p := &r.rec.user, &r.ev.Principal
	by := string(u.invokedBy.Raw)
	if strings.HasSuffix(by, ".amazonaws.com") || by == "AWS Internal" {
		p.Platform = true
	}
	if strings.Contains(p.Path, "/aws-service-role/") || strings.HasPrefix(p.Name, "AWSServiceRoleFor") ||
		strings.HasSuffix(string(u.principal.Raw), ":aws:ec2-instance") {
		p.Platform = true
	}
}

// interactive finds out whether the record itself shows a console or a
// browser.
func (r *reader) interactive() bool {
	if r.ev.Principal.Platform {
		return false
	}
	switch string(r.rec.kind.Raw) {
	case "AwsConsoleSignIn", "AwsConsoleAction":
		return true
	}
	agent := r.ev.Agent
	return r.rec.fromConsole || strings.HasPrefix(agent, "Mozilla/") || strings.HasPrefix(agent, "S3Console/") ||
		agent == "console.amazonaws.com" || agent == "signin.amazonaws.com"
}

// minted is the temporary credential that a call returned.
type minted struct {
	key, expires, roleID, roleARN span
}

func (m *minted) credentials(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "accessKeyId":
			m.key, _ = s.Text()
		case "expiration":
			m.expires, _ = s.Text()
		default:
			s.Skip() // the session token among them
		}
	}
}

func (m *minted) role(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "assumedRoleId":
			m.roleID, _ = s.Text()
		case "arn":
			m.roleARN, _ = s.Text()
		default:
			s.Skip()
		}
	}
}

// link tells about a credential that the call minted. Only calls that
// succeeded at the token service are believed.
func (r *reader) link() {
	m, t, ev := &r.rec.minted, r.text, r.ev
	if len(m.key.Raw) == 0 || r.o.Link == nil || ev.Status != nhi.Success || ev.Service != "sts.amazonaws.com" {
		return
	}
	l := activity.Link{Account: ev.Account, KeyID: t.ID(m.key, activity.Word), Caller: ev.Principal, At: ev.Time}
	if !isKeyID(l.KeyID) {
		return
	}
	if at, ok := slowTime(string(m.expires.Raw)); ok {
		l.Expires = at
	} else if at, err := time.Parse("Jan 2, 2006 3:04:05 PM", string(m.expires.Raw)); err == nil {
		l.Expires = at
	}
	l.Target = ev.Principal // GetSessionToken mints for the caller itself
	if len(m.roleID.Raw) > 0 {
		id, session := cutSpan(m.roleID, ':')
		path, _ := roleARN(t.Free(m.roleARN, activity.Path))
		l.Target = nhi.Principal{
			Type: "AssumedRole", Native: t.ID(id, activity.Name), Path: path, Name: lastPart(path), Account: accountOfARN(path),
			Session: t.Free(session, activity.Name),
		}
	}
	r.o.Link(l)
}

// isKeyID reports whether s has the shape of an access key id.
func isKeyID(s string) bool {
	if len(s) < 4 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// cutSpan splits a span at the first sep; without one, all of it comes first.
func cutSpan(s span, sep byte) (before, after span) {
	if i := bytes.IndexByte(s.Raw, sep); i >= 0 {
		return span{Raw: s.Raw[:i], Escaped: s.Escaped}, span{Raw: s.Raw[i+1:], Escaped: s.Escaped}
	}
	return s, span{}
}

// roleARN turns the ARN of a session (arn:aws:sts::1:assumed-role/Name/session)
// into that of its role as far as it tells (arn:aws:iam::1:role/Name; a path
// of the role is not in it), and returns the session's name. Other ARNs are
// returned as they are.
func roleARN(arn string) (role, session string) {
	head, rest, ok := strings.Cut(arn, ":assumed-role/")
	if !ok {
		return arn, ""
	}
	name, session, _ := strings.Cut(rest, "/")
	return strings.Replace(head, ":sts:", ":iam:", 1) + ":role/" + name, session
}

func lastPart(path string) string {
	return path[strings.LastIndexByte(path, '/')+1:]
}

// accountOfARN returns the fifth field of an ARN.
func accountOfARN(arn string) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) < 6 {
		return ""
	}
	return f[4]
}

// issuerURL turns the provider of a web identity into the issuer as tokens
// name it: arn:aws:iam::1:oidc-provider/host/path is https://host/path.
func issuerURL(provider string) string {
	if _, host, ok := strings.Cut(provider, ":oidc-provider/"); ok {
		provider = host
	}
	if provider == "" || strings.Contains(provider, "://") || strings.HasPrefix(provider, "arn:") {
		return provider
	}
	return "https://" + provider
}
