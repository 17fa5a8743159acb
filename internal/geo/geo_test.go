package geo

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func compiled(t testing.TB, src Source) *Table {
	t.Helper()
	data, err := Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	table, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// small is a table with gaps, overlaps and half-known ranges.
func small() Source {
	return Source{
		Built:    time.Date(2026, 6, 17, 0, 0, 0, 0, time.UTC),
		Country4: strings.NewReader("1.0.0.0,1.0.0.255,AU\n1.0.1.0,1.0.3.255,CN\n9.0.0.0,9.255.255.255,US\n"),
		Country6: strings.NewReader("2001:200::,2001:200:ffff:ffff:ffff:ffff:ffff:ffff,JP\n"),
		ASN4:     strings.NewReader("1.0.0.128,1.0.1.255,13335,\"Cloudflare, Inc.\"\n9.0.0.0,9.1.255.255,64500,One\n9.0.5.0,9.2.0.255,64501,Two\n"),
		ASN6:     strings.NewReader("2001:200::,2001:200:0:ffff:ffff:ffff:ffff:ffff,2500,WIDE Project\n"),
	}
}

func TestLookupFindsBothHalves(t *testing.T) {
	table := compiled(t, small())
	cloudflare := "Cloudflare, Inc."
	for addr, want := range map[string]Place{
		"1.0.0.0":            {Country: "AU"},
		"1.0.0.127":          {Country: "AU"},
		"1.0.0.128":          {"AU", 13335, cloudflare},
		"::ffff:1.0.0.128":   {"AU", 13335, cloudflare},
		"1.0.1.255":          {"CN", 13335, cloudflare},
		"1.0.2.0":            {Country: "CN"},
		"1.0.3.255":          {Country: "CN"},
		"1.0.4.0":            {},
		"0.255.255.255":      {},
		"9.1.255.255":        {"US", 64500, "One"},
		"9.2.0.0":            {"US", 64501, "Two"},
		"9.2.1.0":            {Country: "US"},
		"255.255.255.255":    {},
		"2001:1ff::":         {},
		"2001:200::1":        {"JP", 2500, "WIDE Project"},
		"2001:200::1%eth0":   {"JP", 2500, "WIDE Project"},
		"2001:200:0:ffff::1": {"JP", 2500, "WIDE Project"},
		"2001:200:1::1":      {Country: "JP"},
		"2001:201::1":        {},
	} {
		if got := table.Lookup(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Lookup(%s) = %+v, want %+v", addr, got, want)
		}
	}
	if got := table.Lookup(netip.Addr{}); got != (Place{}) {
		t.Errorf("Lookup of an invalid address = %+v, want nothing", got)
	}
}

func TestNetworksWalksWhatLookupFinds(t *testing.T) {
	table := compiled(t, small())
	var got []string
	for r, p := range table.Networks() {
		got = append(got, fmt.Sprintf("%s-%s %s %d", r.From, r.To, p.Country, p.ASN))
	}
	want := []string{
		"1.0.0.0-1.0.0.127 AU 0",
		"1.0.0.128-1.0.0.255 AU 13335",
		"1.0.1.0-1.0.1.255 CN 13335",
		"1.0.2.0-1.0.3.255 CN 0",
		"9.0.0.0-9.1.255.255 US 64500",
		"9.2.0.0-9.2.0.255 US 64501",
		"9.2.1.0-9.255.255.255 US 0",
		"2001:200::-2001:200:0:ffff:ffff:ffff:ffff:ffff JP 2500",
		"2001:200:1::-2001:200:ffff:ffff:ffff:ffff:ffff:ffff JP 0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
}

func TestCompileRefusesWhatItCannotRead(t *testing.T) {
	for name, change := range map[string]func(*Source){
		"a name for a code":   func(s *Source) { s.Country4 = strings.NewReader("1.0.0.0,1.0.0.1,Australia\n") },
		"no address":          func(s *Source) { s.Country4 = strings.NewReader("1.0.0,1.0.0.1,AU\n") },
		"a range backwards":   func(s *Source) { s.ASN6 = strings.NewReader("2001:2::,2001:1::,1,x\n") },
		"a missing column":    func(s *Source) { s.ASN4 = strings.NewReader("1.0.0.0,1.0.0.1,5\n") },
		"a number too large":  func(s *Source) { s.ASN4 = strings.NewReader("1.0.0.0,1.0.0.1,4294967296,x\n") },
		"an unsorted list":    func(s *Source) { s.Country4 = strings.NewReader("9.0.0.0,9.0.0.1,US\n1.0.0.0,9.0.0.5,AU\n") },
		"an unfinished quote": func(s *Source) { s.ASN4 = strings.NewReader("1.0.0.0,1.0.0.1,5,\"x\n") },
	} {
		src := small()
		change(&src)
		if _, err := Compile(src); err == nil {
			t.Errorf("Compile accepted %s", name)
		}
	}
}

func TestDecodeRefusesADamagedFile(t *testing.T) {
	good, err := Compile(small())
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.Clone(good)
	newer[len(magic)] = 2
	flipped := slices.Clone(good)
	flipped[len(flipped)-9] ^= 1
	late := slices.Clone(good)
	binary.BigEndian.PutUint64(late[len(magic)+1:], 1<<50)
	for name, data := range map[string][]byte{
		"nothing": nil, "another file": []byte("PK\x03\x04 and so on and on"), "a newer version": newer,
		"a flipped bit": flipped, "a cut": good[:len(good)-3], "a date far away": late,
	} {
		if _, err := Decode(data); err == nil {
			t.Errorf("Decode accepted %s", name)
		}
	}
	if _, err := Decode(nil); !errors.Is(err, errMalformed) {
		t.Errorf("Decode(nil) = %v, want %v", err, errMalformed)
	}
}

func TestTheEmbeddedTableIsWhole(t *testing.T) {
	table, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.v4) + len(table.v6); n < 500_000 {
		t.Errorf("the table has %d segments, want over 500,000", n)
	}
	for addr, want := range map[string]Place{
		"8.8.8.8":              {Country: "US", ASN: 15169},
		"1.1.1.1":              {Country: "AU", ASN: 13335},
		"2001:4860:4860::8888": {Country: "US", ASN: 15169},
	} {
		got := table.Lookup(netip.MustParseAddr(addr))
		if got.Country == "" || got.ASN != want.ASN || got.Organization == "" {
			t.Errorf("Lookup(%s) = %+v, want AS%d, a country and a name", addr, got, want.ASN)
		}
	}
	if !strings.Contains(table.Attribution(), "DB-IP") || !strings.Contains(table.Attribution(), table.Built().Format(time.DateOnly)) {
		t.Errorf("Attribution() = %q, want the sources and the date", table.Attribution())
	}
}

func TestATableGrowsStale(t *testing.T) {
	table := &Table{built: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	if table.Stale(table.built.Add(MaxAge)) {
		t.Error("stale at its greatest age, want fresh")
	}
	if !table.Stale(table.built.Add(MaxAge + time.Second)) {
		t.Error("fresh past its greatest age, want stale")
	}
}

func TestSampleDrawsWhatWasAskedFor(t *testing.T) {
	table, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		country string
		asn     uint32
	}{{"DE", 0}, {"", 16509}, {"US", 16509}, {"", 0}} {
		addr, ok := table.Sample(rnd, tt.country, tt.asn)
		if !ok {
			t.Errorf("Sample(%q, %d) found nothing", tt.country, tt.asn)
			continue
		}
		p := table.Lookup(addr)
		if tt.country != "" && p.Country != tt.country || tt.asn != 0 && p.ASN != tt.asn || Private(addr) {
			t.Errorf("Sample(%q, %d) = %s, which is %+v", tt.country, tt.asn, addr, p)
		}
	}
	if addr, ok := table.Sample(rnd, "XX", 0); ok {
		t.Errorf("Sample of no country = %s, want none", addr)
	}
}

func TestPrivateAddressesHaveNoPlace(t *testing.T) {
	table, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"10.1.2.3", "172.16.0.1", "192.168.1.1", "127.0.0.1", "::1", "169.254.169.254", "fe80::1%eth0", "fd00:ec2::254",
		"100.64.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", "203.0.113.7", "2001:db8::1", "::ffff:10.0.0.1",
	} {
		addr := netip.MustParseAddr(s)
		if !Private(addr) || table.Lookup(addr) != (Place{}) {
			t.Errorf("%s: private %v, place %+v, want private and no place", s, Private(addr), table.Lookup(addr))
		}
	}
	for _, s := range []string{"8.8.8.8", "100.128.0.1", "2606:4700::1111"} {
		if Private(netip.MustParseAddr(s)) {
			t.Errorf("%s is called private", s)
		}
	}
}

