package request_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/request"
)

func shape(t *testing.T, policy string) *request.Shape {
	t.Helper()
	s, _ := seen(t, policy)
	return s
}

// seen also returns what its policies use.
func seen(t *testing.T, policy string, zones ...clause.Zone) (_ *request.Shape, uses request.Attr) {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes("x.cedar", []byte(policy))
	if err != nil {
		t.Fatal(err)
	}
	var sights []*request.Sight
	for _, p := range list {
		s := request.SightOf((*ast.Policy)(p.AST()))
		sights = append(sights, &s)
		uses |= s.Uses
	}
	return request.NewShape(sights, zones), uses
}

func question() *nhi.Question {
	q := &nhi.Question{Action: nhi.Read, Resource: "r1", Address: netip.MustParseAddr("192.0.2.1")}
	q.Subject.Identity, q.Subject.Credential = "nhi_1", "crd_1"
	q.Known = nhi.Known{Kind: nhi.KindWorkload, Risk: 3, Country: "DE", IdentityEnvironment: nhi.Environment{Name: "prod"}}
	return q
}

func key(s *request.Shape, edit func(*nhi.Question)) request.Key {
	q := question()
	if edit != nil {
		edit(q)
	}
	action, _ := request.ActionIndex(q.Action)
	var r request.Request
	r.Ask(s, q, action)
	return *r.Key()
}

func TestAKeyHoldsWhatPoliciesCanNotice(t *testing.T) {
	other := func(q *nhi.Question) { q.Subject.Identity = "nhi_2" }
	elsewhere := func(q *nhi.Question) { q.Resource = "r2" }
	for _, tt := range []struct {
		name, policy string
		edit         func(*nhi.Question)
		same         bool
	}{
		{"an identity that nobody mentions", `permit (principal, action, resource);`, other, true},
		{"an identity that the head names", `permit (principal in Identity::"nhi_1", action, resource);`, other, false},
		{"an identity that a condition names", `permit (principal, action, resource) when { principal in [Identity::"nhi_2", Identity::"nhi_3"] };`, other, false},
		{"an identity where others are named", `permit (principal in Identity::"nhi_9", action, resource);`, other, true},
		{"an identity where the other side is computed", `permit (principal, action, resource) when { principal in (if context.newAction then principal else resource) };`, other, false},
		{"a resource that nobody mentions", `permit (principal, action, resource);`, elsewhere, true},
		{"a resource that a condition names", `permit (principal, action, resource) when { [Resource::"r2"].contains(resource) };`, elsewhere, false},
		{"a credential that nobody mentions", `permit (principal, action, resource) when { context.credential.state == "active" };`, func(q *nhi.Question) { q.Subject.Credential = "crd_2" }, true},
		{"a credential that is named", `permit (principal, action, resource) when { context.credential == Credential::"crd_2" };`, func(q *nhi.Question) { q.Subject.Credential = "crd_2" }, false},
		{"an environment that is named", `permit (principal in Environment::"prod", action, resource);`, func(q *nhi.Question) { q.Known.IdentityEnvironment.Name = "test" }, false},
		{"another kind", `permit (principal, action, resource);`, func(q *nhi.Question) { q.Known.Kind = nhi.KindRole }, false},
		{"another action", `permit (principal, action, resource);`, func(q *nhi.Question) { q.Action = nhi.Write }, false},
		{"an attribute that nobody reads", `permit (principal, action, resource);`, func(q *nhi.Question) { q.Known.Risk = 4 }, true},
		{"an attribute that is read", `permit (principal, action, resource) when { principal.owned };`, func(q *nhi.Question) { q.Known.Owned = true }, false},
		{"a number on the same side of every limit", `permit (principal, action, resource) when { principal.risk < 9 || 90 <= principal.risk };`, func(q *nhi.Question) { q.Known.Risk = 8 }, true},
		{"a number on its limit", `permit (principal, action, resource) when { principal.risk < 9 };`, func(q *nhi.Question) { q.Known.Risk = 9 }, false},
		{"a number that is asked for", `permit (principal, action, resource) when { principal.risk == 4 };`, func(q *nhi.Question) { q.Known.Risk = 4 }, false},
		{"a number beyond the other limit", `permit (principal, action, resource) when { 90 <= principal.risk || principal.risk < 9 };`, func(q *nhi.Question) { q.Known.Risk = 91 }, false},
		{"a number that is reckoned with", `permit (principal, action, resource) when { principal.risk < 9 && principal.risk + 1 < 20 };`, func(q *nhi.Question) { q.Known.Risk = 4 }, false},
		{"a number that is compared with another", `permit (principal, action, resource) when { context.surprise < 9 && principal.risk < context.surprise };`, func(q *nhi.Question) { q.Known.Surprise = 4 }, false},
		{"a number that is taken by another way", `permit (principal, action, resource) when { context.rate < 9 && [1, 2].contains(context.rate) };`, func(q *nhi.Question) { q.Known.RateHundreds = 4 }, false},
		{"a number in a whole context", `permit (principal, action, resource) when { context.rate < 9 && [context].contains(context) };`, func(q *nhi.Question) { q.Known.RateHundreds = 4 }, false},
		{"an attribute of a whole context", `permit (principal, action, resource) when { [context].contains(context) };`, func(q *nhi.Question) { q.Known.Country = "US" }, false},
		{"an address", `permit (principal, action, resource) when { context has address };`, func(q *nhi.Question) { q.Address = netip.MustParseAddr("192.0.2.2") }, false},
		{"no address", `permit (principal, action, resource) when { context has address };`, func(q *nhi.Question) { q.Address = netip.Addr{} }, false},
		{"the same address in IPv6", `permit (principal, action, resource) when { context has address };`, func(q *nhi.Question) { q.Address = netip.MustParseAddr("::ffff:192.0.2.1") }, true},
	} {
		s := shape(t, tt.policy)
		if same := key(s, nil) == key(s, tt.edit); same != tt.same {
			t.Errorf("%s: the same key: %v, want %v", tt.name, same, tt.same)
		}
	}
}

