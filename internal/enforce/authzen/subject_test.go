package authzen

import (
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

// Whoever runs a trust domain of their own writes what they like behind its name.
// A point that has verified such an SVID tells us its id as it stands.
func TestASPIFFEIDOfAnotherTrustDomainIsNoneOfOurs(t *testing.T) {
	for domain, want := range map[string]nhi.ID{
		"muster.example": robot, "evil.example": "", "muster.example/ns/x": "", "": "", "muster.example.evil.example": "",
	} {
		b := newBench(nil)
		b.do(b.request(strings.Replace(question, string(robot), "spiffe://"+domain+"/nhi/"+string(robot), 1)))
		if got := b.decider.Asked()[0].Subject.Identity; got != want {
			t.Errorf("spiffe://%s/nhi/%s is %q, want %q", domain, robot, got, want)
		}
	}
}

func TestAnIssuerThatIsNotKnownIsNoTrustDomain(t *testing.T) {
	for issuer, domain := range map[string]string{"": "", "https://Muster.internal:8700": "muster.internal", "%": ""} {
		b := newBench(nil)
		b.Handler = New(Config{Points: b.c.Points, Decider: b.decider, PublicURL: "https://elsewhere.example", Issuer: func() string { return issuer }})
		for _, of := range []string{"muster.internal", "elsewhere.example", ""} {
			b.do(b.request(strings.Replace(question, string(robot), "spiffe://"+of+"/nhi/"+string(robot), 1)))
			asked := b.decider.Asked()
			if got := asked[len(asked)-1].Subject.Identity; (got == robot) != (of == domain && of != "") {
				t.Errorf("by issuer %q spiffe://%s/nhi/%s is %q", issuer, of, robot, got)
			}
		}
	}
}
