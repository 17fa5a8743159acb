// Package respond contains what is proven to be lost, and undoes it when we
// were wrong.
//
// A sighting comes in, already matched against the inventory. What it is worth
// decides what happens:
//
//	confirmed  the secret itself was proven  -> contain at once, tell the owner
//	unproven   the id is ours, no proof      -> tell the owner, propose an action
//	forged     the id is ours, disproven     -> tell nobody but the log
//	unknown    not ours                      -> keep the sighting
//
// Containment is a state row and a change, written in one transaction with the
// finding, the action and the notices: never an edit of policy. A key whose
// identity can prove itself by other means is narrowed (the thief is cut off,
// the workload goes on); any other key is suspended. The state before is
// stored with the act and bound to the credential's id, so undo restores
// exactly that. Every act is audited under the action's own id; [Service.Reconcile]
// repeats what a crash cut off, and repeating changes nothing.
package respond

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/muster-id/muster/internal/nhi"
)

// Rules of the findings that leaks make.
const (
	RuleLeakConfirmed = "LEAK-01"
	RuleLeakUnproven  = "LEAK-02"
	RuleLeakForged    = "LEAK-03"
)

// Store keeps findings and actions.
type Store interface {
	// Contain writes everything of c in one transaction, or, when an action
	// with the same Key exists, returns that and false. It fills in the
	// action's Before and Generation.
	Contain(ctx context.Context, c Containment) (nhi.Action, bool, error)
	// Undo restores what the action changed if the target still stands as the
	// action left it. It returns an error wrapping nhi.ErrConflict otherwise.
	Undo(ctx context.Context, id, by string, at time.Time, notices []nhi.Notice) (nhi.Action, error)
	// Approve carries out a proposed action.
	Approve(ctx context.Context, id, by string, at time.Time) (nhi.Action, error)
	// SaveFindings merges findings and queues the notices of those that are
	// new, in one transaction.
	SaveFindings(ctx context.Context, findings []nhi.Finding, notices func(nhi.Finding) []nhi.Notice) error
	// SetStatus changes a finding's status.
	SetStatus(ctx context.Context, id string, status nhi.FindingStatus) (nhi.Finding, error)
	// Recent returns the newest actions, newest first.
	Recent(ctx context.Context, limit int) ([]nhi.Action, error)
	// SaveSighting keeps a sighting; the same one twice is one.
	SaveSighting(ctx context.Context, s nhi.Sighting) error
}

// Directory knows the inventory.
type Directory interface {
	Identity(ctx context.Context, id nhi.ID) (nhi.Identity, error)
	Credential(ctx context.Context, id nhi.CredentialID) (nhi.Credential, error)
	// Reach lists what the identity may touch, most sensitive first.
	Reach(ctx context.Context, id nhi.ID) ([]string, error)
}

// Auditor records acts durably before it returns.
type Auditor interface {
	Record(ctx context.Context, act nhi.Act) error
}

// A Containment is one act, whole: either all of it is stored or nothing.
type Containment struct {
	Key      string // what makes it the same act
	Action   nhi.Action
	To       nhi.CredentialState
	Finding  nhi.Finding
	Sighting nhi.Sighting
	Notices  []nhi.Notice
}

// Judge takes to heart what people decide.
type Judge interface {
	// Judged hears what a person said of a finding.
	Judged(ctx context.Context, f nhi.Finding) error
	// Lifted hears that somebody lifted the containment of a credential.
	Lifted(ctx context.Context, id nhi.CredentialID) error
}

// Service responds. It is safe for concurrent use.
type Service struct {
	store     Store
	directory Directory
	audit     Auditor
	judge     Judge
}

// New returns a Service that acts through store, asks directory and records
// in audit. judge may be nil.
func New(store Store, directory Directory, audit Auditor, judge Judge) *Service {
	return &Service{store: store, directory: directory, audit: audit, judge: judge}
}

// Outcome says what a sighting led to.
type Outcome struct {
	Sighting nhi.Sighting
	Finding  string     // id; empty when there is none
	Action   nhi.Action // zero when nothing was done or proposed
}