// TestTimeIsSharedAsFarAsPoliciesCanTell: two requests share a ruling if their
// keys are one and nothing is seen that keys do not hold.
func TestTimeIsSharedAsFarAsPoliciesCanTell(t *testing.T) {
	const head = "permit (principal, action, resource) when { "
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	attested := func(age time.Duration, a nhi.Attestation) func(*nhi.Question) {
		return func(q *nhi.Question) {
			a.At = q.At.Add(-age)
			q.Known.Attestation = &a
		}
	}
	later := func(by time.Duration) func(*nhi.Question) {
		return func(q *nhi.Question) { q.At = q.At.Add(by) }
	}
	actors := func(ids ...nhi.ID) func(*nhi.Question) {
		return func(q *nhi.Question) { q.Subject.Actors = ids }
	}
	plain := attested(0, nhi.Attestation{})
	for _, tt := range []struct {
		name, policy string
		one, other   func(*nhi.Question)
		same         bool
	}{
		{"a time after the limit", `context.now >= datetime("2026-11-22T12:00:00Z")`, later(time.Minute), later(time.Hour), true},
		{"a time on the limit", `context.now > datetime("2026-11-22T12:00:00Z")`, nil, later(time.Millisecond), false},
		{"a time before the limit", `datetime("2026-11-22T12:00:00Z") <= context.now`, nil, later(-time.Millisecond), false},
		{"a limit between milliseconds of a second", `context.now < datetime("2026-11-22T12:00:00.500Z")`, later(499 * time.Millisecond), later(501 * time.Millisecond), false},
		{"two limits", `context.now < datetime("2026-11-23") || context.now > datetime("2026-11-24")`, nil, later(24 * time.Hour), false},
		{"a time of day", `context.now.toTime() < duration("12h")`, nil, nil, false},
		{"a time that is compared and more", `context.now < datetime("2026-11-23") && [context.now].contains(context.now)`, nil, nil, false},
		{"a time with a limit that is computed", `context.now < datetime(context.method)`, nil, nil, false},
		{"a time with a limit that is moved", `context.now < datetime("2026-11-22T12:00:00Z").offset(duration("1h"))`, nil, nil, false},
		{"a time with a limit of another type", `context.now == 3`, nil, nil, false},
		{"the minute of a zone", `context.zones["Europe/Berlin"].minute < 3`, nil, later(59 * time.Second), true},
		{"the next minute of a zone", `context.zones["Europe/Berlin"].minute < 3`, later(59 * time.Second), later(time.Minute), false},
		{"the minute of another day", `context.zones["Europe/Berlin"].weekday < 3`, nil, later(24 * time.Hour), false},
		{"the minute of another week", `context.zones["Europe/Berlin"].date == "2026-11-22"`, nil, later(7 * 24 * time.Hour), false},
		{"an hour that clocks show twice", `context.zones["Europe/Berlin"].minute == 150`, func(q *nhi.Question) { q.At = time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC) },
			func(q *nhi.Question) { q.At = time.Date(2026, 10, 25, 1, 30, 0, 0, time.UTC) }, true},
		{"a minute before 1970", `context.zones["Europe/Berlin"].minute < 3`, func(q *nhi.Question) { q.At = time.Unix(-3600-30, 0) }, func(q *nhi.Question) { q.At = time.Unix(-3600+30, 0) }, false},
		{"an age below the limit", `context.attestation.age <= 60`, attested(time.Second, nhi.Attestation{}), attested(59*time.Second, nhi.Attestation{}), true},
		{"an age above the limit", `context.attestation.age <= 60`, attested(60*time.Second, nhi.Attestation{}), attested(61*time.Second, nhi.Attestation{}), false},
		{"a second that has begun", `context.attestation.age <= 60`, attested(60*time.Second, nhi.Attestation{}), attested(60*time.Second+1, nhi.Attestation{}), false},
		{"an age that is reckoned with", `context.attestation.age + 1 <= 60`, plain, plain, false},
		{"an age that is compared and more", `context.attestation.age < 9 && {age: context.attestation.age}.age < 60`, plain, plain, false},
		{"a whole attestation", `[context.attestation].contains(context.attestation)`, plain, plain, false},
		{"an attestation that is chosen", `(if context.newAction then context.attestation else context.attestation).level > 2`, plain, plain, false},
		{"selectors", `context.attestation.selectors.isEmpty()`, plain, plain, false},
		{"whether there are selectors", `context.attestation has selectors`, plain, plain, false},
		{"no attestation", `context has attestation`, nil, plain, false},
		{"no attestation twice", `context.attestation.selectors.isEmpty()`, nil, nil, true},
		{"a level", `context.attestation.level > 2`, attested(0, nhi.Attestation{Level: 2}), attested(0, nhi.Attestation{Level: 3}), false},
		{"a method", `context.attestation.method == "a"`, attested(0, nhi.Attestation{Method: "a"}), attested(0, nhi.Attestation{Method: "b"}), false},
		{"selectors that nobody reads", `context.attestation.level > 2`, plain, attested(0, nhi.Attestation{Selectors: []string{"a"}}), true},
		{"a device", `context.device.id == "a"`, attested(0, nhi.Attestation{Device: nhi.Device{ID: "a"}}), attested(0, nhi.Attestation{Device: nhi.Device{ID: "b"}}), false},
		{"no device", `context has device`, plain, attested(0, nhi.Attestation{Device: nhi.Device{ID: "b"}}), false},
		{"a device that nobody reads", `context.attestation.level > 2`, plain, attested(0, nhi.Attestation{Device: nhi.Device{ID: "b"}}), true},
		{"how deep a delegation is", `context.delegation.depth < 2`, nil, actors("a"), false},
		{"who stands between", `context.delegation.depth < 2`, actors("a"), actors("b"), true},
		{"who stands between, which somebody reads", `context.delegation.actors.isEmpty()`, actors("a"), actors("a"), false},
		{"nobody stands between", `context.delegation.actors.isEmpty()`, nil, nil, true},
		{"a whole delegation", `[context.delegation].contains(context.delegation)`, actors("a"), actors("a"), false},
		{"an approval", `context has approval`, func(q *nhi.Question) { q.Known.Approval = &nhi.Approval{} }, nil, false},
		{"no approval", `context has approval`, nil, nil, true},
		{"all of it", `[context].contains(context)`, nil, nil, false},
	} {
		s, uses := seen(t, head+tt.policy+" };", clause.Zone{Name: "Europe/Berlin", At: berlin})
		keys, told := [2]request.Key{}, false
		for i, edit := range []func(*nhi.Question){tt.one, tt.other} {
			q := question()
			q.At = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			if edit != nil {
				edit(q)
			}
			var r request.Request
			r.Ask(s, q, 0)
			keys[i], told = *r.Key(), told || uses&r.Fleeting() != 0
		}
		if same := keys[0] == keys[1] && !told; same != tt.same {
			t.Errorf("%s: they share a ruling: %v, want %v", tt.name, same, tt.same)
		}
	}
}

