package server

import (
	"errors"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/server/view"
)

func TestASourceThatFailsSaysWhyUntilItWorksAgain(t *testing.T) {
	r := view.NewReporters(nil)
	at := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	newest := at.Add(-90 * time.Second)
	r.Note("nhi_s", client.Received{Events: 3, Refused: 1, Newest: &newest}, nil, at)
	if got := r.SourceHealth("nhi_s"); got.Events != 3 || got.Refused != 1 || got.Lag == nil || *got.Lag != 90 || got.Error != "" {
		t.Errorf("after one delivery: %+v", got)
	}
	r.Note("nhi_s", client.Received{}, errors.New("line 4: no record"), at.Add(time.Minute))
	if got := r.SourceHealth("nhi_s"); got.Failures != 1 || got.Error != "line 4: no record" || !got.ErrorAt.Equal(at.Add(time.Minute)) || got.Deliveries != 1 {
		t.Errorf("after a failure: %+v", got)
	}
	ahead := at.Add(time.Hour)
	r.Note("nhi_s", client.Received{Events: 1, Newest: &ahead}, nil, at.Add(2*time.Minute))
	if got := r.SourceHealth("nhi_s"); got.Error != "" || got.ErrorAt != nil || got.Failures != 1 || *got.Lag != 0 {
		t.Errorf("after it works again: %+v, want no error and no lag below zero", got)
	}
	r.Note("", client.Received{}, errors.New("no source"), at)
	if got := r.SourceHealth("nhi_other"); got.Deliveries != 0 || got.Since.IsZero() {
		t.Errorf("a source that never spoke: %+v", got)
	}
}

func TestHealthIsShownToWhoeverMayRead(t *testing.T) {
	r := start(t, t.TempDir())
	var got client.Health
	r.get("/v1/health", &got)
	names := map[string]string{}
	for _, c := range got.Checks {
		names[c.Name] = c.State
	}
	if !got.Ready || names["facts"] != "ok" || names["store"] != "ok" {
		t.Errorf("health %+v", got)
	}
	logs := r.source("trail", "cloudtrail", account)
	if _, err := logs.ReceiveLogs(t.Context(), "cloudtrail", trail(event{id: "1", user: "settlement"})); err != nil {
		t.Fatal(err)
	}
	var sources client.Page[client.Source]
	r.get("/v1/sources", &sources)
	if len(sources.Items) != 1 || sources.Items[0].Health.Events != 1 || sources.Items[0].Health.Lag == nil {
		t.Errorf("sources %+v, want the one event", sources.Items)
	}
}
