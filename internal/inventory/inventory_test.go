package inventory

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func randomTime(r *rand.Rand) time.Time {
	return pick(r, time.Time{}, start.Add(time.Duration(r.IntN(48))*time.Hour))
}

func randomIdentity(r *rand.Rand) nhi.Identity {
	return nhi.Identity{
		ID: "nhi_x", Provider: "aws", Native: "AIDA1", Shadow: r.IntN(2) == 0,
		Kind: pick(r, nhi.KindUnknown, nhi.KindUser, nhi.KindRole), Name: pick(r, "", "a", "b"), Path: pick(r, "", "p", "q"),
		Purpose: pick(r, "", "x"), State: pick(r, "", nhi.Active), Labels: pick(r, nil, map[string]string{}, map[string]string{"k": "v"}),
		Created: randomTime(r), FirstSeen: randomTime(r), LastSeen: randomTime(r), Attestable: r.IntN(4) == 0,
	}
}

func TestMergingIsRepeatableAndNeverForgets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		a, b := randomIdentity(r), randomIdentity(r)
		first, _ := MergeIdentity(nil, a)
		merged, changed := MergeIdentity(&first, b)
		if changed == SameIdentity(first, merged) {
			t.Fatalf("changed = %v, from %+v to %+v", changed, first, merged)
		}
		if again, changed := MergeIdentity(&merged, b); changed {
			t.Fatalf("the same again changed:\n%s", cmp.Diff(merged, again))
		}
		if b.LastSeen.After(merged.LastSeen) || (!b.FirstSeen.IsZero() && merged.FirstSeen.After(b.FirstSeen)) {
			t.Fatalf("merge of %+v and %+v lost a time: %+v", a, b, merged)
		}
		if (a.Name != "" && merged.Name == "") || (b.Name != "" && merged.Name == "") || (merged.Shadow && (!a.Shadow || !b.Shadow)) {
			t.Fatalf("merge of %+v and %+v forgot: %+v", a, b, merged)
		}
		if !a.Shadow && b.Shadow && a.Name != "" && merged.Name != a.Name {
			t.Fatalf("a guess overrode what a connector read: %+v", merged)
		}
	}
}

func TestFactsMergeTheSameInAnyOrder(t *testing.T) {
	// Times, use and being known do not depend on who came first.
	facts := func(i nhi.Identity) [5]any {
		return [5]any{i.FirstSeen, i.LastSeen, i.Created, i.Shadow, i.Attestable}
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		seen := []nhi.Identity{randomIdentity(r), randomIdentity(r), randomIdentity(r)}
		fold := func() [5]any {
			m, _ := MergeIdentity(nil, seen[0])
			for _, s := range seen[1:] {
				m, _ = MergeIdentity(&m, s)
			}
			return facts(m)
		}
		want := fold()
		r.Shuffle(len(seen), func(i, j int) { seen[i], seen[j] = seen[j], seen[i] })
		if diff := cmp.Diff(want, fold()); diff != "" {
			t.Fatalf("order matters:\n%s", diff)
		}
	}
}

func TestNoObservationUndoesWhatMusterDecided(t *testing.T) {
	for _, tt := range []struct {
		state, want nhi.State
	}{
		{nhi.Quarantined, nhi.Quarantined}, {nhi.Deprecated, nhi.Deprecated}, {nhi.Dormant, nhi.Dormant},
		{nhi.Retired, nhi.Active}, {nhi.Active, nhi.Active},
	} {
		old := nhi.Identity{ID: "nhi_x", State: tt.state, Risk: 90, Environment: nhi.Environment{Name: "prod", Class: nhi.Production}, Owner: nhi.Owner{Ref: "a@x.example"}}
		got, _ := MergeIdentity(&old, nhi.Identity{ID: "nhi_x", State: nhi.Active, Environment: nhi.Environment{Name: "dev", Class: nhi.Nonproduction}})
		if got.State != tt.want || got.Risk != 90 || got.Environment.Name != "prod" || got.Owner.Ref != "a@x.example" {
			t.Errorf("%s became %+v, want %s and the rest kept", tt.state, got, tt.want)
		}
		if shadow, _ := MergeIdentity(&old, nhi.Identity{ID: "nhi_x", Shadow: true}); shadow.State != tt.state {
			t.Errorf("a log moved %s to %s", tt.state, shadow.State)
		}
	}
	c := nhi.Credential{ID: "crd_x", State: nhi.CredentialRevoked, Reason: "leak", Consumer: "nhi_c", Verifier: []byte{1}, Fingerprint: "f1:x"}
	got, _ := MergeCredential(&c, nhi.Credential{ID: "crd_x", State: nhi.CredentialActive, Native: "Active", Reason: "none", Consumer: "nhi_thief"})
	c.Native = "Active"
	if !SameCredential(c, got) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(c, got))
	}
}

