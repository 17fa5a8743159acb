package enforce_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
)

func forwarded(values ...string) http.Header {
	return http.Header{enforce.ForwardedHeader: values}
}

func TestACertificateIsReadAsEnvoyForwardsIt(t *testing.T) {
	one, two := enforcetest.Certificate(t, "one"), enforcetest.Certificate(t, "two")
	sum := sha256.Sum256(one.Raw)
	cert, chain := enforcetest.Escaped(one), enforcetest.Escaped(one)+enforcetest.Escaped(two)
	for name, tt := range map[string]struct {
		value string
		want  int
	}{
		"the certificate":         {`Cert="` + cert + `"`, 1},
		"without quotes":          {`Cert=` + cert, 1},
		"the chain":               {`Chain="` + chain + `"`, 2},
		"both":                    {`Cert="` + cert + `";Chain="` + chain + `"`, 2},
		"all that Envoy can tell": {`By=spiffe://prod.example/edge;Hash=` + hex.EncodeToString(sum[:]) + `;Cert="` + cert + `";Chain="` + chain + `";Subject="CN=one,O=\"a\\\";b";URI=spiffe://prod.example/one;DNS=a.example;DNS=b.example`, 2},
		"keys in another case":    {`hash=00;CERT="` + cert + `";subject=""`, 1},
		"names that are empty":    {`Cert="` + cert + `";Subject="";URI=`, 1},
	} {
		got, err := enforce.Forwarded(forwarded(tt.value))
		if err != nil || len(got) != tt.want || !got[0].Equal(one) || len(got) > 1 && !got[1].Equal(two) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
	if got, err := enforce.Forwarded(http.Header{}); err != nil || len(got) != 0 {
		t.Errorf("no header: %v, %v", got, err)
	}
}

// A client's names, and what it sent itself, stand beside what Envoy writes. None
// of it may take the place of the certificate that was shown.
func TestAnInjectedForwardedCertificateIsRefused(t *testing.T) {
	shown, victim := enforcetest.Certificate(t, "shown"), enforcetest.Certificate(t, "victim")
	mine, theirs := `Hash=00;Cert="`+enforcetest.Escaped(shown)+`"`, `Hash=00;Cert="`+enforcetest.Escaped(victim)+`"`
	for name, value := range map[string]string{
		"an element of the client's before Envoy's":   theirs + "," + mine,
		"an element out of a URI behind Envoy's":      mine + `;URI=spiffe://x/a,` + theirs,
		"a second certificate out of a URI":           mine + `;URI=spiffe://x/a;` + theirs,
		"the only certificate, out of a URI":          `Hash=00;URI=spiffe://x/a;Cert="` + enforcetest.Escaped(victim) + `"`,
		"the only certificate, out of a DNS name":     `Hash=00;DNS=a;` + theirs,
		"a chain out of a URI":                        mine + `;URI=spiffe://x/a;Chain="` + enforcetest.Escaped(victim) + `"`,
		"a second certificate out of a subject":       mine + `;Subject="CN=a";` + theirs + `;Subject=""`,
		"an element out of a subject":                 mine + `;Subject="CN=a",` + theirs,
		"a quote of the client's around Envoy's":      theirs + `;Subject=",` + mine,
		"a quote that a backslash seems to close":     theirs + `;Subject="\",` + mine,
		"a quote inside a value without":              theirs + `;URI=a",` + mine,
		"words behind a quote":                        `Cert="` + enforcetest.Escaped(shown) + `"x`,
		"a quote without an end":                      `Cert="` + enforcetest.Escaped(shown),
		"a backslash at the end":                      mine + `;Subject="\`,
		"names alone":                                 `By=a;Hash=00;Subject="CN=victim";URI=spiffe://prod.example/victim`,
		"nothing":                                     "",
		"an empty element":                            ",",
		"a pair too many":                             mine + ";",
		"spaces":                                      " " + mine,
		"an empty certificate":                        `Cert=""`,
		"two certificates as one":                     `Cert="` + enforcetest.Escaped(shown) + enforcetest.Escaped(victim) + `"`,
		"a certificate that is not the chain's":       mine + `;Chain="` + enforcetest.Escaped(victim) + `"`,
		"the same certificate twice, in another case": mine + `;CERT="` + enforcetest.Escaped(shown) + `"`,
		"garbage":                     `Cert="garbage"`,
		"more pairs than anybody has": mine + strings.Repeat(";DNS=a", 64),
		"a value longer than can be":  mine + `;DNS=` + strings.Repeat("a", enforce.MaxForwarded),
		"a control character":         mine + ";DNS=a\x00",
		"a key that is not one":       mine + ";D N=a",
		"no key":                      mine + ";=a",
	} {
		if got, err := enforce.Forwarded(forwarded(value)); err == nil || len(got) != 0 {
			t.Errorf("%s: %d certificates", name, len(got))
		}
	}
	if got, err := enforce.Forwarded(forwarded(mine, theirs)); err == nil || len(got) != 0 {
		t.Errorf("a header of the client's beside Envoy's: %d certificates", len(got))
	}
}

func FuzzForwarded(f *testing.F) {
	f.Add(`Hash=00;Cert="AAAA";Subject="CN=a\"";URI=b,Cert=c`)
	shown := enforcetest.Escaped(enforcetest.Certificate(f, "shown"))
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := enforce.Forwarded(forwarded(text)); err != nil && len(got) > 0 {
			t.Errorf("%d certificates and %v", len(got), err)
		}
		// Whatever stands before or behind what Envoy wrote, it is that or nothing.
		for _, value := range []string{text + `,Hash=00;Cert="` + shown + `";URI=a`, `Hash=00;Cert="` + shown + `";URI=` + text, `Hash=00;Cert="` + shown + `";Subject="` + text + `"`} {
			if got, err := enforce.Forwarded(forwarded(value)); err == nil && (len(got) != 1 || got[0].Subject.CommonName != "shown") {
				t.Errorf("%q is %d certificates", value, len(got))
			}
		}
	})
}
