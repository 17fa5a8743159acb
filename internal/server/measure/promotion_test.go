package measure

import (
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/library"
)

func TestAPromotionStandsAtOneGate(t *testing.T) {
	text := scrape(Promotion{func() library.Numbers {
		return library.Numbers{Gate: nhi.PromotionStaged, Percent: 10, Unexplained: 3, Holds: []nhi.PromotionHold{nhi.HoldErrors}, Opened: 2, RolledBack: 1}
	}})
	for _, want := range []string{
		`gate{gate="shadow"} 0`, `gate{gate="staged"} 1`, `gate{gate="watching"} 0`, "percent 10", "unexplained 3", `held{why="paused"} 0`, `held{why="errors"} 1`, "gates_opened_total 2", "rollbacks_total 1",
	} {
		if want = "muster_policy_promotion_" + want + "\n"; !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if text := scrape(Promotion{func() library.Numbers { return library.Numbers{} }}); strings.Contains(text, "} 1") {
		t.Errorf("there is none, and it stands at a gate or is held:\n%s", text)
	}
}
