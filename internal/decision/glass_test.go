package decision_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/nhi"
)

const serial = "01900000-0000-7000-8000-000000000009"

// opened is a world in which the point that enforces is open by a code.
func opened(t testing.TB) *world {
	return newWorld(t, func(c *decision.Config) {
		c.Glass = func(point nhi.ID, _ time.Time) string {
			if point == enforcing.ID {
				return serial
			}
			return ""
		}
	})
}

func TestABrokenGlassLetsPassWhatPolicyRefusesAndNothingThatIsDead(t *testing.T) {
	type edit = func(*nhi.Identity, *nhi.Credential, *nhi.Point, *nhi.Question)
	for _, tt := range []struct {
		name  string
		edit  edit
		want  nhi.Outcome
		glass bool
	}{
		{"what is allowed anyway is not marked", func(*nhi.Identity, *nhi.Credential, *nhi.Point, *nhi.Question) {}, nhi.Allow, false},
		{"a crossing passes", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) { q.Resource = "test" }, nhi.Allow, true},
		{"a step-up passes", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) { q.Resource = "high" }, nhi.Allow, true},
		{"a key pinned by choice passes alone", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Point, _ *nhi.Question) { c.Consumer = identityN(2) }, nhi.Allow, true},
		{"a stranger does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) {
			q.Subject = nhi.Attested{Identity: identityN(77)}
		}, nhi.Deny, false},
		{"nobody does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) { q.Subject = nhi.Attested{} }, nhi.Deny, false},
		{"no route does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) { q.Action, q.Resource = "", "" }, nhi.Deny, false},
		{"no resource does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) { q.Resource = "" }, nhi.Deny, false},
		{"an unknown action does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) { q.Action = "fly" }, nhi.Deny, false},
		{"a key that was narrowed because it leaked does not", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Point, _ *nhi.Question) {
			c.State = nhi.CredentialNarrowed
		}, nhi.StepUp, false},
		{"a suspended key does not", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Point, _ *nhi.Question) {
			c.State = nhi.CredentialSuspended
		}, nhi.Deny, false},
		{"a revoked key does not", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Point, _ *nhi.Question) {
			c.State = nhi.CredentialRevoked
		}, nhi.Deny, false},
		{"a key of unknown state does not", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Point, _ *nhi.Question) { c.State = "zombie" }, nhi.Deny, false},
		{"an expired key does not", func(_ *nhi.Identity, c *nhi.Credential, _ *nhi.Point, _ *nhi.Question) {
			c.Expires = time.Now().Add(-time.Hour)
		}, nhi.Deny, false},
		{"somebody else's key does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) {
			q.Subject.Credential = credentialN(2)
		}, nhi.Deny, false},
		{"a quarantined identity does not", func(i *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, _ *nhi.Question) { i.State = nhi.Quarantined }, nhi.Deny, false},
		{"a retired identity does not", func(i *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) {
			i.State = nhi.Retired
			q.Resource = "high"
		}, nhi.Deny, false},
		{"a revoked token does not", func(i *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) {
			i.NotBefore = time.Now()
			q.Subject.Credential, q.Subject.IssuedAt = "", time.Now().Add(-time.Minute)
		}, nhi.Deny, false},
		{"another point does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) {
			q.Resource, q.Point = "test", "nhi_nobody"
		}, nhi.Deny, false},
		{"a disabled point does not", func(_ *nhi.Identity, _ *nhi.Credential, p *nhi.Point, q *nhi.Question) {
			q.Resource, p.Disabled = "test", true
		}, nhi.Deny, false},
		{"a trial does not", func(_ *nhi.Identity, _ *nhi.Credential, _ *nhi.Point, q *nhi.Question) {
			q.Resource, q.Trial = "test", true
		}, nhi.Deny, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := opened(t)
			i := nhi.Identity{ID: identityN(1), Kind: nhi.KindWorkload, State: nhi.Active, Environment: production, Owner: nhi.Owner{Ref: "team:pay"}}
			c, p, q := someCredential(1, 1), enforcing, ask()
			tt.edit(&i, &c, &p, q)
			apply(t, w.facts, change(t, 2, nhi.SubjectIdentity, string(i.ID), i), change(t, 3, nhi.SubjectCredential, string(c.ID), c), change(t, 4, nhi.SubjectPoint, string(p.ID), p))
			d := w.service.Decide(context.Background(), q)
			if d.Outcome != tt.want && !(tt.want == nhi.StepUp && d.Outcome == nhi.Deny) || (d.Glass == serial) != tt.glass || d.WouldRefuse {
				t.Errorf("%s, glass %q: want %s, glass %v: %v", d.Outcome, d.Glass, tt.want, tt.glass, d.Reasons)
			}
			if tt.glass && (len(d.Reasons) == 0 || len(d.Obligations) > 0 || w.journal.waited != 1) {
				t.Errorf("reasons %v, obligations %v, %d waited for the journal: want why it was refused, none, 1", d.Reasons, d.Obligations, w.journal.waited)
			}
			read, err := logbook.Decode(w.journal.records[0])
			if err != nil || read.Glass != d.Glass || read.Outcome != d.Outcome {
				t.Errorf("on record: %s, glass %q, %v", read.Outcome, read.Glass, err)
			}
			if outcome, _, exact := decision.Recorded(&read); tt.glass && (outcome != nhi.Deny || exact) {
				t.Errorf("the record is taken for what policy said: %s, exact %v", outcome, exact)
			}
		})
	}
}

