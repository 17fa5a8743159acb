package receive

import (
	"net/url"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
)

// Settings are the shared signals of a configuration.
type Settings struct {
	// Peers are the transmitters that Muster listens to.
	Peers []Peer `yaml:"peers"`
	// PushHosts are the names of receivers in the inner network: streams may be
	// pushed to them although they have private addresses.
	PushHosts []string `yaml:"push_hosts" live:"false" unit:"host" example:"[siem.corp.example.com]"`
}

// A Peer is a transmitter that Muster listens to, and about whom it may speak.
type Peer struct {
	// Name tells the peer apart from others: in findings, in the audit log, in
	// the path that it pushes to.
	Name string `yaml:"name" example:"idp"`
	// Issuer is what iss must be in its signals, byte for byte.
	Issuer string `yaml:"issuer" unit:"URL" example:"https://idp.example.com"`
	// JWKSURI is where its keys are. Empty: as its metadata at
	// /.well-known/ssf-configuration says.
	JWKSURI string `yaml:"jwks_uri" unit:"URL" example:"https://idp.example.com/jwks.json"`
	// Audience is what aud must name in its signals: what the peer calls this
	// receiver.
	Audience string `yaml:"audience" example:"https://muster.example.com"`
	// Delivery is how signals come: push, to /ssf/events/NAME, or poll.
	Delivery string `yaml:"delivery" enum:"push,poll" example:"poll"`
	// Endpoint is where signals are polled.
	Endpoint string `yaml:"endpoint" unit:"URL" example:"https://idp.example.com/ssf/poll/4f1c"`
	// TokenFile holds a secret on its first line: what Muster shows the peer
	// when it polls, or what the peer shows when it pushes.
	TokenFile string `yaml:"token_file" unit:"file" example:"/etc/muster/idp.token"`
	// Subjects declare about whom the peer may speak. About nobody else it is
	// believed.
	Subjects Subjects `yaml:"subjects"`
}

// Subjects are a peer's own.
type Subjects struct {
	// Issuers are the issuers of its subjects: iss of a subject by iss and sub.
	Issuers []string `yaml:"issuers" unit:"URL" example:"[https://idp.example.com]"`
	// Accounts are the accounts and tenants of its subjects, as they stand in
	// the inventory.
	Accounts []string `yaml:"accounts" example:"[\"210987654321\"]"`
	// Domains are the mail domains of its subjects.
	Domains []string `yaml:"domains" example:"[example.com]"`
}

// The deliveries of a peer.
const (
	DeliveryPush = "push"
	DeliveryPoll = "poll"
)

const maxPeers = 64

// Validate returns an error wrapping nhi.ErrInvalid that names the key.
func (s *Settings) Validate() error {
	if len(s.Peers) > maxPeers {
		return nhi.Invalidf("signals.peers: over %d peers", maxPeers)
	}
	for i, h := range s.PushHosts {
		if h == "" || h != strings.ToLower(h) || strings.ContainsAny(h, "/: ") {
			return nhi.Invalidf("signals.push_hosts[%d]: want the name of a host in lower case, without port", i)
		}
	}
	seen := map[string]bool{}
	for i := range s.Peers {
		p := &s.Peers[i]
		if key, what := p.check(); what != "" {
			return nhi.Invalidf("signals.peers[%d].%s: %s", i, key, what)
		}
		if seen[p.Name] {
			return nhi.Invalidf("signals.peers[%d].name: every peer needs a name of its own", i)
		}
		seen[p.Name] = true
	}
	return nil
}

