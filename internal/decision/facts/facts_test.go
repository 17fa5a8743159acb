package facts

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

func change(t testing.TB, seq nhi.Generation, subject nhi.Subject, key string, v any) nhi.Change {
	t.Helper()
	c := nhi.Change{Seq: seq, Subject: subject, Key: key, Version: 1}
	if v != nil {
		payload, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		c.Payload = payload
	}
	return c
}

func apply(t testing.TB, f *Facts, changes ...nhi.Change) {
	t.Helper()
	if err := f.Apply(changes); err != nil {
		t.Fatal(err)
	}
}

func identityN(n int) nhi.ID { return nhi.IdentityID("aws", "1", fmt.Sprint("i", n)) }
func credentialN(n int) nhi.CredentialID {
	return nhi.NewCredentialID("aws", "1", fmt.Sprint("c", n))
}

func someIdentity(n int) nhi.Identity {
	return nhi.Identity{
		ID: identityN(n), Kind: nhi.KindRole, State: nhi.Active, Risk: n % 101, Attestable: n%2 == 0, Shadow: n%3 == 0,
		Environment: nhi.Environment{Name: fmt.Sprint("env", n%7), Class: nhi.Production}, Owner: nhi.Owner{Ref: fmt.Sprint("team:", n%11)},
	}
}

