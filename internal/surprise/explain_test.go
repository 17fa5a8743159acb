package surprise

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/geo"
)

type dictionary map[uint64]string

func (d dictionary) Name(hash uint64) string { return d[hash] }

func TestExplainPutsTheUsualBesideTheUnusual(t *testing.T) {
	p, o := settled()
	o.Network, o.ASN, o.Country = 7, 7, Hash("RO")
	o.Agent = Hash("curl")
	s := p.Score(o, nil)
	call := &Call{Address: netip.MustParseAddr("9.9.9.9"), Place: geo.Place{Country: "RO"}, Agent: "curl"}
	names := dictionary{Hash("IE"): "IE", Hash("boto3"): "boto3"}
	got := p.Explain(&s, call, names, 2)
	want := []Reason{
		{Feature: Country, Usual: "IE", Seen: "RO", New: true, Bits: got[0].Bits},
		{Feature: Agent, Usual: "boto3", Seen: "curl", New: true, Bits: got[1].Bits},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reasons (-want +got):\n%s", diff)
	}
	without := p.Explain(&s, nil, nil, 1)
	if want := named(Hash("RO"), nil); without[0].Seen != want {
		t.Errorf("without names the country is %q, want %q", without[0].Seen, want)
	}
	if got := (*Page)(nil).Explain(&s, call, nil, 1); got[0].Usual != "nothing known yet" {
		t.Errorf("the usual of no page is %q", got[0].Usual)
	}
}

func TestExplainTellsHoursAndRates(t *testing.T) {
	p := raise(quiet, rand.New(rand.NewPCG(1, 1)))
	o := lastCall(quiet, rand.New(rand.NewPCG(1, 1)))
	o.At = monday.AddDate(0, 0, 33).Add(3 * 3600e9).UnixMicro()
	for range 100 {
		p.Touch(o.At)
	}
	o.Denied = true
	s := p.Score(o, nil)
	reasons := p.Explain(&s, nil, nil, 10)
	text := map[Feature][2]string{}
	for _, r := range reasons {
		text[r.Feature] = [2]string{r.Usual, r.Seen}
	}
	if got := text[Hour]; got[0] != "Mon-Fri 08:00-18:59 UTC" || got[1] != "Saturday 03:00 UTC" {
		t.Errorf("hour: %q", got)
	}
	if got := text[Denied]; got != [2]string{"not refused", "refused"} {
		t.Errorf("denied: %q", got)
	}
	if got := text[Rate]; got[1] != "14 calls a minute" || got[0] == "" {
		t.Errorf("rate: %q", got)
	}
	if got := hoursText([]int{0, 24, 48}); got != "Mon-Wed 00:00-00:59 UTC" {
		t.Errorf("hoursText = %q", got)
	}
	if got := hoursText(make([]int, 160)); got != "at any hour" {
		t.Errorf("hoursText = %q", got)
	}
}

func TestTextAndHashBelongTogether(t *testing.T) {
	c := Call{
		Address: netip.MustParseAddr("52.95.110.1"), Place: geo.Place{Country: "IE", ASN: 16509, Organization: "Amazon.com, Inc."},
		Agent: "boto3", Service: "payments/api", Operation: "read", Class: "read", Region: "eu-west-1",
	}
	want := []string{"52.95.110.0/24", "AS16509 Amazon.com, Inc.", "IE", "boto3", "payments/api read", "read", "eu-west-1", "", "", ""}
	o, none := c.Observation(), Call{}
	for f := range Feature(Features) {
		if got := c.Text(f); got != want[f] {
			t.Errorf("Text(%v) = %q, want %q", f, got, want[f])
		}
		if (c.Text(f) != "") != (o.Value(f) != 0) || none.Text(f) != "" {
			t.Errorf("%v: text and value disagree about whether it is there", f)
		}
	}
	c.Place = geo.Place{}
	if got := c.Text(ASN); got != "an unannounced network" {
		t.Errorf("Text(ASN) = %q", got)
	}
	c.Address = netip.MustParseAddr("10.0.0.1")
	if got := c.Text(ASN); got != "a private network" {
		t.Errorf("Text(ASN) = %q", got)
	}
}