func TestFamily(t *testing.T) {
	for addr, want := range map[string]string{
		"198.51.100.77":        "198.51.100.0/24",
		"::ffff:198.51.100.77": "198.51.100.0/24",
		"2001:db8:1:2::3":      "2001:db8:1::/48",
		"fe80::1%eth0":         "fe80::/48",
	} {
		if got := Family(netip.MustParseAddr(addr)); got != netip.MustParsePrefix(want) {
			t.Errorf("Family(%s) = %s, want %s", addr, got, want)
		}
	}
	if got := Family(netip.Addr{}); got.IsValid() {
		t.Errorf("Family of an invalid address = %s, want none", got)
	}
}

func TestJurisdiction(t *testing.T) {
	for country, want := range map[string]string{
		"DE": "GDPR", "NO": "GDPR", "GB": "UK-GDPR", "CH": "FADP", "BR": "LGPD", "CN": "PIPL", "IN": "DPDP", "JP": "APPI",
		"": "", "XX": "", "de": "",
	} {
		if got := Jurisdiction(country); got != want {
			t.Errorf("Jurisdiction(%q) = %q, want %q", country, got, want)
		}
	}
}

// countries are the 249 codes of ISO 3166-1 alpha-2.
var countries = func() map[string]bool {
	m := map[string]bool{}
	for code := range strings.FieldsSeq(`
		AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
		CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
		GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT
		JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY
		MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM
		PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ
		TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW`) {
		m[code] = true
	}
	return m
}()

