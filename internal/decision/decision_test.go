package decision

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/muster-id/muster/internal/nhi"
)

// TestWhatIsCutDoesNotHoldTheRest: an operation is remembered for long, and what
// a caller wrote besides is not.
func TestWhatIsCutDoesNotHoldTheRest(t *testing.T) {
	long := strings.Repeat("x", 1<<16)
	q := nhi.Question{Operation: long, Agent: long}
	sanitise(&q, time.Now())
	for _, got := range []string{q.Operation, q.Agent} {
		if len(got) >= len(long) || unsafe.StringData(got) == unsafe.StringData(long) {
			t.Errorf("%d bytes hold %d", len(got), len(long))
		}
	}
}

func TestAPercentOfCallersIsStable(t *testing.T) {
	p := nhi.Point{ID: "nhi_enforcing", Mode: nhi.Enforce, Percent: 100}
	identityN := func(n int) nhi.ID { return nhi.IdentityID("aws", "1", fmt.Sprint("i", n)) }
	bites := map[int]int{}
	for _, percent := range []int{0, 25, 50, 100} {
		p.Percent = percent
		for n := range 2000 {
			if p.Enforces(identityN(n)) {
				bites[percent]++
				for _, more := range []int{50, 100} { // whoever is in stays in
					if q := p; more > percent {
						q.Percent = more
						if !q.Enforces(identityN(n)) {
							t.Fatalf("%s is in at %d%% and out at %d%%", identityN(n), percent, more)
						}
					}
				}
			}
		}
	}
	if bites[0] != 0 || bites[100] != 2000 || bites[25] < 400 || bites[25] > 600 || bites[50] < 900 || bites[50] > 1100 {
		t.Errorf("of 2000 callers: %v", bites)
	}
	p.Mode = "shadow"
	if !p.Enforces(identityN(1)) {
		t.Error("an unknown mode lets pass")
	}
}

func TestIDsAreUUIDsOfVersion7InOrder(t *testing.T) {
	shape := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen, last := map[string]bool{}, ""
	for i := range 1000 {
		id := newDecisionID(time.UnixMilli(int64(1_700_000_000_000 + i)))
		if !shape.MatchString(id) || seen[id] || id <= last {
			t.Fatalf("id %q after %q", id, last)
		}
		seen[id], last = true, id
	}
}