// A field that is missing in the comparison would silently stop its changes
// from reaching decisions.
func TestEveryFieldCountsInComparisons(t *testing.T) {
	differ := func(v reflect.Value, same func() bool) {
		for n := range v.NumField() {
			f := v.Field(n)
			before := reflect.New(f.Type()).Elem()
			before.Set(f)
			switch f.Interface().(type) {
			case time.Time:
				f.Set(reflect.ValueOf(start))
			case map[string]string:
				f.Set(reflect.ValueOf(map[string]string{"k": "v"}))
			case []byte:
				f.Set(reflect.ValueOf([]byte{1}))
			case nhi.Environment:
				f.Set(reflect.ValueOf(nhi.Environment{Name: "n"}))
			case nhi.Owner:
				f.Set(reflect.ValueOf(nhi.Owner{Ref: "r"}))
			default:
				switch f.Kind() {
				case reflect.String:
					f.SetString("other")
				case reflect.Bool:
					f.SetBool(true)
				case reflect.Int:
					f.SetInt(7)
				default:
					t.Fatalf("field %s of an unexpected type", v.Type().Field(n).Name)
				}
			}
			if same() {
				t.Errorf("%s.%s is not compared", v.Type(), v.Type().Field(n).Name)
			}
			f.Set(before)
		}
	}
	var i nhi.Identity
	differ(reflect.ValueOf(&i).Elem(), func() bool { return SameIdentity(nhi.Identity{}, i) })
	var c nhi.Credential
	differ(reflect.ValueOf(&c).Elem(), func() bool { return SameCredential(nhi.Credential{}, c) })
}

func TestUseIsToldOnceAnHour(t *testing.T) {
	old := nhi.Identity{ID: "nhi_x", LastSeen: start.Add(time.Minute)}
	for at, want := range map[time.Duration]bool{2 * time.Minute: false, 59 * time.Minute: false, time.Hour: true} {
		next := old
		next.LastSeen = start.Add(at)
		if got := announceIdentity(&old, next); got != want {
			t.Errorf("use %v after the hour began is told: %v, want %v", at, got, want)
		}
	}
	next := old
	next.LastSeen, next.Risk = start.Add(2*time.Minute), 50
	if !announceIdentity(&old, next) || !announceIdentity(nil, next) {
		t.Error("a change of risk, or a new identity, is not told")
	}
}

func evidence(source, owner string, age time.Duration) nhi.OwnerEvidence {
	return nhi.OwnerEvidence{Identity: "nhi_x", Source: source, Owner: owner, At: start.Add(-age)}
}