// TestMoreZonesThanAKeyHolds are not forgotten.
func TestMoreZonesThanAKeyHolds(t *testing.T) {
	zones := make([]clause.Zone, 5)
	for i := range zones {
		zones[i] = clause.Zone{Name: types.String("z" + string(rune('0'+i))), At: time.FixedZone("", i*3600)}
	}
	s, uses := seen(t, `permit (principal, action, resource) when { context.zones["z4"].minute < 3 };`, zones...)
	var r request.Request
	r.Ask(s, question(), 0)
	if uses&r.Fleeting() == 0 {
		t.Error("a fifth zone is in no key, and nobody says so")
	}
}

// TestAnEmptyNameIsNotNone: an identity without a name that a policy mentions
// is not one that nobody mentions.
func TestAnEmptyNameIsNotNone(t *testing.T) {
	s := shape(t, `forbid (principal in Identity::"", action, resource == Resource::"");`)
	for _, edit := range []func(*nhi.Question){func(q *nhi.Question) { q.Subject.Identity = "" }, func(q *nhi.Question) { q.Resource = "" }} {
		if key(s, nil) == key(s, edit) {
			t.Error("they share a key")
		}
	}
}

func TestOnlyWhatWasPresentedIsKnown(t *testing.T) {
	var r request.Request
	r.Ask(shape(t, `permit (principal, action, resource) when { context.credential == Credential::"crd_1" };`), question(), 0)
	if _, ok := r.Get(r.Credential); !ok || r.Credential.ID != "crd_1" {
		t.Errorf("%s, known: %v", r.Credential, ok)
	}
	for _, uid := range []types.EntityUID{types.NewEntityUID(request.TypeCredential, "crd_2"), types.NewEntityUID(request.TypeIdentity, "nhi_1"), {}} {
		if _, ok := r.Get(uid); ok {
			t.Errorf("%s is known", uid)
		}
	}
}

func TestAMemoGivesWhatWasKept(t *testing.T) {
	m := request.NewMemo[int, string](2)
	for k := range 8 {
		m.Keep(&k, "of "+string(rune('a'+k)))
		if got, ok := m.Look(&k); !ok || got != "of "+string(rune('a'+k)) {
			t.Errorf("%d: %q %v", k, got, ok)
		}
	}
	found := 0
	for k := range 8 {
		if got, ok := m.Look(&k); ok {
			found++
			if got != "of "+string(rune('a'+k)) {
				t.Errorf("%d: %q", k, got)
			}
		}
	}
	if found == 0 || found > 2 {
		t.Errorf("%d of 8 are remembered in 2 slots", found)
	}
}
