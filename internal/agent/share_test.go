package agent

import (
	"fmt"
	"testing"

	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/force"
)

func TestAPointDecidesForTheShareThatItsServerDecidesFor(t *testing.T) {
	next := map[string]string{"x.cedar": `@id("stop") forbid (principal, action, resource);`}
	key := [force.KeySize]byte{4, 2}
	p, err := policiesOf(policy.DefaultSettings(), &feed.Basis{Next: &feed.Next{Policies: next, Percent: 50, Key: key[:]}})
	if err != nil {
		t.Fatal(err)
	}
	server, err := force.New(policy.DefaultSettings(), nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := server.Prepare(next)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Stage(force.Side{Set: set, Files: next}, force.Share{Percent: 50, Key: key}, false); err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for i := range 100 {
		id := nhi.IdentityID("muster", "", fmt.Sprint(i))
		got, want := p.Of(id).Digest(), server.Pair().Of(id).Digest()
		if by[got]++; got != want {
			t.Errorf("%s: by %s here, by %s at the server", id, got, want)
		}
	}
	if len(by) != 2 {
		t.Errorf("decided by %v", by)
	}
}

func TestAShareThatCannotBeReadIsRefused(t *testing.T) {
	for _, n := range []*feed.Next{{Percent: 0, Key: make([]byte, 16)}, {Percent: 100, Key: make([]byte, 16)}, {Percent: 10}, {Percent: 10, Key: make([]byte, 16), Policies: map[string]string{"x.cedar": "nonsense"}}} {
		if _, err := policiesOf(policy.DefaultSettings(), &feed.Basis{Next: n}); err == nil {
			t.Errorf("%+v was taken", n)
		}
	}
}
