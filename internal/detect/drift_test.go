package detect

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/surprise"
	"github.com/muster-id/muster/internal/useragent"
)

// These tests let identities live for months, by a calendar and a seed, and
// count what people would have been told. They know nothing of any data set.

// A fleet is a detector with the pages of the identities that it watches,
// taught as the baseline teaches them.
type fleet struct {
	d        *Detector
	pages    map[nhi.ID]*surprise.Page
	withheld map[string]int // what scored high, by how many days it came back
	n        int
}

func newFleet(inv Inventory) *fleet {
	return &fleet{
		d: New(Settings{}, inv, ExplainFunc(explainPlainly)), pages: map[nhi.ID]*surprise.Page{}, withheld: map[string]int{},
	}
}

// explainPlainly names what was seen; what is usual is the page's business.
func explainPlainly(ev *nhi.Event, score *surprise.Score) []nhi.Feature {
	var out []nhi.Feature
	for _, f := range score.Top(5) {
		out = append(out, nhi.Feature{Name: f.String(), Seen: seen(ev, f.String())})
	}
	return out
}

// placeOf gives every /8 a country and every /16 a system of its own.
func placeOf(a netip.Addr) geo.Place {
	b := a.As4()
	return geo.Place{Country: string([]byte{'A' + b[0]%26, 'A' + b[0]/26}), ASN: uint32(b[0])<<8 | uint32(b[1])}
}

// observe scores, judges and learns one event.
func (f *fleet) observe(ev *nhi.Event) []nhi.Finding {
	f.n++
	ev.ID = fmt.Sprint("e", f.n)
	call := surprise.Call{
		At: ev.Time, Address: ev.Address, Agent: useragent.Family(ev.Agent), Service: ev.Service, Operation: ev.Operation,
		Class: string(ev.Class), Region: ev.Region, Denied: ev.Status == nhi.Failure,
	}
	if ev.Address.IsValid() {
		call.Place = placeOf(ev.Address)
	}
	page := f.pages[ev.Identity]
	if page == nil {
		page = &surprise.Page{}
		f.pages[ev.Identity] = page
	}
	o := call.Observation()
	score := page.Score(o, nil)
	v := f.d.Observe(ev, &score)
	if ev.Status == nhi.Failure {
		return v.Findings
	}
	if score.Tenths < 130 {
		page.Learn(o)
		return v.Findings
	}
	// What comes back on three days is normal after all.
	key := fmt.Sprint(ev.Identity, ev.Address, ev.Operation, ev.Time.Unix()/86400)
	if f.withheld[key]++; f.withheld[key] == 1 {
		all := fmt.Sprint(ev.Identity, ev.Address, ev.Operation)
		f.withheld[all]++
		if f.withheld[all] >= 3 {
			page.Learn(o)
			return v.Findings
		}
	}
	page.Touch(o.At)
	return v.Findings
}

var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) // a Monday

// A habit makes the events of one identity in one hour of its life.
type habit struct {
	name  string
	born  int // day of the first activity
	plays func(p *player, hour int, at time.Time)
}

// A player plays one identity.
type player struct {
	r    *rand.Rand
	id   nhi.ID
	cred nhi.CredentialID
	home netip.Addr
	emit func(nhi.Event)
}

func (p *player) event(at time.Time, op string, class nhi.ActionClass) nhi.Event {
	return nhi.Event{
		Time: at, Provider: "aws", Account: "111122223333", Region: "eu-west-1", Service: "s3.amazonaws.com", Operation: op, Class: class,
		Address: p.home, Agent: "aws-sdk-go-v2/1.30.0", Status: nhi.Success, Identity: p.id, Credential: p.cred,
		Resource: "arn:aws:s3:::data", Principal: nhi.Principal{Type: "IAMUser", Native: string(p.id), Name: "service", KeyID: "AKIAEXAMPLE"},
	}
}

// calls emits n ordinary calls of an hour, out of the first ops actions.
func (p *player) calls(at time.Time, n, ops int, change func(*nhi.Event)) {
	for i := range n {
		k := p.r.IntN(ops)
		ev := p.event(at.Add(time.Duration(i)*3599*time.Second/time.Duration(n)), fmt.Sprint("Get", k), nhi.Read)
		if k == 0 {
			ev.Operation, ev.Class = "PutObject", nhi.Write
		}
		ev.Resource = fmt.Sprint("arn:aws:s3:::data-", p.r.IntN(ops))
		if change != nil {
			change(&ev)
		}
		p.emit(ev)
	}
}

func (p *player) near(i int) netip.Addr {
	b := p.home.As4()
	return netip.AddrFrom4([4]byte{b[0], b[1], byte(i), byte(1 + p.r.IntN(250))})
}

func office(at time.Time) bool {
	return at.Weekday() != time.Saturday && at.Weekday() != time.Sunday && at.Hour() >= 8 && at.Hour() < 18
}