func TestRegionsAreSortedAndPlausible(t *testing.T) {
	seen := map[string]string{}
	for provider, table := range regions {
		if !slices.IsSortedFunc(table, func(a, b Region) int { return strings.Compare(a.Code, b.Code) }) {
			t.Errorf("the regions of %s are not sorted by code", provider)
		}
		for _, r := range Regions(provider) {
			if r.Provider != provider || len(r.Country) != 2 || r.City == "" || r.Lon < -180 || r.Lon > 180 || r.Lat < -60 || r.Lat > 70 {
				t.Errorf("implausible region %+v", r)
			}
			if !countries[r.Country] {
				t.Errorf("%q is no country of ISO 3166-1: %+v", r.Country, r)
			}
			if r.Jurisdiction() == "" {
				t.Errorf("no law is known of %+v", r)
			}
			if apart := r.Country == "US" || r.Country == "CA"; apart != (r.Subdivision != "") || apart && r.Subdivision[:2] != r.Country {
				t.Errorf("state or province of %+v", r)
			}
			if other, ok := seen[r.Code]; ok {
				t.Errorf("%s is a region of %s and of %s", r.Code, other, provider)
			}
			seen[r.Code] = provider
		}
	}
}

func TestWhereARegionStands(t *testing.T) {
	for _, tt := range []struct{ provider, code, country, law string }{
		{"aws", "eu-west-1", "IE", "GDPR"},
		{"aws", "eu-west-1a", "IE", "GDPR"},
		{"aws", "us-gov-west-1", "US", "OCPA"},
		{"aws", "us-west-1", "US", "CCPA"},
		{"aws", "us-east-2", "US", "US-STATE"},
		{"aws", "ca-central-1", "CA", "LAW-25"},
		{"gcp", "europe-west10", "DE", "GDPR"},
		{"gcp", "europe-west1-b", "BE", "GDPR"},
		{"gcp", "us-west2-a", "US", "CCPA"},
		{"gcp", "us-central1", "US", "ICDPA"},
		{"gcp", "northamerica-northeast2", "CA", "PIPEDA"},
		{"azure", "westeurope", "NL", "GDPR"},
		{"azure", "West Europe", "NL", "GDPR"},
		{"azure", "westus", "US", "CCPA"},
		{"azure", "westus2", "US", "US-STATE"},
		{"azure", "canadaeast", "CA", "LAW-25"},
		{"azure", "uksouth", "GB", "UK-GDPR"},
		{"azure", "Denmark East", "DK", "GDPR"},
		{"azure", "indiasouthcentral", "IN", "DPDP"},
		{"gcp", "asia-southeast3-a", "TH", "TH-PDPA"},
		{"", "europe-west4", "NL", "GDPR"},
		{"", "eastus", "US", "VCDPA"},
		// What is not in a table is not known, whatever its name looks like.
		{"aws", "", "", ""},
		{"aws", "global", "", ""},
		{"aws", "eu-west-9", "", ""},
		{"aws", "us-east1", "", ""},
		{"gcp", "us-east-1", "", ""},
		{"gcp", "eu", "", ""},
		{"gcp", "europe-west99", "", ""},
		{"azure", "germanysouth", "", ""},
		{"azure", "global", "", ""},
		{"elsewhere", "eu-west-1", "", ""},
		{"", "nowhere1", "", ""},
	} {
		if got := RegionCountry(tt.provider, tt.code); got != tt.country {
			t.Errorf("RegionCountry(%q, %q) = %q, want %q", tt.provider, tt.code, got, tt.country)
		}
		if got := RegionJurisdiction(tt.provider, tt.code); got != tt.law {
			t.Errorf("RegionJurisdiction(%q, %q) = %q, want %q", tt.provider, tt.code, got, tt.law)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	table, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := netip.MustParseAddr("52.95.110.1"), netip.MustParseAddr("2a00:1450:4001::1")
	if n := testing.AllocsPerRun(100, func() { table.Lookup(v4); table.Lookup(v6); Family(v4) }); n != 0 {
		t.Errorf("Lookup allocates %v times, want 0", n)
	}
}

// FuzzDecode feeds bodies past the checksum, where an attacker with the file
// would aim, and looks up whatever was accepted.
func FuzzDecode(f *testing.F) {
	good, err := Compile(small())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := Decode(data)
		if err != nil {
			return
		}
		useAll(table)
	})
}

