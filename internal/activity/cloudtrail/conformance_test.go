//go:build conformance

package cloudtrail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/nhi"
)

// reference returns the folder of reference data, and fails without it.
func reference(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("MUSTER_DATA")
	if dir == "" {
		t.Fatal("MUSTER_DATA is not set: it names the folder of reference data")
	}
	return dir
}

// isCloudTrail decides independently of the parser, by encoding/json, whether
// a sample is a CloudTrail record.
func isCloudTrail(log map[string]any) bool {
	lower := map[string]any{}
	for k, v := range log {
		lower[strings.ToLower(k)] = v
	}
	name, _ := lower["eventname"].(string)
	source, _ := lower["eventsource"].(string)
	_, identity := lower["useridentity"].(map[string]any)
	return name != "" && (source != "" || identity)
}

func decodeAll(t *testing.T, name string, in []byte) ([]nhi.Event, []activity.Unparsable, activity.Stats) {
	t.Helper()
	var events []nhi.Event
	var rest []activity.Unparsable
	stats, err := Format.Decode(t.Context(), bytes.NewReader(in), activity.Options{Name: name, Arrived: time.Unix(1.7e9, 0)},
		func(ev nhi.Event) error { events = append(events, ev); return nil },
		func(u activity.Unparsable) error {
			u.Raw = bytes.Clone(u.Raw)
			rest = append(rest, u)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return events, rest, stats
}

func TestConformanceEverySampleThatIsCloudTrailParses(t *testing.T) {
	f, err := os.Open(filepath.Join(reference(t), "log-samples", "cloudtrail.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines bytes.Buffer
	var want, other, total int
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var sample struct {
			Log json.RawMessage
		}
		if err := json.Unmarshal(in.Bytes(), &sample); err != nil {
			t.Fatal(err)
		}
		var log map[string]any
		if err := json.Unmarshal(sample.Log, &log); err != nil {
			t.Fatal(err)
		}
		total++
		alone, _, _ := decodeAll(t, "sample", sample.Log)
		if isCloudTrail(log) {
			want++
			if len(alone) != 1 {
				t.Errorf("line %d: %d events of one record", total, len(alone))
				continue
			}
			compare(t, total, log, alone[0])
		} else if other++; len(alone) != 0 {
			t.Errorf("line %d: an event of what is no CloudTrail record", total)
		}
		lines.Write(sample.Log)
		lines.WriteByte('\n')
	}
	events, rest, stats := decodeAll(t, "cloudtrail.jsonl", lines.Bytes())
	t.Logf("%d samples: %d CloudTrail records, %d others; decoded %d events, %d unparsable", total, want, other, stats.Events, stats.Unparsable)
	if len(events) != want || len(rest) != other || total != 255 || want != 229 {
		t.Errorf("got %d events and %d unparsable of %d, want 229 and 26 of 255 (%d, %d by encoding/json)", len(events), len(rest), total, want, other)
	}
	for _, u := range rest {
		if u.Reason == "" || len(u.Raw) == 0 {
			t.Errorf("unparsable without reason or bytes: %+v", u)
		}
	}
}

// compare checks the fields that are taken over as they are.
func compare(t *testing.T, line int, log map[string]any, ev nhi.Event) {
	t.Helper()
	lower := map[string]any{}
	for k, v := range log {
		lower[strings.ToLower(k)] = v
	}
	text := func(key string) string { s, _ := lower[key].(string); return s }
	if ev.Operation != text("eventname") && !strings.HasPrefix(text("eventname"), ev.Operation+"20") {
		t.Errorf("line %d: operation %q, want %q", line, ev.Operation, text("eventname"))
	}
	if ev.Service != text("eventsource") || ev.Region != text("awsregion") {
		t.Errorf("line %d: service %q region %q", line, ev.Service, ev.Region)
	}
	if id := text("eventid"); id != "" && ev.ID != id {
		t.Errorf("line %d: id %q, want %q", line, ev.ID, id)
	}
	if text("errorcode") != "" && (ev.Status != nhi.Failure || ev.Error != text("errorcode")) {
		t.Errorf("line %d: status %q error %q, want %q", line, ev.Status, ev.Error, text("errorcode"))
	}
	if at, err := time.Parse(time.RFC3339, text("eventtime")); err == nil && !ev.Time.Equal(at) {
		t.Errorf("line %d: time %v, want %v", line, ev.Time, at)
	}
	who, _ := lower["useridentity"].(map[string]any)
	if kind, _ := who["type"].(string); kind != "" && ev.Principal.Type != kind {
		t.Errorf("line %d: principal %q, want %q", line, ev.Principal.Type, kind)
	}
	if !ev.Class.Valid() {
		t.Errorf("line %d: class %q", line, ev.Class)
	}
	if key, _ := who["accessKeyId"].(string); strings.HasPrefix(key, "A") && ev.Principal.KeyID != key {
		t.Errorf("line %d: key %q, want %q", line, ev.Principal.KeyID, key)
	}
}

func TestConformanceEveryOCSFExampleOfCloudTrailParses(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(reference(t), "ocsf", "*CloudTrail*.raw"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		events, rest, _ := decodeAll(t, filepath.Base(file), raw)
		if len(events) == 0 || len(rest) != 0 {
			t.Errorf("%s: %d events, %d unparsable", filepath.Base(file), len(events), len(rest))
			for _, u := range rest {
				t.Log(u.Error())
			}
		}
		for i := range events {
			if id, _ := activity.Attribute(&events[i]); id == "" {
				t.Errorf("%s: attributed to nobody: %+v", filepath.Base(file), events[i].Principal)
			}
		}
	}
	t.Logf("%d files", len(files))
}
