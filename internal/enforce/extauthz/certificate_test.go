package extauthz

import (
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

func TestEnvoyTellsWhichCertificateItsCallerShowed(t *testing.T) {
	told := enforcetest.Escaped(enforcetest.Certificate(t, "settler"))
	forwarded := `Hash=00;Cert="` + told + `";URI=spiffe://prod.example/settler`
	const itself, header = "source.certificate", "the header"
	for _, tt := range []struct {
		name string
		may  string
		edit func(*auth.CheckRequest)
		want nhi.Outcome
	}{
		{"in source.certificate", itself, func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told }, nhi.Allow},
		{"of a point that is not let", "", func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told }, nhi.Deny},
		{"a forged header from outside", itself, func(r *auth.CheckRequest) { of(r).Headers["x-forwarded-client-cert"] = `Cert="` + told + `"` }, nhi.Deny},
		{"a certificate of the other end", itself, func(r *auth.CheckRequest) { r.Attributes.Destination = &auth.AttributeContext_Peer{Certificate: told} }, nhi.Deny},
		{"one that cannot be read", itself, func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told[:100] }, nhi.Deny},
		{"in the header", header, func(r *auth.CheckRequest) { of(r).Headers["x-forwarded-client-cert"] = forwarded }, nhi.Allow},
		{"in the header, raw", header, func(r *auth.CheckRequest) {
			of(r).HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "x-forwarded-client-cert", RawValue: []byte(forwarded)}}}
		}, nhi.Allow},
		{"in the header twice", header, func(r *auth.CheckRequest) {
			of(r).HeaderMap = &core.HeaderMap{Headers: []*core.HeaderValue{{Key: "x-forwarded-client-cert", RawValue: []byte(forwarded)}, {Key: "x-forwarded-client-cert", RawValue: []byte(forwarded)}}}
		}, nhi.Deny},
		{"in the header, with a client's own", header, func(r *auth.CheckRequest) {
			of(r).Headers["x-forwarded-client-cert"] = `Cert="AAAA",` + forwarded
		}, nhi.Deny},
		{"in the header, of a point that tells it elsewhere", itself, func(r *auth.CheckRequest) { of(r).Headers["x-forwarded-client-cert"] = forwarded }, nhi.Deny},
		{"in source.certificate, of a point that has it in the header", header, func(r *auth.CheckRequest) { r.Attributes.Source.Certificate = told }, nhi.Deny},
		{"as names alone", header, func(r *auth.CheckRequest) {
			of(r).Headers["x-forwarded-client-cert"] = "Hash=00;URI=spiffe://prod.example/settler"
		}, nhi.Deny},
	} {
		b := newBench(nil)
		b.judge.Verifier = &enforcetest.Verifier{Known: map[string]nhi.Attested{"certificate settler": {Identity: robot, Method: "x509-svid"}}}
		b.tells = func(*nhi.Point) bool { return tt.may == itself }
		b.forwards = func(*nhi.Point) bool { return tt.may == header }
		got := b.ask(t, func(r *auth.CheckRequest) {
			delete(of(r).Headers, "authorization")
			tt.edit(r)
		})
		if got.outcome != tt.want {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}