// With a broken glass and a full disk, who fills the disk would be let in
// unseen.
func TestABrokenGlassThatCannotBeRecordedDenies(t *testing.T) {
	w := opened(t)
	w.journal.fail = errors.New("no space left on device")
	crossing := func(q *nhi.Question) { q.Resource = "test" }
	d := w.service.Decide(context.Background(), ask(crossing))
	if d.Outcome != nhi.Deny || d.Glass != "" || !has(d, "break-glass-unrecorded") {
		t.Errorf("%s, glass %q: %v", d.Outcome, d.Glass, d.Reasons)
	}
	if outcome, _, exact := decision.Recorded(&d); outcome != nhi.Deny || exact {
		t.Errorf("the record is taken for an allow: %s, exact %v", outcome, exact)
	}
	for _, d := range w.service.DecideAll(context.Background(), []nhi.Question{*ask(crossing), *ask(crossing)}, nil) {
		if d.Outcome != nhi.Deny || !has(d, "break-glass-unrecorded") {
			t.Errorf("one of several: %s: %v", d.Outcome, d.Reasons)
		}
	}
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Allow { // harmless, and allowed by policy
		t.Errorf("what policy allows: %s: %v", d.Outcome, d.Reasons)
	}
}

func TestABrokenGlassAtSensitivity3StillWaitsForTheJournal(t *testing.T) {
	w := opened(t)
	d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Resource = "high" }))
	if d.Outcome != nhi.Allow || d.Glass != serial || w.journal.waited != 1 {
		t.Fatalf("%s, glass %q, %d waited: %v", d.Outcome, d.Glass, w.journal.waited, d.Reasons)
	}
	w.journal.fail = errors.New("no space left on device")
	if d := w.service.Decide(context.Background(), ask(func(q *nhi.Question) { q.Resource = "high" })); d.Outcome != nhi.Deny {
		t.Errorf("without a record: %s", d.Outcome)
	}
}

// A panic inside leaves nothing that is known, so nothing that could be let pass.
func TestABrokenGlassDoesNotOpenWhatCouldNotBeDecided(t *testing.T) {
	w := newWorld(t, func(c *decision.Config) {
		c.Glass = func(nhi.ID, time.Time) string { return serial }
		c.Policies = broken{}
	})
	if d := w.service.Decide(context.Background(), ask()); d.Outcome != nhi.Deny || d.Glass != "" || !has(d, "internal-error") {
		t.Errorf("%s, glass %q: %v", d.Outcome, d.Glass, d.Reasons)
	}
}

type broken struct{}

func (broken) Evaluate(*nhi.Question) nhi.Ruling { panic("broken") }

func has(d nhi.Decision, reason string) bool {
	for _, r := range d.Reasons {
		if r.Policy == reason {
			return true
		}
	}
	return false
}