func someCredential(n, of int) nhi.Credential {
	verifier := make([]byte, 32)
	verifier[0], verifier[1], verifier[2], verifier[3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return nhi.Credential{
		ID: credentialN(n), Identity: identityN(of), Kind: nhi.CredentialAPIKey, PublicID: fmt.Sprintf("key%09d", n),
		Verifier: verifier, State: nhi.CredentialActive,
	}
}

func TestFactsReturnWhatWasLoadedAndApplied(t *testing.T) {
	long := strings.Repeat("k", 40)
	identities := []nhi.Identity{someIdentity(1), someIdentity(2), {ID: "nhi_odd", Kind: "robot", State: "odd"}}
	credentials := []nhi.Credential{someCredential(1, 1), someCredential(2, 2),
		{ID: "crd_odd", Identity: "nhi_odd", Kind: nhi.CredentialRegistered, PublicID: long, State: nhi.CredentialNarrowed, Consumer: identityN(2), Expires: time.UnixMicro(5).UTC()}}
	resource := nhi.Resource{Name: "payments/api", Sensitivity: 4}
	point := nhi.Point{ID: "nhi_point", KeyID: "pk", Mode: nhi.Enforce, Percent: 100}
	source := nhi.Source{ID: "nhi_source", KeyID: "sk"}
	routes := []nhi.Route{{Host: "h", Path: "/", Resource: "payments/api"}}

	loaded := New()
	if err := loaded.Load(7, State{
		Identities: identities, Credentials: credentials, Resources: []nhi.Resource{resource},
		Points: []nhi.Point{point}, Sources: []nhi.Source{source}, Routes: routes,
	}); err != nil {
		t.Fatal(err)
	}
	applied := New()
	apply(t, applied,
		change(t, 1, nhi.SubjectIdentity, "", identities[0]), change(t, 2, nhi.SubjectIdentity, "", identities[1]),
		change(t, 3, nhi.SubjectIdentity, "", identities[2]), change(t, 4, nhi.SubjectCredential, "", credentials[0]),
		change(t, 5, nhi.SubjectCredential, "", credentials[1]), change(t, 6, nhi.SubjectCredential, "", credentials[2]),
		change(t, 7, nhi.SubjectResource, resource.Name, resource), change(t, 8, nhi.SubjectPoint, "", point),
		change(t, 9, nhi.SubjectSource, "", source), change(t, 10, nhi.SubjectRoutes, "", routes),
		change(t, 11, nhi.SubjectFinding, "", nil), change(t, 12, nhi.SubjectHeartbeat, "", nil),
		change(t, 13, "something-new", "", nil),
	)
	for name, f := range map[string]*Facts{"loaded": loaded, "applied": applied} {
		t.Run(name, func(t *testing.T) {
			for _, want := range identities {
				got, ok := f.Identity(want.ID)
				if diff := cmp.Diff(want, got); !ok || diff != "" {
					t.Errorf("identity %s (-want +got):\n%s", want.ID, diff)
				}
			}
			for _, want := range credentials {
				got, ok := f.Credential(want.ID)
				if diff := cmp.Diff(want, got); !ok || diff != "" {
					t.Errorf("credential %s (-want +got):\n%s", want.ID, diff)
				}
				if got, ok := f.CredentialByKeyID(want.PublicID); !ok || got.ID != want.ID {
					t.Errorf("by key id %s: %s, %v", want.PublicID, got.ID, ok)
				}
				if len(want.Verifier) == 32 {
					if got, ok := f.CredentialByVerifier([32]byte(want.Verifier)); !ok || got.ID != want.ID {
						t.Errorf("by verifier: %s, %v", got.ID, ok)
					}
				}
			}
			if got, ok := f.Resource(resource.Name); !ok || got != resource {
				t.Errorf("resource = %+v, %v", got, ok)
			}
			if got, ok := f.PointByKeyID("pk"); !ok || got.ID != point.ID {
				t.Errorf("point = %+v, %v", got, ok)
			}
			if got, ok := f.SourceByKeyID("sk"); !ok || got.ID != source.ID {
				t.Errorf("source = %+v, %v", got, ok)
			}
			if got, _ := f.Routes(); len(got) != 1 {
				t.Errorf("routes = %+v", got)
			}
			want := Counts{Identities: 3, Credentials: 3, Resources: 1, Points: 1, Sources: 1, Routes: 1}
			if got := f.Counts(); got != want {
				t.Errorf("counts = %+v, want %+v", got, want)
			}
			for what, found := range map[string]bool{
				"identity": second(f.Identity("nhi_odder")), "credential": second(f.Credential(credentialN(99))),
				"key id": second(f.CredentialByKeyID("nobody")), "empty key id": second(f.CredentialByKeyID("")),
				"verifier": second(f.CredentialByVerifier([32]byte{9})), "resource": second(f.Resource("nothing")),
				"point": second(f.PointByKeyID("")), "source": second(f.SourceByKeyID("")),
			} {
				if found {
					t.Errorf("an unknown %s was found", what)
				}
			}
		})
	}
	if applied.Generation() != 13 || loaded.Generation() != 7 {
		t.Errorf("generations %d and %d", applied.Generation(), loaded.Generation())
	}
}

func second[T any](_ T, ok bool) bool { return ok }

func TestAChangeReplacesAndRemoves(t *testing.T) {
	f := New()
	c := someCredential(1, 1)
	apply(t, f, change(t, 1, nhi.SubjectIdentity, "", someIdentity(1)), change(t, 2, nhi.SubjectCredential, "", c))
	before := f.Snapshot()
	moved := c
	moved.PublicID, moved.State, moved.Verifier = "other", nhi.CredentialSuspended, nil
	apply(t, f, change(t, 3, nhi.SubjectCredential, "", moved))
	if _, ok := f.CredentialByKeyID(c.PublicID); ok {
		t.Error("the old key id still leads to the credential")
	}
	if _, ok := f.CredentialByVerifier([32]byte(c.Verifier)); ok {
		t.Error("the old verifier still leads to the credential")
	}
	if got, _ := f.CredentialByKeyID("other"); got.State != nhi.CredentialSuspended {
		t.Errorf("state = %q", got.State)
	}
	if got, _ := before.Credential(c.ID); got.State != nhi.CredentialActive {
		t.Error("a snapshot changed after it was taken")
	}
	apply(t, f, change(t, 4, nhi.SubjectCredential, string(c.ID), nil), change(t, 5, nhi.SubjectIdentity, string(identityN(1)), nil),
		change(t, 6, nhi.SubjectCredential, "crd_unknown", nil))
	if got := f.Counts(); got != (Counts{}) {
		t.Errorf("counts = %+v after everything was removed", got)
	}
	if _, ok := f.CredentialByKeyID("other"); ok {
		t.Error("a removed credential is still found")
	}
}

func TestAStrangersRecordNeitherHidesNorRevivesOurKey(t *testing.T) {
	// Somebody imports a credential with the public id of one of our keys.
	ours, theirs := someCredential(1, 1), someCredential(2, 2)
	theirs.PublicID, theirs.Verifier = ours.PublicID, nil
	f := New()
	if err := f.Load(1, State{Credentials: []nhi.Credential{theirs, ours}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := f.CredentialByKeyID(ours.PublicID); got.ID != ours.ID {
		t.Errorf("found %s, want ours", got.ID)
	}
	// And one with the same value: the dead one speaks.
	theirs.Verifier, ours.State = ours.Verifier, nhi.CredentialSuspended
	apply(t, f, change(t, 2, nhi.SubjectCredential, "", theirs), change(t, 3, nhi.SubjectCredential, "", ours))
	if got, _ := f.CredentialByVerifier([32]byte(ours.Verifier)); got.State != nhi.CredentialSuspended {
		t.Errorf("found %s in state %s, want the suspended one", got.ID, got.State)
	}
}

func TestWhatCannotBeAppliedMakesFactsStale(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []nhi.Change
	}{
		{"a gap", []nhi.Change{{Seq: 3, Subject: nhi.SubjectHeartbeat}}},
		{"a gap inside the batch", []nhi.Change{{Seq: 2, Subject: nhi.SubjectHeartbeat}, {Seq: 4, Subject: nhi.SubjectHeartbeat}}},
		{"a payload of a newer format", []nhi.Change{{Seq: 2, Subject: nhi.SubjectIdentity, Version: 2, Payload: []byte(`{}`)}}},
		{"a payload that is no JSON", []nhi.Change{{Seq: 2, Subject: nhi.SubjectCredential, Version: 1, Payload: []byte(`{`)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := New()
			apply(t, f, change(t, 1, nhi.SubjectIdentity, "", someIdentity(1)))
			if err := f.Apply(tt.changes); !errors.Is(err, nhi.ErrInvalid) && !strings.Contains(fmt.Sprint(err), "payload") {
				t.Fatalf("error = %v", err)
			}
			if f.Generation() != 1 || f.Stale() == "" || f.Age(time.Now()) != math.MaxInt64 {
				t.Errorf("generation %d, stale %q, age %v", f.Generation(), f.Stale(), f.Age(time.Now()))
			}
			f.Heartbeat(time.Now())
			if f.Age(time.Now()) != math.MaxInt64 {
				t.Error("a heartbeat hides that changes are missing")
			}
			if err := f.Load(4, State{}); err != nil {
				t.Fatal(err)
			}
			if f.Stale() != "" || f.Age(time.Now()) > time.Minute {
				t.Error("loading anew did not heal")
			}
		})
	}
}

func TestABatchMayBeDeliveredTwice(t *testing.T) {
	f := New()
	batch := []nhi.Change{change(t, 1, nhi.SubjectIdentity, "", someIdentity(1)), change(t, 2, nhi.SubjectIdentity, "", someIdentity(2))}
	apply(t, f, batch...)
	apply(t, f, append(batch, change(t, 3, nhi.SubjectIdentity, "", someIdentity(3)))...)
	if f.Generation() != 3 || f.Counts().Identities != 3 {
		t.Errorf("generation %d, counts %+v", f.Generation(), f.Counts())
	}
}

func TestFactsNeverGoBack(t *testing.T) {
	f := New()
	apply(t, f, change(t, 1, nhi.SubjectIdentity, "", someIdentity(1)), change(t, 2, nhi.SubjectHeartbeat, "", nil))
	if err := f.Load(1, State{}); !errors.Is(err, nhi.ErrConflict) {
		t.Errorf("loading an older generation: %v", err)
	}
	apply(t, f, change(t, 3, nhi.SubjectIdentity, "", someIdentity(2)))
	if f.Counts().Identities != 2 {
		t.Errorf("counts = %+v", f.Counts())
	}
}

func TestRevocations(t *testing.T) {
	issued := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	later := issued.Add(time.Hour)
	who := someIdentity(1)
	token := nhi.Attested{Identity: who.ID, KeyID: "jti-1", Thumbprint: "tp-1", IssuedAt: issued}
	for _, tt := range []struct {
		name string
		r    nhi.Revocation
		att  nhi.Attested
		want bool
	}{
		{"its token", nhi.Revocation{Token: "jti-1", At: issued}, token, true},
		{"another token", nhi.Revocation{Token: "jti-2", At: later}, token, false},
		{"its key", nhi.Revocation{Key: "tp-1", At: later}, token, true},
		{"its key at the very time of issue", nhi.Revocation{Key: "tp-1", At: issued}, token, true},
		{"its key before it was issued", nhi.Revocation{Key: "tp-1", At: issued.Add(-time.Second)}, token, false},
		{"its identity", nhi.Revocation{Identity: who.ID, At: later}, token, true},
		{"its identity before it was issued", nhi.Revocation{Identity: who.ID, At: issued.Add(-time.Second)}, token, false},
		{"a token that does not say when it was issued", nhi.Revocation{Identity: who.ID, At: issued}, nhi.Attested{Identity: who.ID}, true},
		{"a stored credential has its own state", nhi.Revocation{Identity: who.ID, At: later}, nhi.Attested{Identity: who.ID, Credential: credentialN(1)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := New()
			tt.r.Expires = later.Add(time.Hour)
			apply(t, f, change(t, 1, nhi.SubjectIdentity, "", who), change(t, 2, nhi.SubjectRevocation, "", tt.r))
			if got := f.Revoked(tt.att); got != tt.want {
				t.Errorf("Revoked = %v, want %v", got, tt.want)
			}
			f.Heartbeat(later)
			if got := f.Revoked(tt.att); got != tt.want {
				t.Errorf("a heartbeat changed it to %v", got)
			}
			f.Heartbeat(later.Add(time.Hour + 59*time.Minute)) // a clock that is ahead, and is put right
			if got := f.Revoked(tt.att); got != tt.want {
				t.Errorf("a clock that was ahead changed it to %v", got)
			}
			f.Heartbeat(later.Add(3 * time.Hour))
			if f.Revoked(tt.att) || f.Counts().Revocations != 0 {
				t.Errorf("not forgotten after it ended: %+v", f.Counts())
			}
		})
	}
	f := New()
	who.NotBefore = later
	apply(t, f, change(t, 1, nhi.SubjectIdentity, "", who))
	if !f.Revoked(token) {
		t.Error("NotBefore does not refuse an older token")
	}
	token.IssuedAt = later
	if f.Revoked(token) {
		t.Error("NotBefore refuses a newer token")
	}
}

// A thief who holds a token of before a merge, under either name, is cut off under
// either name.
func TestACutOffHoldsUnderEveryNameOfAMergedIdentity(t *testing.T) {
	issued := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	old, living, last := someIdentity(1), someIdentity(2), someIdentity(3)
	type step struct {
		subject nhi.Subject
		what    any
	}
	is := func(i nhi.Identity, alias nhi.ID) step { i.Alias = alias; return step{nhi.SubjectIdentity, i} }
	cut := func(i nhi.Identity) step {
		return step{nhi.SubjectRevocation, nhi.Revocation{Identity: i.ID, At: issued.Add(time.Minute), Expires: issued.Add(time.Hour)}}
	}
	for name, steps := range map[string][]step{
		"cut off, then merged":                     {is(old, ""), is(living, ""), cut(old), is(old, living.ID)},
		"cut off before it was known":              {cut(old), is(old, living.ID), is(living, "")},
		"merged, then cut off by its old name":     {is(living, ""), is(old, living.ID), cut(old)},
		"merged, then cut off by its new name":     {is(living, ""), is(old, living.ID), cut(living)},
		"merged into what was merged then":         {is(last, ""), is(living, ""), is(old, living.ID), cut(old), is(living, last.ID)},
		"merged into what was merged before":       {is(last, ""), is(living, last.ID), cut(old), is(old, living.ID)},
		"merged, then cut off by the name between": {is(last, ""), is(living, last.ID), is(old, living.ID), cut(living), cut(last)},
	} {
		t.Run(name, func(t *testing.T) {
			f, loaded := New(), New()
			var rows State
			identities := map[nhi.ID]nhi.Identity{}
			for n, s := range steps {
				apply(t, f, change(t, nhi.Generation(n+1), s.subject, "", s.what))
				switch v := s.what.(type) {
				case nhi.Identity:
					identities[v.ID] = v
				case nhi.Revocation:
					rows.Revocations = append(rows.Revocations, v)
				}
			}
			for _, i := range identities {
				rows.Identities = append(rows.Identities, i)
			}
			if err := loaded.Load(nhi.Generation(len(steps)), rows); err != nil {
				t.Fatal(err)
			}
			for how, f := range map[string]*Facts{"applied": f, "loaded": loaded} {
				for id := range identities {
					q := nhi.Question{Subject: nhi.Attested{Identity: id, KeyID: "jti", IssuedAt: issued}}
					if !f.Revoked(q.Subject) {
						t.Errorf("%s: a token of %s is good", how, id)
					}
					if f.Know(&q, issued); !q.Known.Revoked {
						t.Errorf("%s: a decision about %s knows of no cut-off", how, id)
					}
					if f.Revoked(nhi.Attested{Identity: id, KeyID: "jti", IssuedAt: issued.Add(2 * time.Minute)}) {
						t.Errorf("%s: a token of %s is refused that was issued after the cut-off", how, id)
					}
				}
			}
		})
	}
	t.Run("names that lead in a circle deny", func(t *testing.T) {
		f := New()
		old.Alias, living.Alias = living.ID, old.ID
		apply(t, f, change(t, 1, nhi.SubjectIdentity, "", old), change(t, 2, nhi.SubjectIdentity, "", living), change(t, 3, nhi.SubjectRevocation, "", nhi.Revocation{Identity: last.ID, At: issued, Expires: issued.Add(time.Hour)}))
		if !f.Revoked(nhi.Attested{Identity: old.ID, IssuedAt: issued}) {
			t.Error("a token of nobody is good")
		}
	})
}

// An identity that was merged again and again is cut off under its last name, whether
// the facts never stopped or were loaded.
func TestACutOffFollowsMergesToTheLast(t *testing.T) {
	const last = 12
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	cut := nhi.Revocation{Identity: identityN(0), At: at, Expires: at.AddDate(1, 0, 0)}
	live := New()
	state := State{Revocations: []nhi.Revocation{cut}}
	for n := range last + 1 {
		i := someIdentity(last - n)
		i.Alias = ""
		if n > 0 {
			i.Alias = identityN(last - n + 1)
		}
		state.Identities = append(state.Identities, i)
		apply(t, live, change(t, nhi.Generation(n+1), nhi.SubjectIdentity, "", i))
	}
	apply(t, live, change(t, last+2, nhi.SubjectRevocation, "", cut))
	loaded := New()
	if err := loaded.Load(last+2, state); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*Facts{"never stopped": live, "loaded": loaded} {
		if !f.Revoked(nhi.Attested{Identity: identityN(last), KeyID: "jti", IssuedAt: at}) {
			t.Errorf("%s: a token under the last name is good", name)
		}
	}
}

// setBack is a time of a clock that was set back since the one that only goes forward
// began: what [time.Now] returns holds both, the former in the seconds above its lowest
// 30 bits.
func setBack(t *testing.T, at time.Time, by time.Duration) time.Time {
	out := at
	*(*uint64)(unsafe.Pointer(&out)) -= uint64(by/time.Second) << 30
	if !out.Round(0).Equal(at.Round(0).Add(-by)) || out.Sub(at) != 0 {
		t.Fatalf("%v set back by %v is %v", at, by, out)
	}
	return out
}

// Somebody sets the clock of a server back that has lost its database.
func TestAClockThatIsSetBackMakesFactsNoYounger(t *testing.T) {
	f := New()
	beat := time.Now()
	f.Heartbeat(beat)
	later := beat.Add(11 * time.Minute)
	if got := f.Age(setBack(t, later, time.Hour)); got != 11*time.Minute {
		t.Errorf("after 11 minutes, by a clock that was set back, they are %v old", got)
	}
	if got := f.Age(later.Round(0)); got < 11*time.Minute { // as behind a sleep: the other clock stood still
		t.Errorf("after 11 minutes by the time of day they are %v old", got)
	}
}

func TestALaterRevocationNeverWeakensAnEarlierOne(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	f := New()
	apply(t, f,
		change(t, 1, nhi.SubjectRevocation, "", nhi.Revocation{Key: "k", At: at, Expires: at.Add(time.Hour)}),
		change(t, 2, nhi.SubjectRevocation, "", nhi.Revocation{Key: "k", At: at.Add(-time.Hour), Expires: at.Add(time.Minute)}))
	f.Heartbeat(at.Add(30 * time.Minute))
	if !f.Revoked(nhi.Attested{Thumbprint: "k", IssuedAt: at}) {
		t.Error("the earlier revocation is gone")
	}
}

// TestApplyAgreesWithLoad runs random changes and compares with the facts
// loaded from the rows that they leave.
func TestApplyAgreesWithLoad(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 2))
	f := New()
	rows, ids := map[nhi.CredentialID]nhi.Credential{}, map[nhi.ID]nhi.Identity{}
	for seq := nhi.Generation(1); seq <= 3000; seq++ {
		n := r.IntN(200)
		switch r.IntN(4) {
		case 0:
			i := someIdentity(n)
			i.Risk = r.IntN(101)
			ids[i.ID] = i
			apply(t, f, change(t, seq, nhi.SubjectIdentity, string(i.ID), i))
		case 1:
			delete(ids, identityN(n))
			apply(t, f, change(t, seq, nhi.SubjectIdentity, string(identityN(n)), nil))
		case 2:
			c := someCredential(n, r.IntN(50))
			c.PublicID = fmt.Sprint("key", r.IntN(300))
			if r.IntN(3) == 0 {
				c.Consumer = identityN(r.IntN(9))
			}
			rows[c.ID] = c
			apply(t, f, change(t, seq, nhi.SubjectCredential, string(c.ID), c))
		default:
			delete(rows, credentialN(n))
			apply(t, f, change(t, seq, nhi.SubjectCredential, string(credentialN(n)), nil))
		}
	}
	var state State
	for _, c := range rows {
		state.Credentials = append(state.Credentials, c)
	}
	for _, i := range ids {
		state.Identities = append(state.Identities, i)
	}
	fresh := New()
	if err := fresh.Load(3000, state); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fresh.Counts(), f.Counts()); diff != "" {
		t.Fatalf("seed %d: counts (-loaded +applied):\n%s", seed, diff)
	}
	for n := range 300 {
		a, _ := fresh.Credential(credentialN(n))
		b, _ := f.Credential(credentialN(n))
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("seed %d: credential (-loaded +applied):\n%s", seed, diff)
		}
		_, okA := fresh.CredentialByKeyID(fmt.Sprint("key", n))
		_, okB := f.CredentialByKeyID(fmt.Sprint("key", n))
		if okA != okB {
			t.Fatalf("seed %d: key id %d found: loaded %v, applied %v", seed, n, okA, okB)
		}
		c, _ := fresh.Identity(identityN(n))
		d, _ := f.Identity(identityN(n))
		if diff := cmp.Diff(c, d); diff != "" {
			t.Fatalf("seed %d: identity (-loaded +applied):\n%s", seed, diff)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add("identity", "nhi_x", []byte(`{"id":"nhi_x","risk":7}`))
	f.Add("credential", "crd_x", []byte(`{"id":"crd_x","public_id":"p","verifier":"AAAA"}`))
	f.Add("revocation", "", []byte(`{"token":"a","at":"2026-01-01T00:00:00Z"}`))
	f.Add("routes", "", []byte(`[{"host":"h"}]`))
	f.Add("point", "nhi_p", []byte(`null`))
	f.Fuzz(func(t *testing.T, subject, key string, payload []byte) {
		facts := New()
		err := facts.Apply([]nhi.Change{
			{Seq: 1, Subject: nhi.Subject(subject), Key: key, Version: 1, Payload: payload},
			{Seq: 2, Subject: nhi.Subject(subject), Key: key, Version: 1, Payload: payload},
			{Seq: 3, Subject: nhi.Subject(subject), Key: key, Version: 1},
		})
		if (err != nil) != (facts.Stale() != "") || err != nil && facts.Generation() != 0 {
			t.Fatalf("error %v, stale %q, generation %d", err, facts.Stale(), facts.Generation())
		}
		facts.Heartbeat(time.Now())
	})
}

func largeFacts(b *testing.B, identities, perIdentity int) *Facts {
	b.Helper()
	f := New()
	l := f.Begin()
	for i := range identities {
		v := someIdentity(i)
		l.Identity(&v)
		for j := range perIdentity {
			c := someCredential(i*perIdentity+j, i)
			l.Credential(&c)
		}
	}
	if err := l.Commit(1); err != nil {
		b.Fatal(err)
	}
	return f
}

func BenchmarkApplyAtAMillionIdentities(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	f := largeFacts(b, 1_000_000, 3)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("%+v, heap %d MB", f.Counts(), (after.HeapAlloc-before.HeapAlloc)>>20)
	payloads := make([]nhi.Change, 512)
	for i := range payloads {
		c := someCredential(i*5_000, i*1_600)
		c.State = nhi.CredentialSuspended
		payloads[i] = change(b, 0, nhi.SubjectCredential, string(c.ID), c)
	}
	b.ReportAllocs()
	seq := f.Generation()
	start := cpuTime()
	defer func() { reportCPU(b, start) }()
	for b.Loop() {
		seq++
		c := payloads[int(seq)%len(payloads)]
		c.Seq = seq
		if err := f.Apply([]nhi.Change{c}); err != nil {
			b.Fatal(err)
		}
	}
	runtime.KeepAlive(f)
}
