package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
	tables "github.com/muster-id/muster/internal/store/inventory"
)

func TestMain(m *testing.M) { enginetest.Main(m) }

const account = "111122223333"

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// opened returns a fresh inventory over a real store.
func opened(t testing.TB, settings inventory.Settings) (*inventory.Service, *store.DB) {
	t.Helper()
	db, err := enginetest.Open(t, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	prints, err := fingerprint.NewEvaluator(make([]byte, 32), 1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := inventory.New(tables.New(db), prints, settings)
	if err != nil {
		t.Fatal(err)
	}
	return s, db
}

func user(native, name string, labels map[string]string) nhi.Identity {
	return nhi.Identity{
		ID: nhi.IdentityID("aws", account, native), Kind: nhi.KindUser, Provider: "aws", Account: account,
		Native: native, Name: name, Path: "arn:aws:iam::" + account + ":user/" + name, Labels: labels,
	}
}

func observe(at time.Time, ids ...nhi.Identity) nhi.Observation {
	return nhi.Observation{Provider: "aws", Account: account, At: at, Identities: ids, Complete: []string{string(nhi.KindUser), inventory.KindGrant}}
}

func apply(t testing.TB, s *inventory.Service, o nhi.Observation) inventory.Result {
	t.Helper()
	r, _, err := s.Apply(context.Background(), o)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return r
}

func TestTheSameObservationTwiceChangesNothing(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	i := user("AIDA1", "deployer", map[string]string{"owner": "Ana@Example.com", "team": "payments"})
	o := observe(start, i)
	o.Credentials = []nhi.Credential{{
		ID: nhi.NewCredentialID("aws", account, "AKIA1"), Identity: i.ID, Kind: nhi.CredentialAWSAccessKey,
		Provider: "aws", Account: account, PublicID: "AKIA1", Native: "Active",
	}}
	o.Grants = []nhi.Grant{{Identity: i.ID, Kind: "inline-policy", Name: "p", Document: "{}"}}
	first := apply(t, s, o)
	if first.Created != 1 || first.Credentials != 1 || first.Grants != 1 || first.Owners != 2 {
		t.Errorf("first time: %+v", first)
	}
	g := db.Generation()
	second := apply(t, s, o)
	if second.Created != 0 || second.Updated != 0 || db.Generation() != g {
		t.Errorf("second time: %+v, generation %d after %d", second, db.Generation(), g)
	}
	got, err := s.Identity(t.Context(), i.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Owner.Ref != "ana@example.com" || got.Owner.Source != "tag:owner" || got.State != nhi.Active || got.Environment.Class != nhi.ClassUnknown {
		t.Errorf("identity = %+v", got)
	}
}

func TestAnObservationIsAppliedWholeOrNotAtAll(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	good := user("AIDA1", "good", nil)
	o := observe(start, good)
	o.Grants = []nhi.Grant{{Identity: nhi.IdentityID("aws", account, "nobody"), Kind: "inline-policy", Name: "p"}}
	if _, _, err := s.Apply(t.Context(), o); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("err = %v, want invalid", err)
	}
	foreign := user("AIDA2", "foreign", nil)
	foreign.Account = "999900001111"
	if _, _, err := s.Apply(t.Context(), observe(start, good, foreign)); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("an identity of another account: err = %v, want invalid", err)
	}
	if _, err := s.Identity(t.Context(), good.ID); !errors.Is(err, nhi.ErrNotFound) || db.Generation() != 0 {
		t.Errorf("a refused observation left something: err %v, generation %d", err, db.Generation())
	}
}

func TestWhatTwoCompleteObservationsLackIsRetiredAndComesBack(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	a, b := user("AIDA1", "stays", nil), user("AIDA2", "leaves", nil)
	state := func() nhi.State {
		t.Helper()
		i, err := s.Identity(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		return i.State
	}
	apply(t, s, observe(start, a, b))
	partial := observe(start.Add(time.Hour), a)
	partial.Complete = nil
	for n := range 3 {
		partial.At = partial.At.Add(time.Duration(n) * time.Minute)
		apply(t, s, partial)
	}
	once := observe(start.Add(2*time.Hour), a)
	for range 3 { // the same observation counts once
		apply(t, s, once)
	}
	if got := state(); got != nhi.Active {
		t.Fatalf("after one complete miss: %s", got)
	}
	if r := apply(t, s, observe(start.Add(3*time.Hour), a)); r.Retired != 1 || state() != nhi.Retired {
		t.Errorf("after two: retired %d, state %s", r.Retired, state())
	}
	apply(t, s, observe(start.Add(-time.Hour), a, b)) // an old list proves nothing
	if got := state(); got != nhi.Retired {
		t.Errorf("an older observation revived it: %s", got)
	}
	apply(t, s, observe(start.Add(4*time.Hour), a, b))
	if got := state(); got != nhi.Active {
		t.Errorf("seen again: %s", got)
	}
}

func TestOurStateBeatsTheProviders(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	i := user("AIDA1", "deployer", nil)
	c := nhi.Credential{
		ID: nhi.NewCredentialID("aws", account, "AKIA1"), Identity: i.ID, Kind: nhi.CredentialAWSAccessKey,
		Provider: "aws", Account: account, PublicID: "AKIA1", Native: "Active",
	}
	o := observe(start, i)
	o.Credentials = []nhi.Credential{c}
	apply(t, s, o)
	_, err := db.Write(t.Context(), func(tx *store.Tx) error {
		held, err := tables.GetCredential(t.Context(), tx, c.ID)
		if err != nil {
			return err
		}
		held.State, held.Reason, held.Consumer = nhi.CredentialSuspended, "leaked", i.ID
		who, err := tables.GetIdentity(t.Context(), tx, i.ID)
		if err != nil {
			return err
		}
		who.State = nhi.Quarantined
		return errors.Join(tables.PutCredential(t.Context(), tx, held), tables.PutIdentity(t.Context(), tx, who))
	})
	if err != nil {
		t.Fatal(err)
	}
	o.At = start.Add(time.Hour)
	o.Credentials[0].Native = "Inactive"
	apply(t, s, o)
	apply(t, s, observe(start.Add(2*time.Hour)))
	apply(t, s, observe(start.Add(3*time.Hour)))
	got, err := s.Credential(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.State != nhi.CredentialSuspended || got.Reason != "leaked" || got.Consumer != i.ID || got.Native != "Inactive" {
		t.Errorf("credential = %+v", got)
	}
	if who, err := s.Identity(t.Context(), i.ID); err != nil || who.State != nhi.Quarantined {
		t.Errorf("identity = %s, %v; want quarantined", who.State, err)
	}
}

func TestNamesAreUniqueWithinAnEnvironment(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	ctx := t.Context()
	first, err := s.CreateIdentity(ctx, "payments-worker", nhi.KindWorkload, "production", "team:payments")
	if err != nil {
		t.Fatal(err)
	}
	if first.Environment.Class != nhi.Production || first.Owner != (nhi.Owner{Ref: "team:payments", Confidence: 0.98, Source: "hand"}) {
		t.Errorf("created %+v", first)
	}
	if _, err := s.CreateIdentity(ctx, "payments-worker", "", "production", ""); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("second of the name: err = %v, want conflict", err)
	}
	if _, err := s.CreateIdentity(ctx, "payments-worker", "", "staging", ""); err != nil {
		t.Errorf("same name elsewhere: %v", err)
	}
	if _, err := s.Find(ctx, "payments-worker"); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("find by an ambiguous name: err = %v", err)
	}
	if got, err := s.Find(ctx, string(first.ID)); err != nil || got.ID != first.ID {
		t.Errorf("find by id: %v, %v", got.ID, err)
	}
	for _, bad := range []string{"", "a\x1b[31mred", "a\xff", string(make([]byte, 300))} {
		if _, err := s.CreateIdentity(ctx, bad, "", "", ""); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("name %.10q: err = %v, want invalid", bad, err)
		}
	}
	if _, err := s.CreateIdentity(ctx, "x", "", "", "somebody"); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("owner that is none: err = %v", err)
	}
}