// check returns the key that is wrong and what is wrong with it.
func (p *Peer) check() (key, what string) {
	const address = "want https://host/path without user, query and fragment (http only on loopback)"
	switch {
	case p.Name == "" || len(p.Name) > 64 || strings.ContainsFunc(p.Name, odd):
		return "name", "want 1 to 64 letters, digits, dots, dashes or underscores"
	case !reachable(p.Issuer):
		return "issuer", address
	case p.JWKSURI != "" && !reachable(p.JWKSURI):
		return "jwks_uri", address
	case p.Audience == "" || len(p.Audience) > 512:
		return "audience", "want what the peer calls this receiver, as aud says it"
	case p.Delivery != DeliveryPush && p.Delivery != DeliveryPoll:
		return "delivery", "want push or poll"
	case p.Delivery == DeliveryPoll && !reachable(p.Endpoint):
		return "endpoint", address
	case p.Delivery == DeliveryPush && p.Endpoint != "":
		return "endpoint", "is for delivery: poll; this peer pushes to /ssf/events/" + p.Name
	case p.TokenFile == "":
		return "token_file", "want a file with the token of this peer"
	case len(p.Subjects.Issuers)+len(p.Subjects.Accounts)+len(p.Subjects.Domains) == 0:
		return "subjects", "declare issuers, accounts or domains: a peer speaks only about its own"
	}
	for _, d := range p.Subjects.Domains {
		if d == "" || d != strings.ToLower(d) || strings.ContainsAny(d, "@ */") {
			return "subjects.domains", "want mail domains in lower case, without @ and patterns"
		}
	}
	if slices.Contains(p.Subjects.Accounts, "") || slices.Contains(p.Subjects.Accounts, "*") || slices.Contains(p.Subjects.Issuers, "") {
		return "subjects", "want each issuer and account by its name, without patterns"
	}
	return "", ""
}

func odd(c rune) bool {
	return (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_'
}

// reachable reports whether s can be an address of a peer. An administrator wrote
// it, so private networks are fine.
func reachable(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.RawQuery == "" && (signals.Reach{Loopback: true, Hosts: []string{strings.ToLower(u.Hostname())}}).Check(s) == nil
}

// reach is where keys of the peer are fetched and polls are sent: to the hosts
// that an administrator wrote, and where they point to only if that is public.
// This machine is asked only when the peer itself is on it.
func (p *Peer) reach() (r signals.Reach) {
	for _, s := range []string{p.Issuer, p.JWKSURI, p.Endpoint} {
		u, err := url.Parse(s)
		if err != nil || s == "" {
			continue
		}
		r.Hosts = append(r.Hosts, strings.ToLower(u.Hostname()))
		r.Loopback = r.Loopback || signals.Reach{}.Check("https://"+u.Host) != nil
	}
	return r
}

// own reports whether a subject is the peer's, as far as the subject itself
// says: a simple one by its issuer or domain; a complex one if everything in it
// that can be told is. A uri or an opaque id says nothing; it is looked at once
// it is known whom it names, see home.
func (s *Subjects) own(subject *signals.Subject) error {
	foreign := signals.Refuse(signals.CodeAccess, "the subject is none that this transmitter may speak about")
	switch subject.Format {
	case signals.FormatIssSub:
		if !slices.Contains(s.Issuers, subject.Issuer) {
			return foreign
		}
	case signals.FormatEmail:
		if !slices.Contains(s.Domains, subject.Domain()) {
			return foreign
		}
	case signals.FormatURI, signals.FormatOpaque:
		if len(s.Accounts) == 0 {
			return foreign
		}
	case signals.FormatComplex:
		for name, m := range subject.Members {
			switch {
			case name == "tenant" && m.Format == signals.FormatOpaque:
				if !slices.Contains(s.Accounts, m.ID) {
					return foreign
				}
			case name == "session" && m.Format == signals.FormatOpaque:
				// A session is whose the user is.
			default:
				if err := s.own(&m); err != nil {
					return err
				}
			}
		}
	default:
		return foreign
	}
	return nil
}

// home reports whether an identity that was found by something that anybody may
// know, such as an ARN, lives in an account of the peer.
func (s *Subjects) home(by *signals.Subject, i *nhi.Identity) error {
	if by.Format != signals.FormatURI && by.Format != signals.FormatOpaque || slices.Contains(s.Accounts, i.Account) {
		return nil
	}
	return signals.Refuse(signals.CodeAccess, "the subject is none that this transmitter may speak about")
}
