package enforce_test

import (
	"encoding/base64"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
)

func TestCertificatesAreReadAsProxiesTellThem(t *testing.T) {
	one, two := enforcetest.Certificate(t, "one"), enforcetest.Certificate(t, "two")
	text := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	plain := base64.StdEncoding.EncodeToString(one.Raw)
	for name, told := range map[string]string{
		"nginx": enforcetest.Escaped(one), "Envoy": enforcetest.Escaped(one) + enforcetest.Escaped(two),
		"Caddy, HAProxy": plain, "Traefik": plain + "," + base64.StdEncoding.EncodeToString(two.Raw),
		"Traefik 1":  url.QueryEscape(plain),
		"in a frame": text(one.Raw) + text(two.Raw),
	} {
		got, err := enforce.ParseCertificates(told)
		if err != nil || len(got) == 0 || !got[0].Equal(one) || len(got) > 1 && !got[1].Equal(two) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
	if got, err := enforce.ParseCertificates(""); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	for name, told := range map[string]string{
		"garbage": "x", "half an escape": "%2", "half a certificate": plain[:len(plain)/2], "a comma too many": plain + ",", "a key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: one.Raw})),
		"garbage behind": text(one.Raw) + "x", "too many": strings.Repeat(text(one.Raw), 10), "too long": strings.Repeat("A", enforce.MaxCertificates+1), "spaces": " " + plain,
	} {
		if got, err := enforce.ParseCertificates(told); err == nil || len(got) > 0 {
			t.Errorf("%s: %d certificates", name, len(got))
		}
	}
}

func FuzzParseCertificates(f *testing.F) {
	f.Add("AAAA")
	f.Add("-----BEGIN CERTIFICATE-----%0AAAAA%0A-----END CERTIFICATE-----%0A")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := enforce.ParseCertificates(text); err != nil && len(got) > 0 {
			t.Errorf("%d certificates and %v", len(got), err)
		}
	})
}