var benign = []habit{
	{"a steady service", 0, func(p *player, h int, at time.Time) { p.calls(at, 3+p.r.IntN(3), 5, nil) }},
	{"a job every Sunday", 0, func(p *player, h int, at time.Time) {
		if at.Weekday() == time.Sunday && at.Hour() == 3 {
			p.calls(at, 80+p.r.IntN(40), 12, nil)
		} else if at.Hour() == 12 {
			p.calls(at, 2, 2, nil)
		}
	}},
	{"a service that ships every ten days", 0, func(p *player, h int, at time.Time) {
		version, since := h/240, h%240
		n := 4
		if since < 2 {
			n = 12 // smoke tests
		}
		p.calls(at, n, 5, func(ev *nhi.Event) {
			ev.Agent = fmt.Sprintf("aws-sdk-go-v2/1.30.%d", version)
			if version > 0 && p.r.IntN(4) == 0 {
				ev.Operation = fmt.Sprintf("Get%dFeature%d", version, p.r.IntN(2))
			}
		})
	}},
	{"a service that scales out", 0, func(p *player, h int, at time.Time) {
		p.calls(at, 4, 5, func(ev *nhi.Event) { ev.Address = p.near(h/3 + p.r.IntN(4)) })
	}},
	{"a key used in office hours", 0, func(p *player, h int, at time.Time) {
		if office(at) && p.r.IntN(3) == 0 {
			p.calls(at, 1+p.r.IntN(3), 4, nil)
		}
	}},
	{"a service that rotates its keys", 0, func(p *player, h int, at time.Time) {
		p.cred = nhi.CredentialID(fmt.Sprint("crd_", p.id, h/(24*14)))
		p.calls(at, 3, 5, nil)
	}},
	{"a service with a call that is always refused", 0, func(p *player, h int, at time.Time) {
		p.calls(at, 3, 5, nil)
		if h > 24*70 || h%2 == 0 {
			ev := p.event(at.Add(time.Minute), "GetBucketTagging", nhi.Read)
			ev.Status, ev.Error = nhi.Failure, "AccessDenied"
			p.emit(ev)
		}
	}},
	{"a nightly batch", 0, func(p *player, h int, at time.Time) {
		if at.Hour() == 2 {
			p.calls(at, 60+p.r.IntN(30), 8, nil)
		}
	}},
	{"a service that fails over for six hours", 0, func(p *player, h int, at time.Time) {
		p.calls(at, 4, 5, func(ev *nhi.Event) {
			if h >= 24*75 && h < 24*75+6 {
				b := p.home.As4()
				ev.Address, ev.Region = netip.AddrFrom4([4]byte{b[0], b[1], 200, 1}), "eu-central-1"
			}
		})
	}},
	{"a service born late", 70, func(p *player, h int, at time.Time) { p.calls(at, 4, 6, nil) }},
	{"a role for automation that is born late", 75, func(p *player, h int, at time.Time) {
		p.calls(at, 2, 4, func(ev *nhi.Event) {
			if p.r.IntN(10) == 0 {
				ev.Service, ev.Operation, ev.Class = "iam.amazonaws.com", "AttachRolePolicy", nhi.Admin
			}
		})
	}},
	{"a job that runs every quarter", 0, func(p *player, h int, at time.Time) {
		if d := h / 24 % 30; d == 2 && at.Hour() < 3 {
			p.calls(at, 40, 6, nil)
		}
	}},
}

const (
	historyDays = 60 // before judgement
	judgedDays  = 30
)

// live plays each habit copies times and returns the players and the findings
// of the judged month by identity.
func live(f *fleet, seed uint64, copies int) ([]*player, map[nhi.ID][]nhi.Finding) {
	last := map[nhi.ID]map[string]nhi.Finding{}
	judging := false
	note := func(found []nhi.Finding) {
		for _, x := range found {
			if !judging {
				continue
			}
			if last[x.Identity] == nil {
				last[x.Identity] = map[string]nhi.Finding{}
			}
			last[x.Identity][x.ID] = x
		}
	}
	var players []*player
	var batch []nhi.Event
	for i := range copies * len(benign) {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		id := nhi.ID(fmt.Sprint("nhi_", benign[i%len(benign)].name, i/len(benign)))
		players = append(players, &player{
			r: r, id: id, cred: nhi.CredentialID("crd_" + id), home: netip.AddrFrom4([4]byte{54, byte(r.IntN(3)), byte(r.IntN(100)), 10}),
			emit: func(ev nhi.Event) { batch = append(batch, ev) },
		})
	}
	for h := range 24 * (historyDays + judgedDays) {
		at := start.Add(time.Duration(h) * time.Hour)
		judging = h >= 24*historyDays
		batch = batch[:0]
		for i, p := range players {
			if b := benign[i%len(benign)]; h >= 24*b.born {
				b.plays(p, h, at)
			}
		}
		slices.SortStableFunc(batch, func(a, b nhi.Event) int { return a.Time.Compare(b.Time) })
		for i := range batch {
			note(f.observe(&batch[i]))
		}
	}
	note(f.d.Flush())
	out := map[nhi.ID][]nhi.Finding{}
	for id, found := range last {
		for _, x := range found {
			out[id] = append(out[id], x)
		}
		slices.SortFunc(out[id], func(a, b nhi.Finding) int { return a.FirstSeen.Compare(b.FirstSeen) })
	}
	return players, out
}

func TestDriftStaysQuiet(t *testing.T) {
	copies, seeds := 3, uint64(2)
	if testing.Short() || raced {
		copies, seeds = 1, 1
	}
	total := 0
	for seed := range seeds {
		inv := known{identity: IdentityFacts{Name: "service"}, credential: CredentialFacts{State: nhi.CredentialActive}}
		_, told := live(newFleet(inv), seed, copies)
		for id, found := range told {
			total += len(found)
			if len(found) > 1 {
				t.Errorf("seed %d, %s: %d findings in a month", seed, id, len(found))
			}
			for _, x := range found {
				t.Logf("seed %d, %s: %s %s %.1f %s %s", seed, id, x.FirstSeen.Format(time.DateTime), x.Rule, x.Score, x.Severity, x.Sentence)
			}
		}
	}
	identities := int(seeds) * copies * len(benign)
	t.Logf("%d findings in %d identity-months", total, identities)
	if total*5 > max(identities, 5) {
		t.Errorf("%d findings in %d identity-months of ordinary drift; one in five is too many", total, identities)
	}
}
