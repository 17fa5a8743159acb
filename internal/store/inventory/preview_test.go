package inventory_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/inventory/preview"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	tables "github.com/muster-id/muster/internal/store/inventory"
)

// rowsOf is what the tables hold, without the generation.
func rowsOf(t *testing.T, db *store.DB) (identities []nhi.Identity, credentials []nhi.Credential) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		for i, err := range tables.EachIdentity(t.Context(), tx) {
			if err != nil {
				return err
			}
			identities = append(identities, i)
		}
		for c, err := range tables.EachCredential(t.Context(), tx) {
			if err != nil {
				return err
			}
			credentials = append(credentials, c)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(identities, func(a, b nhi.Identity) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(credentials, func(a, b nhi.Credential) int { return cmp.Compare(a.ID, b.ID) })
	return identities, credentials
}

// aCredential is the access key of a user.
func aCredential(of nhi.Identity, public, native string) nhi.Credential {
	return nhi.Credential{
		ID: nhi.NewCredentialID("aws", account, public), Identity: of.ID, Kind: nhi.CredentialAWSAccessKey,
		Provider: "aws", Account: account, PublicID: public, Native: native,
	}
}

func TestAPreviewNamesWhatAnImportWouldDo(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	kept, moved, gone, fresh := user("AIDA1", "kept", nil), user("AIDA2", "moved", nil), user("AIDA3", "gone", nil), user("AIDA4", "fresh", nil)
	o := observe(start, kept, moved, gone)
	o.Credentials = []nhi.Credential{aCredential(kept, "AKIA1", "Active"), aCredential(moved, "AKIA2", "Active")}
	o.Grants = []nhi.Grant{{Identity: kept.ID, Kind: "inline-policy", Name: "stays"}, {Identity: moved.ID, Kind: "inline-policy", Name: "goes"}}
	apply(t, s, o)

	moved.Name, moved.Labels = "renamed", map[string]string{"owner": "ana@example.com"}
	o = observe(start.Add(time.Hour), kept, moved, fresh, fresh) // a file may hold one twice
	o.Credentials = []nhi.Credential{aCredential(kept, "AKIA1", "Active"), aCredential(moved, "AKIA2", "Inactive"), aCredential(fresh, "AKIA4", "Active")}
	o.Grants = []nhi.Grant{{Identity: kept.ID, Kind: "inline-policy", Name: "stays"}, {Identity: fresh.ID, Kind: "inline-policy", Name: "comes"}}
	ask := func() preview.Preview {
		t.Helper()
		p, err := preview.Of(t.Context(), s, o)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	comes, goes := inventory.GrantID(o.Grants[1]), inventory.GrantID(nhi.Grant{Identity: moved.ID, Kind: "inline-policy", Name: "goes"})
	want := preview.Preview{
		Identities:  preview.Difference{New: 1, Changed: 1, Unchanged: 1},
		Credentials: preview.Difference{New: 1, Changed: 1, Unchanged: 1},
		Grants:      preview.Difference{New: 1, Gone: 1, Unchanged: 1},
		Missing:     1,
		First: []preview.Change{
			{What: "identity", How: "new", ID: string(fresh.ID), Name: "fresh"},
			{What: "identity", How: "changed", ID: string(moved.ID), Name: "renamed", Fields: []string{"name", "owner", "labels"}},
			{What: "identity", How: "missing", ID: string(gone.ID), Name: "gone"},
			{What: "credential", How: "new", ID: string(o.Credentials[2].ID), Identity: fresh.ID, Name: "AKIA4"},
			{What: "credential", How: "changed", ID: string(o.Credentials[1].ID), Identity: moved.ID, Name: "AKIA2", Fields: []string{"native"}},
			{What: "grant", How: "new", ID: comes, Identity: fresh.ID, Name: "comes"},
			{What: "grant", How: "gone", ID: goes, Identity: moved.ID, Name: "goes"},
		},
	}
	if diff := gocmp.Diff(want, ask()); diff != "" {
		t.Errorf("preview (-want +got):\n%s", diff)
	}
	apply(t, s, o)
	o.At = o.At.Add(time.Hour)
	want = preview.Preview{
		Identities: preview.Difference{Gone: 1, Unchanged: 3}, Credentials: preview.Difference{Unchanged: 3}, Grants: preview.Difference{Unchanged: 2},
		First: []preview.Change{{What: "identity", How: "gone", ID: string(gone.ID), Name: "gone", Fields: []string{"state"}}},
	}
	if diff := gocmp.Diff(want, ask()); diff != "" {
		t.Errorf("preview of the second miss (-want +got):\n%s", diff)
	}
}

// Whatever the observations are, the preview of one counts what applying it
// then does, and leaves nothing: no row, no change, no generation.
func TestAPreviewIsWhatApplyingDoesAndLeavesNothing(t *testing.T) {
	s, db := opened(t, inventory.DefaultSettings())
	told := 0
	db.OnCommit(func(changes []nhi.Change) { told += len(changes) })
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var ids []nhi.Identity
		var o nhi.Observation
		for n := range 8 {
			if r.IntN(3) == 0 {
				continue
			}
			i := user(fmt.Sprintf("AIDA%d", n), fmt.Sprintf("name-%d", r.IntN(3)), map[string]string{"owner": fmt.Sprintf("team:%d", r.IntN(3))})
			ids = append(ids, i)
			if r.IntN(2) == 0 {
				o.Credentials = append(o.Credentials, aCredential(i, fmt.Sprintf("AKIA%d", n), []string{"Active", "Inactive"}[r.IntN(2)]))
			}
			for g := range r.IntN(3) {
				o.Grants = append(o.Grants, nhi.Grant{Identity: i.ID, Kind: "inline-policy", Name: fmt.Sprint(g), Admin: g == 0})
			}
		}
		at := start.Add(time.Duration(round+r.IntN(3)) * time.Hour) // some are older than the one before
		seen := observe(at, ids...)
		seen.Credentials, seen.Grants = o.Credentials, o.Grants

		identities, credentials := rowsOf(t, db)
		counts, generation, heard := count(t, s), db.Generation(), told
		p, err := preview.Of(t.Context(), s, seen)
		if err != nil {
			t.Fatal(err)
		}
		sameI, sameC := rowsOf(t, db)
		if diff := gocmp.Diff(identities, sameI); diff != "" {
			t.Fatalf("round %d: the preview left (-before +after):\n%s", round, diff)
		}
		if diff := gocmp.Diff(credentials, sameC); diff != "" {
			t.Fatalf("round %d: the preview left (-before +after):\n%s", round, diff)
		}
		if diff := gocmp.Diff(counts, count(t, s)); diff != "" || db.Generation() != generation || told != heard {
			t.Fatalf("round %d: generation %d became %d, %d changes were told, the tally (-before +after):\n%s", round, generation, db.Generation(), told-heard, diff)
		}
		got := apply(t, s, seen)
		if p.Identities.New != got.Created || p.Identities.Changed != got.Updated || p.Identities.Gone != got.Retired {
			t.Fatalf("round %d: preview %+v, applied %+v", round, p.Identities, got)
		}
		if n := p.Credentials; n.New+n.Changed+n.Unchanged != got.Credentials || n.Gone != 0 {
			t.Fatalf("round %d: preview of credentials %+v, applied %+v", round, n, got)
		}
		after, err := preview.Of(t.Context(), s, seen)
		if err != nil {
			t.Fatal(err)
		}
		nothing := preview.Preview{Identities: preview.Difference{Unchanged: len(ids)}, Credentials: preview.Difference{Unchanged: len(o.Credentials)}, Grants: after.Grants}
		if diff := gocmp.Diff(nothing, after); diff != "" {
			t.Fatalf("round %d: the preview of what is applied (-want +got):\n%s", round, diff)
		}
	}
	if told == 0 {
		t.Error("no change was told at all: the test proves nothing")
	}
}

func TestAPreviewRefusesWhatAnImportRefuses(t *testing.T) {
	s, _ := opened(t, inventory.DefaultSettings())
	o := observe(start, user("AIDA1", "kept", nil))
	o.Grants = []nhi.Grant{{Identity: "nhi_nobody", Kind: "inline-policy", Name: "p"}}
	_, err := preview.Of(t.Context(), s, o)
	_, _, want := s.Apply(t.Context(), o)
	if err == nil || want == nil {
		t.Errorf("preview: %v, apply: %v; want both refused", err, want)
	}
}

func count(t *testing.T, s *inventory.Service) inventory.Counts {
	t.Helper()
	c, err := s.Counts(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