func TestOwnersAreDecidedByEvidence(t *testing.T) {
	tags := DefaultSettings().OwnerTags
	for _, tt := range []struct {
		name     string
		evidence []nhi.OwnerEvidence
		want     nhi.Owner
	}{
		{"nothing", nil, nhi.Owner{}},
		{"one tag", []nhi.OwnerEvidence{evidence("tag:owner", "a@x", 0)}, nhi.Owner{Ref: "a@x", Confidence: 0.5, Source: "tag:owner"}},
		{"two tags for one owner have one cause", []nhi.OwnerEvidence{evidence("tag:owner", "a@x", 0), evidence("tag:muster:owner", "a@x", 0)},
			nhi.Owner{Ref: "a@x", Confidence: 0.5, Source: "tag:muster:owner"}},
		{"of two tags the more trusted key", []nhi.OwnerEvidence{evidence("tag:team", "team:a", 0), evidence("tag:owner", "b@x", 0)}, nhi.Owner{Ref: "b@x", Confidence: 0.5, Source: "tag:owner"}},
		{"a tag's older value does not count", []nhi.OwnerEvidence{evidence("tag:owner", "a@x", 24*time.Hour), evidence("tag:owner", "b@x", 0)},
			nhi.Owner{Ref: "b@x", Confidence: 0.5, Source: "tag:owner"}},
		{"independent sources add up", []nhi.OwnerEvidence{evidence("tag:owner", "a@x", 0), evidence("creator", "a@x", 0)},
			nhi.Owner{Ref: "a@x", Confidence: 0.8, Source: "creator"}},
		{"a person beats everything", []nhi.OwnerEvidence{evidence("tag:owner", "a@x", 0), evidence("creator", "a@x", 0), evidence("hand", "b@x", 700*24*time.Hour)},
			nhi.Owner{Ref: "b@x", Confidence: 0.5042, Source: "hand"}},
		{"the newest word of a person", []nhi.OwnerEvidence{evidence("hand", "a@x", time.Hour), evidence("hand", "b@x", 0)}, nhi.Owner{Ref: "b@x", Confidence: 0.98, Source: "hand"}},
		{"old evidence is no owner", []nhi.OwnerEvidence{evidence("tag:owner", "a@x", 400*24*time.Hour)}, nhi.Owner{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 5 {
				rand.Shuffle(len(tt.evidence), func(i, j int) { tt.evidence[i], tt.evidence[j] = tt.evidence[j], tt.evidence[i] })
				if diff := cmp.Diff(tt.want, Decide(tt.evidence, start, tags)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestOnlyAddressesAndTeamsAreOwners(t *testing.T) {
	for value, want := range map[string]string{
		" Ana@Example.com ": "ana@example.com", "team:Payments": "team:payments", "TEAM: x ": "team:x",
		"team:": "", "ana": "", "Ana <ana@example.com>": "", "a@b\r\nBcc: c@d": "", "": "", strings.Repeat("a", 300) + "@x.example": "",
	} {
		got, ok := ParseOwner(value)
		if got != want && (ok || want != "") {
			t.Errorf("ParseOwner(%.30q) = %q, %v; want %q", value, got, ok, want)
		}
	}
	s := DefaultSettings()
	i := nhi.Identity{Labels: map[string]string{"Owner": "A@x.example", "Team": "payments", "muster:owner": "somebody", "note": "b@x.example"}}
	var got []string
	for _, e := range s.tagEvidence(&i, start) {
		got = append(got, e.Source+"="+e.Owner)
	}
	if diff := cmp.Diff([]string{"tag:owner=a@x.example", "tag:team=team:payments"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestEnvironmentsComeFromRulesAndNeverFromTags(t *testing.T) {
	s := Settings{Environments: []EnvironmentRule{
		{Name: "sandbox", Class: nhi.Nonproduction, Accounts: []string{"1"}, Names: []string{"try-*"}},
		{Name: "prod", Class: nhi.Production, Accounts: []string{"1"}},
		{Name: "lab", Class: nhi.Nonproduction},
	}}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		i    nhi.Identity
		want nhi.Environment
	}{
		{"the first that fits", nhi.Identity{Account: "1", Name: "try-it"}, nhi.Environment{Name: "sandbox", Class: nhi.Nonproduction}},
		{"by account", nhi.Identity{Account: "1", Name: "x"}, nhi.Environment{Name: "prod", Class: nhi.Production}},
		{"an attacker's tag", nhi.Identity{Account: "2", Labels: map[string]string{"env": "prod", "environment": "prod"}}, nhi.Environment{Class: nhi.ClassUnknown}},
		{"set by hand", nhi.Identity{Account: "2", Environment: nhi.Environment{Name: "lab", Class: nhi.Nonproduction}}, nhi.Environment{Name: "lab", Class: nhi.Nonproduction}},
	} {
		if got := s.assign(&tt.i); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
	for name, class := range map[string]nhi.Class{"lab": nhi.Nonproduction, "production": nhi.Production, "elsewhere": nhi.ClassUnknown} {
		if got := s.Environment(name); got.Class != class {
			t.Errorf("environment %s is %s, want %s", name, got.Class, class)
		}
	}
	for _, bad := range []EnvironmentRule{{Name: "x", Class: "live"}, {Class: nhi.Production}, {Name: "x", Class: nhi.Production, Names: []string{"["}}} {
		if err := (&Settings{Environments: []EnvironmentRule{bad}}).Validate(); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("rule %+v: err = %v", bad, err)
		}
	}
}

func TestReachNamesTheWidestFirst(t *testing.T) {
	got := ReachOf([]nhi.Grant{
		{Kind: "trust", Name: "trust policy", Document: `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`},
		{Kind: "inline-policy", Name: "p", Document: `{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"},{"Effect":"Deny","Action":"*","Resource":"*"}]}`},
		{Kind: "inline-policy", Name: "q", Document: `{"Statement":{"Effect":"Allow","NotAction":["iam:*"],"Resource":"*","Condition":{"Bool":{"x":"true"}}}}`},
		{Kind: "managed-policy", Name: "arn:x", Document: ""},
		{Kind: "boundary", Name: "edge"},
		{Kind: "managed-policy", Name: "admin", Admin: true},
	})
	want := []string{
		"every action on every resource (admin)",
		"everything but iam:* on every resource, under conditions",
		"s3:GetObject on arn:aws:s3:::b/*",
		"what arn:x grants",
		"narrowed by denials in p", "narrowed by the boundary edge",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPossibleBitsRefusesWhatIsHopeless(t *testing.T) {
	for secret, enough := range map[string]bool{
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": true,
		"9f86d081884c7d659a2feaa0c55ad015":         true, // 128 bits of hexadecimal
		"9f86d081884c7d659a2feaa0c55ad01":          false,
		"hunter2":                                  false,
		strings.Repeat("password", 20):             false,
		strings.Repeat("ab", 200):                  false,
		strings.Repeat("7", 500):                   false,
		"":                                         false,
	} {
		if got := possibleBits([]byte(secret)) >= minBits; got != enough {
			t.Errorf("%.12q…: %d bits", secret, possibleBits([]byte(secret)))
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("arn:aws:iam::111122223333:user/deploy-bot")
	f.Add("\xff\u0130stanbul Ünïcode 日本語")
	f.Fuzz(func(t *testing.T, text string) {
		for _, w := range Words(text) {
			if w == "" || len(w) > maxWord || !slices.Equal(Words(w), []string{w}) {
				t.Errorf("word %q of %q is not found by itself: %q", w, text, Words(w))
			}
		}
	})
}

func FuzzReach(f *testing.F) {
	f.Add(`{"Statement":[{"Effect":"Allow","Action":["a"],"Resource":"*"}]}`)
	f.Fuzz(func(t *testing.T, doc string) {
		if n := len(ReachOf([]nhi.Grant{{Kind: "inline-policy", Name: "p", Document: doc}})); n > maxReach+2 {
			t.Errorf("%d lines", n)
		}
	})
}
