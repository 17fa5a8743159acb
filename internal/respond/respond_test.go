package respond

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

func TestAPlaceIsSaidInWords(t *testing.T) {
	for _, tt := range []struct {
		place nhi.Place
		want  string
	}{
		{nhi.Place{Kind: "file", Name: "a/b.yaml", Line: 3}, "in the file a/b.yaml line 3"},
		{nhi.Place{Kind: "message", Name: "https://forum.example/1"}, "in the message https://forum.example/1"},
		{nhi.Place{Kind: "message", Line: 1}, "in a message that has no name line 1"},
		{nhi.Place{Kind: "moon", Name: "crater"}, "at crater"},
		{nhi.Place{}, "in a place that has no name"},
	} {
		if got := where(tt.place); got != tt.want {
			t.Errorf("where(%+v) = %q, want %q", tt.place, got, tt.want)
		}
	}
}

func TestNobodyIsWokenForWhatCanWait(t *testing.T) {
	for severity, want := range map[nhi.Severity]int{nhi.Info: 0, nhi.Low: 0, nhi.Medium: 1, nhi.High: 1, nhi.Critical: 1} {
		if got := len(NoticesOf(nhi.Finding{Severity: severity})); got != want {
			t.Errorf("%s: %d notices, want %d", severity, got, want)
		}
	}
}

func TestANoticeSaysWhoWhatWhereAndHowToUndoIt(t *testing.T) {
	f := nhi.Finding{
		ID: "fnd_x", Rule: RuleLeakConfirmed, Severity: nhi.Critical, Sentence: "it leaked", Identity: "nhi_x", Owner: "team:payments",
		DetectedAt: time.Unix(1, 0), Place: &nhi.Place{Kind: "file", Name: "a.yaml"},
	}
	n := notice("credential.contained", f, &nhi.Action{ID: "act-1", Measure: nhi.MeasureNarrow, Status: nhi.ActionDone}, nil)
	for _, want := range []string{"fnd_x", "it leaked", "team:payments", "a.yaml", "muster action undo act-1", "narrow"} {
		if !strings.Contains(string(n.Data), want) {
			t.Errorf("%q is not in %s", want, n.Data)
		}
	}
	if !json.Valid(n.Data) || n.ID == "" || n.Topic != "credential.contained" || n.Severity != nhi.Critical || !n.At.Equal(f.DetectedAt) {
		t.Errorf("notice %+v", n)
	}
}

func TestAStatusThatIsNoneIsRefused(t *testing.T) {
	if _, err := New(nil, nil, nil, nil, nil).SetStatus(t.Context(), "fnd_x", "ignored", "operator:x", ""); err == nil {
		t.Error("status ignored is accepted")
	}
}