// Sighted responds to a matched sighting. It returns when what it did is
// durable, bites at every point of this process, and is audited.
func (s *Service) Sighted(ctx context.Context, sighting nhi.Sighting) (Outcome, error) {
	switch sighting.Verdict {
	case nhi.Confirmed:
		return s.contain(ctx, sighting)
	case nhi.Unproven:
		return s.propose(ctx, sighting)
	case nhi.Forged:
		return s.note(ctx, sighting)
	default:
		if err := s.store.SaveSighting(ctx, sighting); err != nil {
			return Outcome{}, fmt.Errorf("keep sighting %s: %w", sighting.ID, err)
		}
		return Outcome{Sighting: sighting}, nil
	}
}

// subject gathers what a finding tells about whose credential it is.
func (s *Service) subject(ctx context.Context, sighting nhi.Sighting) (nhi.Identity, nhi.Credential, []string, error) {
	cred, err := s.directory.Credential(ctx, sighting.Credential)
	if err != nil {
		return nhi.Identity{}, cred, nil, fmt.Errorf("find the credential of sighting %s: %w", sighting.ID, err)
	}
	who, err := s.directory.Identity(ctx, cred.Identity)
	if err != nil {
		return who, cred, nil, fmt.Errorf("find the identity of %s: %w", cred.ID, err)
	}
	reach, err := s.directory.Reach(ctx, who.ID)
	if err != nil {
		return who, cred, nil, fmt.Errorf("find the reach of %s: %w", who.ID, err)
	}
	return who, cred, reach, nil
}