func TestAPersonsWordBeatsEveryTag(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	i := user("AIDA1", "deployer", map[string]string{"muster:owner": "tag@example.com"})
	apply(t, s, observe(start, i))
	if _, err := s.SetOwner(t.Context(), i.ID, "Real@Example.com", "operator:ana"); err != nil {
		t.Fatal(err)
	}
	apply(t, s, observe(time.Now().Add(time.Hour), i))
	owners, err := s.OwnersOf(t.Context(), i.ID)
	if err != nil || owners[0].Ref != "real@example.com" || owners[0].Source != inventory.SourceHand {
		t.Errorf("owners = %+v, %v", owners, err)
	}
	evidence, err := s.EvidenceOf(t.Context(), i.ID)
	if err != nil || len(evidence) != 2 {
		t.Errorf("evidence = %+v, %v; want both rows", evidence, err)
	}
}

func TestSightingsAreToldApart(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	ctx := t.Context()
	prints, err := fingerprint.NewEvaluator(make([]byte, 32), 1)
	if err != nil {
		t.Fatal(err)
	}
	owner, err := s.CreateIdentity(ctx, "worker", "", "production", "")
	if err != nil {
		t.Fatal(err)
	}
	cred, minted, err := s.CreateCredential(ctx, owner.ID, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := s.CreateCredential(ctx, owner.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	u := user("AIDA1", "deployer", nil)
	o := observe(start, u)
	o.Credentials = []nhi.Credential{{ID: nhi.NewCredentialID("aws", account, "AKIAEXAMPLEEXAMPLE00"), Identity: u.ID,
		Kind: nhi.CredentialAWSAccessKey, Provider: "aws", Account: account, PublicID: "AKIAEXAMPLEEXAMPLE00"}}
	apply(t, s, o)

	real, err := prints.Of(fingerprint.Muster, []byte(minted.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	invented, err := prints.Of(fingerprint.Muster, []byte("muster_key_"+minted.ID+"_invented"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		public      string
		provider    string
		fingerprint string
		verdict     nhi.SightingVerdict
		credential  nhi.CredentialID
	}{
		{"the secret itself", minted.ID, "muster", real, nhi.Confirmed, cred.ID},
		{"the secret without its id", "", "", real, nhi.Confirmed, cred.ID},
		{"the secret beside another key's id", other.PublicID, "muster", real, nhi.Confirmed, cred.ID},
		{"somebody's key id with an invented secret", minted.ID, "muster", invented, nhi.Forged, cred.ID},
		{"only a key id", minted.ID, "muster", "", nhi.Unproven, cred.ID},
		{"a fingerprint of another version", minted.ID, "muster", "f2" + real[2:], nhi.Unproven, cred.ID},
		{"a key that we never saw the value of", "AKIAEXAMPLEEXAMPLE00", "aws", invented, nhi.Unproven, o.Credentials[0].ID},
		{"the id of another provider", minted.ID, "aws", invented, nhi.Unknown, ""},
		{"nothing of ours", "AKIANOTHINGOFOURS000", "aws", invented, nhi.Unknown, ""},
		{"nothing at all", "", "", "", nhi.Unknown, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := s.Match(ctx, nhi.Sighting{PublicID: tt.public, Provider: tt.provider, Fingerprint: tt.fingerprint,
				Verdict: nhi.Confirmed, Credential: "crd_claimed"}) // what the sender claims counts for nothing
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != tt.verdict || got.Credential != tt.credential {
				t.Errorf("got %s %s, want %s %s", got.Verdict, got.Credential, tt.verdict, tt.credential)
			}
		})
	}
}

func TestRegisteringKeepsNoValueAndJoinsTheInventorysKey(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	ctx := t.Context()
	u := user("AIDA1", "deployer", nil)
	o := observe(start, u, user("AIDA2", "other", nil))
	known := nhi.NewCredentialID("aws", account, "AKIAEXAMPLEEXAMPLE00")
	o.Credentials = []nhi.Credential{{ID: known, Identity: u.ID, Kind: nhi.CredentialAWSAccessKey, Provider: "aws", Account: account, PublicID: "AKIAEXAMPLEEXAMPLE00"}}
	apply(t, s, o)
	secret := []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n")
	got, err := s.RegisterCredential(ctx, u.ID, fingerprint.AWS, "AKIAEXAMPLEEXAMPLE00", secret)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != known || got.Fingerprint == "" || len(got.Verifier) != 32 {
		t.Errorf("registered %+v, want the row %s with verifier and fingerprint", got, known)
	}
	if _, err := s.RegisterCredential(ctx, o.Identities[1].ID, fingerprint.AWS, "AKIAEXAMPLEEXAMPLE00", secret); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("the same key for another identity: err = %v, want conflict", err)
	}
	for _, weak := range []string{"", "short", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "1234567812345678123456781234567812345678", "0123456789012345678901234567890123456"} {
		_, err := s.RegisterCredential(ctx, u.ID, fingerprint.Opaque, "", []byte(weak))
		if !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("weak secret of %d bytes: err = %v, want invalid", len(weak), err)
		}
	}
	opaque, err := s.RegisterCredential(ctx, u.ID, fingerprint.Opaque, "", []byte("q9Zr3vK8mB2xT7wLc5Np4d"))
	if err != nil || opaque.PublicID == "" {
		t.Errorf("opaque = %+v, %v", opaque, err)
	}
	changes, err := db.Changes(ctx, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range changes {
		if slices.Contains([]string{"wJalr", "q9Zr3"}, string(c.Payload)) || len(c.Payload) == 0 {
			t.Errorf("change %d holds a secret or nothing", c.Seq)
		}
	}
}

func TestActingStrangersBecomeShadowsAndThenKnown(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	ctx := t.Context()
	stranger := user("AIDA9", "ghost", nil)
	batch := []inventory.Seen{
		{Identity: stranger, Credential: nhi.Credential{Kind: nhi.CredentialAWSAccessKey, PublicID: "AKIA9"}, At: start.Add(time.Minute)},
		{Identity: stranger, Credential: nhi.Credential{Kind: nhi.CredentialAWSAccessKey, PublicID: "AKIA9"}, At: start},
	}
	for range 2 { // repeating a batch changes nothing
		if _, err := s.EnsureSeen(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	if g := db.Generation(); g != 2 {
		t.Errorf("%d changes, want one for the identity and one for the key", g)
	}
	got, err := s.Identity(ctx, stranger.ID)
	if err != nil || !got.Shadow || !got.FirstSeen.Equal(start) || !got.LastSeen.Equal(start.Add(time.Minute)) {
		t.Errorf("shadow = %+v, %v", got, err)
	}
	for n := range 30 { // within the hour: kept, but not told
		batch[0].At = start.Add(time.Duration(n) * time.Minute)
		if _, err := s.EnsureSeen(ctx, batch); err != nil {
			t.Fatal(err)
		}
	}
	if g := db.Generation(); g != 2 {
		t.Errorf("%d changes after uses within the hour, want 2", g)
	}
	batch[0].At = start.Add(70 * time.Minute)
	if _, err := s.EnsureSeen(ctx, batch); err != nil {
		t.Fatal(err)
	}
	if g := db.Generation(); g != 4 {
		t.Errorf("%d changes after a use in the next hour, want 4", g)
	}
	known := stranger
	known.Labels = map[string]string{"team": "payments"}
	apply(t, s, observe(start.Add(2*time.Hour), known))
	got, err = s.Identity(ctx, stranger.ID)
	if err != nil || got.Shadow || got.Owner.Ref != "team:payments" || !got.LastSeen.Equal(start.Add(70*time.Minute)) {
		t.Errorf("known = %+v, %v", got, err)
	}
	keys, err := s.CredentialsOf(ctx, stranger.ID)
	if err != nil || len(keys) != 1 || keys[0].PublicID != "AKIA9" || keys[0].State != nhi.CredentialActive {
		t.Errorf("keys = %+v, %v", keys, err)
	}
}

func TestListsFilterSearchAndPage(t *testing.T) {
	s, _ := opened(t, inventory.Settings{
		OwnerTags:    []string{"team"},
		Environments: []inventory.EnvironmentRule{{Name: "prod", Class: nhi.Production, Accounts: []string{account}, Names: []string{"pay-*"}}},
	})
	ctx := t.Context()
	var ids []nhi.Identity
	for n := range 7 {
		ids = append(ids, user(fmt.Sprint("AIDA", n), fmt.Sprintf("pay-worker-%d", n), map[string]string{"team": "payments"}))
	}
	ids = append(ids, user("AIDAX", "Report_Builder", nil))
	apply(t, s, observe(start, ids...))
	names := func(text, order string, limit int) (out []string) {
		t.Helper()
		e, err := filter.Identities.Parse(text, start)
		if err != nil {
			t.Fatal(err)
		}
		f := inventory.Filter{Expr: e, Limit: limit, Count: true}
		if f.Order, err = filter.Identities.ParseOrder(order); err != nil {
			t.Fatal(err)
		}
		for {
			p, err := s.Identities(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range p.Identities {
				out = append(out, i.Name)
			}
			if p.Next.ID == "" {
				if p.Total != len(out) || p.AtLeast {
					t.Errorf("total = %d (at least: %v), and there are %d", p.Total, p.AtLeast, len(out))
				}
				return out
			}
			f.After = p.Next
		}
	}
	var workers []string
	for n := range 7 {
		workers = append(workers, fmt.Sprintf("pay-worker-%d", n))
	}
	backwards := slices.Clone(workers)
	slices.Reverse(backwards)
	for _, tt := range []struct {
		name, filter, order string
		limit               int
		want                []string
	}{
		{"everything, three at a time", "", "", 3, append([]string{"Report_Builder"}, workers...)},
		{"from the end, three at a time", "", "-name", 3, append(slices.Clone(backwards), "Report_Builder")},
		{"the beginning of a word, in any case", "BUILD", "", 0, []string{"Report_Builder"}},
		{"two words", "worker 3", "", 0, []string{"pay-worker-3"}},
		{"one word and not another", "worker -3 -4 -5 -6", "", 0, workers[:3]},
		{"an owner's words", "payments", "", 4, workers},
		{"a whole ARN", "arn:aws:iam::" + account + ":user/Report_Builder", "", 0, []string{"Report_Builder"}},
		{"what is not there", "worker nothing", "", 0, nil},
		{"only signs", "%'", "", 0, nil},
		{"by environment", "environment:prod", "", 0, workers},
		{"in production", "class:production -name:pay-worker-6", "", 0, workers[:6]},
		{"unowned", "-owner:*", "", 0, []string{"Report_Builder"}},
		{"by owner", "owner:team:payments", "", 2, workers},
		{"by the beginning of a name", "name:pay-worker-*", "", 0, workers},
		{"one of several", "name:pay-worker-1,pay-worker-2,Report*", "", 0, []string{"Report_Builder", "pay-worker-1", "pay-worker-2"}},
		{"by kind", "kind:iam-role", "", 0, nil},
		{"by state", "state:retired", "", 0, nil},
		{"by risk", "risk>=1", "", 0, nil},
		{"without a static credential", "static:false admin:false", "", 0, append([]string{"Report_Builder"}, workers...)},
		{"an attack in a value", `name:"' OR 1=1 --"`, "", 0, nil},
		{"an attack in a word", `"x') OR 1=1 --"`, "", 0, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := names(tt.filter, tt.order, tt.limit)
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := names("-last_used:*", "-risk", 3); len(got) != 8 {
		t.Errorf("never used, by risk: %v", got)
	}
	for _, tt := range []struct {
		within nhi.Scopes
		want   int
	}{
		{nil, 8}, {nhi.Scopes{}, 0}, {nhi.Scopes{{Team: "payments"}}, 7}, {nhi.Scopes{{Team: "payments", Environment: "prod"}}, 7},
		{nhi.Scopes{{Team: "payments", Environment: "test"}}, 0}, {nhi.Scopes{{Team: "other"}, {Environment: "prod"}}, 7}, {nhi.Scopes{{}}, 8},
	} {
		p, err := s.Identities(ctx, inventory.Filter{Within: tt.within, Count: true})
		if err != nil || len(p.Identities) != tt.want || p.Total != tt.want {
			t.Errorf("within %v: %d of %d, %v; want %d", tt.within, len(p.Identities), p.Total, err, tt.want)
		}
	}
	for _, bad := range []inventory.Filter{{Limit: 501}, {Limit: -1}} {
		if _, err := s.Identities(ctx, bad); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%+v: err = %v, want invalid", bad, err)
		}
	}
	e, err := filter.Identities.Parse("environment:prod", start)
	if err != nil {
		t.Fatal(err)
	}
	facets, err := s.Facets(ctx, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range facets {
		want := map[string][]inventory.Value{
			"kind": {{Value: "iam-user", Count: 7}}, "environment": {{Value: "prod", Count: 7}, {Value: "", Count: 1}},
			"owner": {{Value: "team:payments", Count: 7}}, "static": {{Value: "false", Count: 7}}, "risk": {{Value: "0", Count: 7}},
		}[f.Field]
		if diff := cmp.Diff(want, f.Values); want != nil && diff != "" {
			t.Errorf("facet %s (-want +got):\n%s", f.Field, diff)
		}
	}
	c, err := s.Counts(ctx, nil)
	want := inventory.Counts{Identities: 8, ByKind: map[nhi.Kind]int{nhi.KindUser: 8}, Unowned: 1, UnknownEnvironment: 1, Production: 7}
	if diff := cmp.Diff(want, c); diff != "" || err != nil {
		t.Errorf("counts, %v (-want +got):\n%s", err, diff)
	}
}

func TestPinsHoldUntilTheyAreTakenAway(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	ctx := t.Context()
	a, err := s.CreateIdentity(ctx, "a", "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := s.CreateCredential(ctx, a.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Pin(ctx, c.ID, a.ID); err != nil || got.Consumer != a.ID {
		t.Errorf("pin: %+v, %v", got, err)
	}
	if _, err := s.Pin(ctx, c.ID, nhi.IdentityID("x", "y", "z")); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("pin to nobody: err = %v", err)
	}
	if got, err := s.Unpin(ctx, c.ID); err != nil || got.Consumer != "" {
		t.Errorf("unpin: %+v, %v", got, err)
	}
}

func TestMarkAttestableMarksExactlyThese(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	ctx := t.Context()
	var ids []nhi.ID
	for _, name := range []string{"a", "b", "c"} {
		i, err := s.CreateIdentity(ctx, name, "", "", "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, i.ID)
	}
	for _, want := range [][]nhi.ID{{ids[0], ids[1]}, {ids[1], ids[2]}, nil} {
		if err := s.MarkAttestable(ctx, want); err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			i, err := s.Identity(ctx, id)
			if err != nil || i.Attestable != slices.Contains(want, id) {
				t.Errorf("%s attestable = %v (err %v), want %v", i.Name, i.Attestable, err, !i.Attestable)
			}
		}
	}
}

func TestFactsLoadFromOneSnapshot(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	apply(t, s, big(40, 2))
	var identities, credentials int
	g, err := tables.LoadFacts(t.Context(), db,
		func(i nhi.Identity) {
			identities++
			if i.State != nhi.Active {
				t.Errorf("%s is %s", i.Name, i.State)
			}
		},
		func(nhi.Credential) { credentials++ })
	if err != nil || identities != 40 || credentials != 40 || g != db.Generation() {
		t.Errorf("%d identities, %d credentials, generation %d of %d, %v", identities, credentials, g, db.Generation(), err)
	}
}

// big returns an observation of n users, one key each, and n*grants grants.
func big(n, grants int) nhi.Observation {
	o := observe(start)
	const document = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":"arn:aws:s3:::bucket/*"}]}`
	for i := range n {
		u := user(fmt.Sprintf("AIDA%016d", i), fmt.Sprintf("svc-%05d-batch-loader", i), map[string]string{"team": fmt.Sprint("t", i%40), "app": "loader"})
		o.Identities = append(o.Identities, u)
		public := fmt.Sprintf("AKIA%016d", i)
		o.Credentials = append(o.Credentials, nhi.Credential{ID: nhi.NewCredentialID("aws", account, public), Identity: u.ID,
			Kind: nhi.CredentialAWSAccessKey, Provider: "aws", Account: account, PublicID: public, Native: "Active", Created: start})
		for j := range grants {
			o.Grants = append(o.Grants, nhi.Grant{Identity: u.ID, Kind: "inline-policy", Name: fmt.Sprint("p", j), Document: document})
		}
	}
	return o
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkImport applies 3,000 users with 3,000 keys and 6,000 grants.
func BenchmarkImport(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s, _ := opened(b, inventory.DefaultSettings())
		o := big(3000, 2)
		runtime.GC()
		b.StartTimer()
		before := cpu()
		apply(b, s, o)
		b.ReportMetric((cpu() - before).Seconds(), "cpu-s/import")
	}
}
