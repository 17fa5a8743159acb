package extauthz

import (
	"testing"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

func TestEnvoyTellsWhichCertificateItsCallerShowed(t *testing.T) {
	told := enforcetest.Escaped(enforcetest.Certificate(t, "settler"))
	for _, tt := range []struct {
		name string
		may  bool
		edit func(*auth.CheckRequest)
		want nhi.Outcome
	}{
		{"in source.certificate", true, func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told }, nhi.Allow},
		{"of a point that is not let", false, func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told }, nhi.Deny},
		{"a forged header from outside", true, func(r *auth.CheckRequest) { of(r).Headers["x-forwarded-client-cert"] = `Cert="` + told + `"` }, nhi.Deny},
		{"a certificate of the other end", true, func(r *auth.CheckRequest) { r.Attributes.Destination = &auth.AttributeContext_Peer{Certificate: told} }, nhi.Deny},
		{"one that cannot be read", true, func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told[:100] }, nhi.Deny},
	} {
		b := newBench(nil)
		b.judge.Verifier = &enforcetest.Verifier{Known: map[string]nhi.Attested{"certificate settler": {Identity: robot, Method: "x509-svid"}}}
		b.tells = func(*nhi.Point) bool { return tt.may }
		got := b.ask(t, func(r *auth.CheckRequest) {
			delete(of(r).Headers, "authorization")
			tt.edit(r)
		})
		if got.outcome != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
