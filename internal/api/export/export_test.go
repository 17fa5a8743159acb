package export

import (
	"errors"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
)

func TestASlowReaderDoesNotKeepOthersFromTheirExports(t *testing.T) {
	var p places
	take := func(who string) func() {
		t.Helper()
		free, err := p.take(who)
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		return free
	}
	first, second := take("ada"), take("ada")
	if _, err := p.take("ada"); !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("one person takes a third place: %v", err)
	}
	mara, bob := take("mara"), take("bob")
	if _, err := p.take("eve"); !errors.Is(err, nhi.ErrBusy) {
		t.Errorf("more than %d files are written: %v", together, err)
	}
	for _, free := range []func(){first, second, mara, bob} {
		free()
	}
	if p.all != 0 || len(p.by) != 0 {
		t.Errorf("places that nobody frees: %d, %v", p.all, p.by)
	}
}
