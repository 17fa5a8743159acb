package kubernetes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/enforce/enforcetest"
	"github.com/muster-id/muster/internal/nhi"
)

// createSecret is an AdmissionReview of the robot, with more members of its
// request.
func createSecret(more string) string {
	return `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"uid-1","kind":{"group":"","version":"v1","kind":"Secret"},
"resource":{"group":"","version":"v1","resource":"secrets"},"name":"db","namespace":"payments","operation":"CREATE",
"userInfo":{"username":"system:serviceaccount:payments:robot","uid":"u-1"},
"object":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","uid":"made-now","creationTimestamp":"2026-11-22T00:00:00Z"},"data":{"a":"b"}},"oldObject":null` + more + `}}`
}

func TestDecisionsKeepTheirMeaningAtAdmission(t *testing.T) {
	enforcetest.Drive(t, func(t *testing.T, answer nhi.Decision, caller enforcetest.Caller) nhi.Outcome {
		body := createSecret("")
		if caller == enforcetest.Unrouted {
			body = strings.Replace(body, `"resource":"secrets"`, `"resource":"others"`, 1)
		}
		got := newBench(answer, nil).admission(t, body)
		switch {
		case got.UID != "uid-1":
			t.Fatalf("uid %q", got.UID)
		case got.Allowed && got.Status == nil:
			return nhi.Allow
		case got.Allowed || got.Status == nil || got.Status.Code != 403:
			t.Fatalf("%+v", got)
		}
		return nhi.Outcome(got.Audit["outcome"])
	}, enforcetest.Known, enforcetest.Unrouted)
}

func TestARefusalSaysWhichDecisionAndNothingOfThePolicies(t *testing.T) {
	got := newBench(forbid, nil).admission(t, createSecret(""))
	want := response{
		UID: "uid-1", Status: &result{403, "Forbidden", "muster: refused by risk-too-high; decision dec-1"},
		Audit: map[string]string{"decision": "dec-1", "outcome": "deny"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnObservingPointAdmitsWithAWarning(t *testing.T) {
	got := newBench(observe, nil).admission(t, createSecret(""))
	want := response{
		UID: "uid-1", Allowed: true, Warnings: []string{"muster: would refuse by risk-too-high; decision dec-1"},
		Audit: map[string]string{"decision": "dec-1", "outcome": "allow", "would-refuse": "true"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	long := observe
	for range 40 {
		long.Reasons = append(long.Reasons, nhi.Reason{Policy: "a-policy-with-a-long-name"})
	}
	if got := newBench(long, nil).admission(t, createSecret("")).Warnings[0]; len(got) != 256 {
		t.Errorf("a warning of %d characters", len(got))
	}
}

func TestADryRunLeavesNoTraceButItsRecord(t *testing.T) {
	b := newBench(base, nil)
	b.admission(t, createSecret(`,"dryRun":true`))
	b.admission(t, createSecret(`,"dryRun":false`))
	asked := b.decider.Asked()
	if !asked[0].Trial || asked[0].Subject.Method != "kubernetes-dry-run" {
		t.Errorf("the dry run is asked as %+v", asked[0])
	}
	if asked[1].Trial || asked[1].Subject.Method != "kubernetes" {
		t.Errorf("the real one is asked as %+v", asked[1])
	}
}

func TestAnApprovalIsForTheObjectThatWasShown(t *testing.T) {
	target := func(body string) string {
		b := newBench(base, nil)
		b.admission(t, body)
		return b.decider.Asked()[0].Target
	}
	first := target(createSecret(""))
	for name, same := range map[string]string{
		"tried again":       strings.NewReplacer("made-now", "made-later", "2026-11-22", "2026-11-23").Replace(createSecret("")),
		"written otherwise": strings.Replace(createSecret(""), `"data":{"a":"b"}`, `"data": {"\u0061" : "b"}`, 1),
	} {
		if got := target(same); got != first {
			t.Errorf("%s: %s, want %s", name, got, first)
		}
	}
	for name, other := range map[string]string{
		"another value": strings.Replace(createSecret(""), `"b"`, `"c"`, 1),
		"another label": strings.Replace(createSecret(""), `"uid":"made-now"`, `"labels":{"a":"b"}`, 1),
		"other options": createSecret(`,"options":{"kind":"CreateOptions","fieldManager":"x"}`),
		"no object":     strings.Replace(createSecret(""), `"object"`, `"other"`, 1),
	} {
		if got := target(other); got == first {
			t.Errorf("%s: the same target", name)
		}
	}
	if a, b := target(strings.Replace(createSecret(""), `"b"`, `9007199254740993`, 1)), target(strings.Replace(createSecret(""), `"b"`, `9007199254740992`, 1)); a == b {
		t.Error("two large numbers are one")
	}
}

func TestAnAdmissionThatCannotBeReadIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"no request":            `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
		"no uid":                strings.Replace(createSecret(""), "uid-1", "", 1),
		"a long uid":            strings.Replace(createSecret(""), "uid-1", strings.Repeat("u", 200), 1),
		"another operation":     strings.Replace(createSecret(""), "CREATE", "PATCH", 1),
		"the old version":       strings.Replace(createSecret(""), "k8s.io/v1", "k8s.io/v1beta1", 1),
		"an object said twice":  createSecret(`,"object":{}`),
		"a name of two objects": strings.Replace(createSecret(""), `"data":{"a":"b"}`, `"data":{"a":"b","a":"c"}`, 1),
	} {
		b := newBench(base, nil)
		if got := b.admission(t, body); got.Allowed || got.Status == nil {
			t.Errorf("%s: %+v", name, got)
		}
		if len(b.decider.Asked()) != 0 {
			t.Errorf("%s: asked", name)
		}
	}
}