func (s *Service) contain(ctx context.Context, sighting nhi.Sighting) (Outcome, error) {
	who, cred, reach, err := s.subject(ctx, sighting)
	if err != nil {
		return Outcome{}, err
	}
	measure, state := nhi.MeasureSuspend, nhi.CredentialSuspended
	if cred.Consumer != "" || who.Attestable {
		measure, state = nhi.MeasureNarrow, nhi.CredentialNarrowed
	}
	f := leakFinding(RuleLeakConfirmed, nhi.Critical, 100, sighting, who, cred, reach)
	f.Sentence = fmt.Sprintf("The key %s of %s lies %s; its value was proven. %s", label(cred), name(who), where(sighting.Place), consequence(measure))
	a := nhi.Action{
		ID: uuid.Must(uuid.NewV7()).String(), Measure: measure, Identity: who.ID, Credential: cred.ID, Finding: f.ID,
		Reason: "leak confirmed by " + sighting.Rule, Actor: "rule:" + RuleLeakConfirmed, Status: nhi.ActionDone, At: sighting.At,
	}
	f.Action = a.ID
	done, fresh, err := s.store.Contain(ctx, Containment{
		Key: "contain:" + sighting.ID, Action: a, To: state, Finding: f, Sighting: sighting,
		Notices: []nhi.Notice{notice("credential.contained", f, &a)},
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("contain %s: %w", cred.ID, err)
	}
	out := Outcome{Sighting: sighting, Finding: done.Finding, Action: done}
	if !fresh {
		return out, nil
	}
	return out, s.record(ctx, done)
}

func (s *Service) propose(ctx context.Context, sighting nhi.Sighting) (Outcome, error) {
	who, cred, reach, err := s.subject(ctx, sighting)
	if err != nil {
		return Outcome{}, err
	}
	f := leakFinding(RuleLeakUnproven, nhi.High, 60, sighting, who, cred, reach)
	f.Sentence = fmt.Sprintf("Somebody reports the key %s of %s %s. Only its public id was seen, so nothing was done by itself: rotate it, or approve its suspension.", label(cred), name(who), where(sighting.Place))
	a := nhi.Action{
		ID: uuid.Must(uuid.NewV7()).String(), Measure: nhi.MeasureSuspend, Identity: who.ID, Credential: cred.ID, Finding: f.ID,
		Reason: "leak reported without proof", Actor: "rule:" + RuleLeakUnproven, Status: nhi.ActionProposed, At: sighting.At,
	}
	f.Action = a.ID
	done, fresh, err := s.store.Contain(ctx, Containment{
		Key: "propose:" + sighting.ID, Action: a, To: cred.State, Finding: f, Sighting: sighting,
		Notices: []nhi.Notice{notice("finding.created", f, &a)},
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("propose to suspend %s: %w", cred.ID, err)
	}
	out := Outcome{Sighting: sighting, Finding: done.Finding, Action: done}
	if !fresh {
		return out, nil
	}
	return out, s.record(ctx, done)
}

// note keeps a forged sighting as an information: somebody copied one of our
// public ids onto a wrong secret. It touches no risk, baseline or state.
func (s *Service) note(ctx context.Context, sighting nhi.Sighting) (Outcome, error) {
	who, cred, _, err := s.subject(ctx, sighting)
	if err != nil {
		return Outcome{}, err
	}
	f := leakFinding(RuleLeakForged, nhi.Info, 0, sighting, who, cred, nil)
	f.Sentence = fmt.Sprintf("Somebody wrote the public id of the key %s of %s with a secret that is not ours, %s. The key is safe; nothing was done.", label(cred), name(who), where(sighting.Place))
	if err := s.store.SaveSighting(ctx, sighting); err != nil {
		return Outcome{}, fmt.Errorf("keep sighting %s: %w", sighting.ID, err)
	}
	if err := s.store.SaveFindings(ctx, []nhi.Finding{f}, nil); err != nil {
		return Outcome{}, fmt.Errorf("keep finding %s: %w", f.ID, err)
	}
	return Outcome{Sighting: sighting, Finding: f.ID}, nil
}

func leakFinding(rule string, sev nhi.Severity, score float64, s nhi.Sighting, who nhi.Identity, cred nhi.Credential, reach []string) nhi.Finding {
	titles := map[string]string{
		RuleLeakConfirmed: "Leaked key", RuleLeakUnproven: "Key reported as leaked, not proven", RuleLeakForged: "Forged report of a leaked key",
	}
	place := s.Place
	return nhi.Finding{
		ID: nhi.FindingID(rule, who.ID, cred.ID, s.ID), Rule: rule, Title: titles[rule], Severity: sev, Score: score, Status: nhi.Open,
		Identity: who.ID, Credential: cred.ID, FirstSeen: s.At, LastSeen: s.At, DetectedAt: s.At, Count: 1,
		Owner: who.Owner.Ref, Reach: reach, Place: &place, Events: []string{s.ID},
	}
}

// Found keeps findings of behaviour and tells people about the new ones that
// matter.
func (s *Service) Found(ctx context.Context, findings []nhi.Finding) error {
	if len(findings) == 0 {
		return nil
	}
	err := s.store.SaveFindings(ctx, findings, NoticesOf)
	if err != nil {
		return fmt.Errorf("keep %d findings: %w", len(findings), err)
	}
	return nil
}

// NoticesOf says whom to tell of a new finding of behaviour: nobody below
// medium, because a message that can wait until somebody looks is noise.
func NoticesOf(f nhi.Finding) []nhi.Notice {
	if f.Severity == nhi.Info || f.Severity == nhi.Low {
		return nil
	}
	return []nhi.Notice{notice("finding.created", f, nil)}
}

// Undo reverses an action. by names the person; it is audited.
func (s *Service) Undo(ctx context.Context, id, by, reason string) (nhi.Action, error) {
	at := time.Now()
	n := nhi.Notice{ID: uuid.Must(uuid.NewV7()).String(), Topic: "action.undone", Severity: nhi.Medium, At: at}
	n.Data, _ = json.Marshal(map[string]string{"action": id, "by": by, "reason": reason})
	a, err := s.store.Undo(ctx, id, by, at, []nhi.Notice{n})
	if err != nil {
		return nhi.Action{}, fmt.Errorf("undo action %s: %w", id, err)
	}
	if s.judge != nil {
		if err := s.judge.Lifted(ctx, a.Credential); err != nil {
			return a, err
		}
	}
	return a, s.recordUndo(ctx, a, reason)
}

// Approve carries out an action that waited for a person.
func (s *Service) Approve(ctx context.Context, id, by string) (nhi.Action, error) {
	a, err := s.store.Approve(ctx, id, by, time.Now())
	if err != nil {
		return nhi.Action{}, fmt.Errorf("approve action %s: %w", id, err)
	}
	a.Actor = by
	return a, s.audit.Record(ctx, nhi.Act{
		Key: "approve:" + a.ID, At: time.Now(), Actor: by, Act: "action.approve", Target: a.ID, Reason: a.Reason, Outcome: "done", Detail: detail(a),
	})
}

// SetStatus changes what people say of a finding; it is audited.
func (s *Service) SetStatus(ctx context.Context, id string, status nhi.FindingStatus, by, reason string) (nhi.Finding, error) {
	switch status {
	case nhi.Open, nhi.Acknowledged, nhi.Resolved, nhi.Dismissed:
	default:
		return nhi.Finding{}, nhi.Invalidf("finding status %q", status)
	}
	f, err := s.store.SetStatus(ctx, id, status)
	if err != nil {
		return f, fmt.Errorf("set finding %s to %s: %w", id, status, err)
	}
	if s.judge != nil {
		if err := s.judge.Judged(ctx, f); err != nil {
			return f, err
		}
	}
	return f, s.audit.Record(ctx, nhi.Act{At: time.Now(), Actor: by, Act: "finding." + string(status), Target: id, Reason: reason, Outcome: "done"})
}

// Reconcile audits the actions that a crash left stored but unrecorded. Call
// it before serving; repeating it changes nothing.
func (s *Service) Reconcile(ctx context.Context) error {
	recent, err := s.store.Recent(ctx, 1000)
	if err != nil {
		return fmt.Errorf("read recent actions: %w", err)
	}
	for i := len(recent) - 1; i >= 0; i-- {
		if err := s.record(ctx, recent[i]); err != nil {
			return err
		}
		if recent[i].Status == nhi.ActionUndone {
			if err := s.recordUndo(ctx, recent[i], ""); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) record(ctx context.Context, a nhi.Action) error {
	outcome := "done"
	if a.Status == nhi.ActionProposed {
		outcome = "proposed"
	}
	err := s.audit.Record(ctx, nhi.Act{
		Key: "action:" + a.ID, At: a.At, Actor: a.Actor, Act: "credential." + string(a.Measure), Target: string(a.Credential),
		Reason: a.Reason, Outcome: outcome, Detail: detail(a),
	})
	if err != nil {
		return fmt.Errorf("audit action %s: %w", a.ID, err)
	}
	return nil
}

func (s *Service) recordUndo(ctx context.Context, a nhi.Action, reason string) error {
	err := s.audit.Record(ctx, nhi.Act{
		Key: "undo:" + a.ID, At: a.UndoneAt, Actor: a.UndoneBy, Act: "action.undo", Target: a.ID, Reason: reason, Outcome: "done", Detail: detail(a),
	})
	if err != nil {
		return fmt.Errorf("audit the undoing of %s: %w", a.ID, err)
	}
	return nil
}

func detail(a nhi.Action) json.RawMessage {
	b, err := json.Marshal(map[string]any{
		"action": a.ID, "measure": a.Measure, "identity": a.Identity, "credential": a.Credential, "finding": a.Finding, "generation": a.Generation, "before": a.Before,
	})
	if err != nil {
		return nil // Before is JSON that we wrote ourselves
	}
	return b
}

func notice(topic string, f nhi.Finding, a *nhi.Action) nhi.Notice {
	n := nhi.Notice{ID: uuid.Must(uuid.NewV7()).String(), Topic: topic, Severity: f.Severity, At: f.DetectedAt}
	data := map[string]any{
		"finding": f.ID, "rule": f.Rule, "title": f.Title, "severity": f.Severity, "sentence": f.Sentence,
		"identity": f.Identity, "credential": f.Credential, "owner": f.Owner, "first_seen": f.FirstSeen, "place": f.Place,
	}
	if a != nil {
		data["action"] = map[string]any{"id": a.ID, "measure": a.Measure, "status": a.Status, "undo": "muster action undo " + a.ID}
	}
	b, err := json.Marshal(data)
	if err != nil {
		b = json.RawMessage(`{}`) // a finding is plain data; it always encodes
	}
	n.Data = b
	return n
}

func consequence(m nhi.Measure) string {
	if m == nhi.MeasureNarrow {
		return "From now on it works only together with its workload's own attestation; whoever found it is cut off."
	}
	return "It is suspended everywhere until somebody lifts that."
}

func where(p nhi.Place) string {
	kind := map[string]string{"file": "in the file", "repository": "in the repository", "message": "in the message", "address": "at"}[p.Kind]
	if kind == "" {
		kind = "at"
	}
	s := kind + " " + p.Name
	if p.Line > 0 {
		s += fmt.Sprintf(" line %d", p.Line)
	}
	return s
}

func name(i nhi.Identity) string {
	if i.Name != "" {
		return i.Name
	}
	return string(i.ID)
}

func label(c nhi.Credential) string {
	if c.PublicID != "" {
		return c.PublicID
	}
	return string(c.ID)
}
