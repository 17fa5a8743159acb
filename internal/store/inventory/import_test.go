package inventory_test

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/connector/aws"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

func TestAnAccountsFilesBecomeTheInventory(t *testing.T) {
	archive, err := txtar.ParseFile("../../connector/aws/testdata/account.txtar")
	if err != nil {
		t.Fatal(err)
	}
	in := connector.Input{At: start}
	for n, form := range []string{aws.AuthorizationDetails, aws.AccessKeys, aws.CredentialReport} {
		f := archive.Files[n]
		in.Files = append(in.Files, connector.File{Form: form, Name: f.Name, Reader: bytes.NewReader(f.Data)})
	}
	report, err := aws.Connector.Read(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := opened(t, inventory.DefaultSettings())
	r := apply(t, s, report.Observation)
	if want := (inventory.Result{Identities: 4, Credentials: 3, Grants: 8, Owners: 2, Created: 4}); r != want {
		t.Errorf("result = %+v, want %+v", r, want)
	}
	i, err := s.Find(t.Context(), "arn:aws:iam::210987654321:user/machines/billing-export")
	if err != nil || i.Owner.Ref != "mira.oduya@kestrel.example" || i.LastSeen.IsZero() {
		t.Errorf("identity = %+v, %v", i, err)
	}
	reach, err := s.Reach(t.Context(), i.ID)
	if err != nil || len(reach) == 0 || !strings.HasPrefix(reach[0], "every action on every resource") {
		t.Errorf("reach = %q, %v", reach, err)
	}
	sighted, err := s.Match(t.Context(), nhi.Sighting{Provider: "aws", PublicID: "AKIAQ3EGRZ4KEXAMPLE1"})
	if err != nil || sighted.Verdict != nhi.Unproven || sighted.Identity != i.ID {
		t.Errorf("sighting = %+v, %v", sighted, err)
	}
	c, err := s.Counts(t.Context(), nil)
	if err != nil || c.Admins != 2 || c.Unowned != 3 || c.Credentials != 3 {
		t.Errorf("counts = %+v, %v", c, err)
	}
}