// FuzzColumns fuzzes what lies inside the compressed frame.
func FuzzColumns(f *testing.F) {
	f.Add([]byte{1, 0, 1, 0, 0, 1, 'Z', 'Z', 1, 0, 0, 1, 24, 1, 1, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		table := &Table{}
		r := &reader{rest: body}
		table.decodeNames(r)
		table.decodePlaces(r)
		table.decodeSegments(r)
		if r.err != nil {
			return
		}
		table.index()
		useAll(table)
	})
}

func useAll(table *Table) {
	n := 0
	for r, p := range table.Networks() {
		if r.To.Is4() {
			b := r.To.As4()
			_ = table.place(table.find4(binary.BigEndian.Uint32(b[:])))
		}
		_ = p.Organization + p.Country // the strings are within bounds
		if n++; n > 100 {
			return
		}
	}
	table.Lookup(netip.MustParseAddr("2600::1"))
}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(embedded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	table, err := Default()
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	var v4, v6 [4096]netip.Addr
	for i := range v4 {
		v4[i] = addr4(1<<24 + rnd.Uint32()>>1)
		v6[i] = addr6(table.v6[rnd.IntN(len(table.v6))], 1)
	}
	for name, addrs := range map[string]*[4096]netip.Addr{"v4": &v4, "v6": &v6} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				table.Lookup(addrs[i&4095])
				i++
			}
		})
	}
}

func ExampleTable_Lookup() {
	table, err := Default()
	if err != nil {
		fmt.Println(err)
		return
	}
	place := table.Lookup(netip.MustParseAddr("8.8.8.8"))
	fmt.Println(place.Country, place.ASN, Jurisdiction("IE"), RegionCountry("aws", "eu-west-1"))
	// Output: US 15169 GDPR IE
}
