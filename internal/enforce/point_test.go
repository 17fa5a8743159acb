package enforce_test

import (
	"errors"
	"hash/crc32"
	"net/netip"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

var loopback = netip.MustParseAddrPort("127.0.0.1:4711")

func TestAnEnrolledPointIsKnownByItsKey(t *testing.T) {
	store := enforcetest.Points{}
	secret := store.Enroll(nhi.DialectNginx, nil)
	points := enforce.NewPoints(store)
	for _, header := range []string{"Bearer " + secret, "bearer " + secret, "BEARER " + secret} {
		point, err := points.Authenticate(header, loopback)
		if err != nil || point.Name != "nginx" {
			t.Errorf("Authenticate = %q, %v", point.Name, err)
		}
	}
}

func TestARequestWithoutAPointIsRefusedOnLoopbackToo(t *testing.T) {
	store := enforcetest.Points{}
	secret := store.Enroll(nhi.DialectNginx, nil)
	disabled := store.Enroll(nhi.DialectNginx, func(p *nhi.Point) { p.Disabled = true })
	bare := store.Enroll(nhi.DialectNginx, func(p *nhi.Point) { p.Verifier = nil })
	points := enforce.NewPoints(store)
	for name, header := range map[string]string{
		"nothing":                  "",
		"scheme alone":             "Bearer ",
		"no scheme":                secret,
		"two spaces":               "Bearer  " + secret,
		"two keys":                 "Bearer " + secret + ", Bearer " + secret,
		"another scheme":           "Basic " + secret,
		"a key of another kind":    "Bearer " + key.Mint(key.API).Reveal(),
		"a key nobody has":         "Bearer " + key.Mint(key.Point).Reveal(),
		"a forged secret":          "Bearer " + forge(secret),
		"a cut key":                "Bearer " + secret[:len(secret)-1],
		"a disabled point":         "Bearer " + disabled,
		"a point with no verifier": "Bearer " + bare,
	} {
		t.Run(name, func(t *testing.T) {
			point, err := points.Authenticate(header, loopback)
			if !errors.Is(err, nhi.ErrDenied) || point.ID != "" {
				t.Errorf("Authenticate = %q, %v, want denied", point.ID, err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error holds the key")
			}
		})
	}
}

func TestAStolenPointKeyIsUselessElsewhere(t *testing.T) {
	store := enforcetest.Points{}
	home := store.Enroll(nhi.DialectNginx, nil)
	remote := store.Enroll(nhi.DialectNginx, func(p *nhi.Point) {
		p.Sources = []string{"203.0.113.7", "2001:db8::/32", "nonsense", "10.0.0.0/99"}
	})
	points := enforce.NewPoints(store)
	for _, tt := range []struct {
		name, secret, from string
		want               bool
	}{
		{"loopback is the default", home, "127.8.8.8:1", true},
		{"loopback of the other family", home, "[::1]:1", true},
		{"mapped loopback", home, "[::ffff:127.0.0.1]:1", true},
		{"elsewhere", home, "192.0.2.1:1", false},
		{"its address", remote, "203.0.113.7:1", true},
		{"its address, mapped", remote, "[::ffff:203.0.113.7]:1", true},
		{"its neighbour", remote, "203.0.113.8:1", false},
		{"its network", remote, "[2001:db8::1]:1", true},
		{"loopback is not implied once sources are named", remote, "127.0.0.1:1", false},
		{"a source that is no address trusts nobody", remote, "10.0.0.1:1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := points.Authenticate("Bearer "+tt.secret, netip.MustParseAddrPort(tt.from))
			if (err == nil) != tt.want {
				t.Errorf("Authenticate from %s: %v", tt.from, err)
			}
		})
	}
	if _, err := points.Authenticate("Bearer "+home, netip.AddrPort{}); err == nil {
		t.Error("a connection without an address is trusted")
	}
}

func TestSourcesAreAddressesOrPrefixes(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "192.0.2.77/24": "192.0.2.0/24", "::1": "::1/128",
		"::ffff:192.0.2.1": "192.0.2.1/32", "": "", "host": "", "fe80::1%eth0": "", "1.2.3.4/33": "", "::ffff:1.2.3.0/120": "",
	} {
		prefix, err := enforce.ParseSource(s)
		if (err == nil) != (want != "") || err == nil && prefix.String() != want {
			t.Errorf("ParseSource(%q) = %v, %v, want %q", s, prefix, err, want)
		}
		if err != nil && !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("ParseSource(%q): %v does not wrap ErrInvalid", s, err)
		}
	}
}

// forge returns a well-formed key with the id of another and a secret of its
// own: what anybody can make who has seen the id somewhere.
func forge(secret string) string {
	const idAt = len("muster_pnt_")
	other := key.Mint(key.Point).Reveal()
	body := secret[:idAt+key.IDLength] + other[idAt+key.IDLength:strings.LastIndexByte(other, '_')]
	sum := crc32.ChecksumIEEE([]byte(body))
	digits := make([]byte, 6)
	for i := range digits {
		digits[5-i], sum = key.Alphabet[sum%62], sum/62
	}
	return body + "_" + string(digits)
}

func TestTheForgedKeyOfTheseTestsIsWellFormed(t *testing.T) {
	if _, err := key.Parse(forge(key.Mint(key.Point).Reveal())); err != nil {
		t.Error(err)
	}
}
