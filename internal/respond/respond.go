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
// exactly that. A credential that is contained already gets no second act for a
// second place it was seen at: one undo lifts everything.
//
// The record for the audit log is stored with the act and then taken over into
// the log; [Service.Reconcile] takes over what a crash left behind, under the same
// key, so that nothing is lost and nothing recorded twice.
package respond

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// Store keeps findings and actions. Whatever an act changes is written in one
// transaction, the act's own record for the audit log included.
type Store interface {
	// Contain writes everything of c, or finds that it was done before: by an
	// action with the same Key, or by one that stands and contains the
	// credential as hard. It fills in the action's Before and Generation.
	Contain(ctx context.Context, c Containment) (Contained, error)
	// Undo restores what the action changed if the target still stands as the
	// action left it, and reports whether nothing contains the credential any
	// more. It returns an error wrapping nhi.ErrConflict otherwise.
	Undo(ctx context.Context, id string, u Undoing) (a nhi.Action, free bool, err error)
	// Approve carries out a proposed action.
	Approve(ctx context.Context, id string, p Approval) (nhi.Action, error)
	// SetStatus changes a finding's status at the time of act.
	SetStatus(ctx context.Context, id string, status nhi.FindingStatus, act nhi.Act) (nhi.Finding, error)
	Notes
	Acts
}

// Notes keep what was seen and found without an act.
type Notes interface {
	// Note keeps a sighting and, if it is news, its finding; a finding that is
	// known grows by one.
	Note(ctx context.Context, s nhi.Sighting, f nhi.Finding, notices Notices) error
	// SaveSighting keeps a sighting; the same one twice is one.
	SaveSighting(ctx context.Context, s nhi.Sighting) error
	// SaveFindings merges findings and queues the notices of those that are
	// new.
	SaveFindings(ctx context.Context, findings []nhi.Finding, notices Notices) error
}

// Acts are what is stored and not yet in the audit log.
type Acts interface {
	// DueActs returns up to limit of them, the oldest first.
	DueActs(ctx context.Context, limit int) ([]nhi.Act, error)
	// ActsRecorded forgets those with the keys.
	ActsRecorded(ctx context.Context, keys []string) error
}

// Notices says whom to tell of a finding.
type Notices func(nhi.Finding) []nhi.Notice

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
	Notices  Notices
	Act      func(nhi.Action) nhi.Act // the action's record for the audit log
}

// Contained is what there is about a sighting now.
type Contained struct {
	Action  nhi.Action
	Finding string
	Fresh   bool // the action was made by this call
}

// An Undoing says who lifts an action, and what follows from it.
type Undoing struct {
	By      string
	At      time.Time
	Notices func(nhi.Finding, nhi.Action) []nhi.Notice // the finding is empty when it is not kept any more
	Act     func(nhi.Action) nhi.Act
}

// An Approval says who approves an action, and what follows from it.
type Approval struct {
	By      string
	At      time.Time
	Notices func(nhi.Finding, nhi.Action) []nhi.Notice
	Act     func(nhi.Action) nhi.Act
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
	clean     func(string) string
}

// New returns a Service that acts through store, asks directory and records
// in audit. judge may be nil. clean takes secrets out of what people write; nil
// leaves it as it is.
func New(store Store, directory Directory, audit Auditor, judge Judge, clean func(string) string) *Service {
	if clean == nil {
		clean = func(s string) string { return s }
	}
	return &Service{store: store, directory: directory, audit: audit, judge: judge, clean: clean}
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
	done, err := s.store.Contain(ctx, Containment{
		Key: "contain:" + sighting.ID, Action: a, To: state, Finding: f, Sighting: sighting, Act: actOf,
		Notices: func(f nhi.Finding) []nhi.Notice {
			return []nhi.Notice{notice("credential.contained", f, &a, map[string]any{"name": who.Name})}
		},
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("contain %s: %w", cred.ID, err)
	}
	return Outcome{Sighting: sighting, Finding: done.Finding, Action: done.Action}, s.flush(ctx)
}

// propose asks a person about a credential of which somebody claims that it
// leaked. Whoever knows a public id can claim that, as often as he likes: one
// credential has one finding and one proposal a day, which counts.
func (s *Service) propose(ctx context.Context, sighting nhi.Sighting) (Outcome, error) {
	who, cred, reach, err := s.subject(ctx, sighting)
	if err != nil {
		return Outcome{}, err
	}
	today := sighting.At.UTC().Format(time.DateOnly)
	f := leakFinding(RuleLeakUnproven, nhi.High, 60, sighting, who, cred, reach)
	f.ID = nhi.FindingID(f.Rule, who.ID, cred.ID, today)
	said := fmt.Sprintf("Somebody reports the key %s of %s %s.", label(cred), name(who), where(sighting.Place))
	if cred.State.Dead() {
		f.Sentence = said + " It is " + string(cred.State) + " already, so nothing needs to be done."
		f.Severity, f.Score = nhi.Low, 10
		if err := s.store.Note(ctx, sighting, f, NoticesOf); err != nil {
			return Outcome{}, fmt.Errorf("keep finding %s: %w", f.ID, err)
		}
		return Outcome{Sighting: sighting, Finding: f.ID}, nil
	}
	f.Sentence = said + " Only its public id was seen, so nothing was done by itself: rotate it, or approve its suspension."
	a := nhi.Action{
		ID: uuid.Must(uuid.NewV7()).String(), Measure: nhi.MeasureSuspend, Identity: who.ID, Credential: cred.ID, Finding: f.ID,
		Reason: "leak reported without proof", Actor: "rule:" + RuleLeakUnproven, Status: nhi.ActionProposed, At: sighting.At,
	}
	f.Action = a.ID
	done, err := s.store.Contain(ctx, Containment{
		Key: "propose:" + string(cred.ID) + ":" + today, Action: a, To: cred.State, Finding: f, Sighting: sighting, Act: actOf,
		Notices: func(f nhi.Finding) []nhi.Notice {
			return []nhi.Notice{notice("finding.created", f, &a, map[string]any{"name": who.Name})}
		},
	})
	if err != nil {
		return Outcome{}, fmt.Errorf("propose to suspend %s: %w", cred.ID, err)
	}
	return Outcome{Sighting: sighting, Finding: done.Finding, Action: done.Action}, s.flush(ctx)
}

// note keeps a forged sighting as an information: somebody copied one of our
// public ids onto a wrong secret. It touches no risk, baseline or state, and
// one credential has one such finding a day.
func (s *Service) note(ctx context.Context, sighting nhi.Sighting) (Outcome, error) {
	who, cred, _, err := s.subject(ctx, sighting)
	if err != nil {
		return Outcome{}, err
	}
	f := leakFinding(RuleLeakForged, nhi.Info, 0, sighting, who, cred, nil)
	f.ID = nhi.FindingID(f.Rule, who.ID, cred.ID, sighting.At.UTC().Format(time.DateOnly))
	f.Sentence = fmt.Sprintf("Somebody wrote the public id of the key %s of %s with a secret that is not ours, %s. The key is safe; nothing was done.", label(cred), name(who), where(sighting.Place))
	if err := s.store.Note(ctx, sighting, f, nil); err != nil {
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
	return []nhi.Notice{notice("finding.created", f, nil, nil)}
}

// Undo reverses an action. by names the person; it is audited.
func (s *Service) Undo(ctx context.Context, id, by, reason string) (nhi.Action, error) {
	at := time.Now()
	reason = s.clean(reason)
	told := func(f nhi.Finding, a nhi.Action) []nhi.Notice {
		f.Title, f.Identity, f.Credential = "Containment undone", a.Identity, a.Credential
		f.Sentence = "What this action did was undone. " + f.Sentence
		n := notice("action.undone", f, &a, map[string]any{"by": by, "reason": reason})
		n.Severity, n.At = nhi.Medium, at
		return []nhi.Notice{n}
	}
	a, free, err := s.store.Undo(ctx, id, Undoing{By: by, At: at, Notices: told, Act: func(a nhi.Action) nhi.Act {
		return nhi.Act{Key: "undo:" + a.ID, At: at, Actor: by, Act: "action.undo", Target: a.ID, Reason: reason, Outcome: "done", Detail: detail(a)}
	}})
	if err != nil {
		return nhi.Action{}, fmt.Errorf("undo action %s: %w", id, err)
	}
	err = s.flush(ctx)
	if free && s.judge != nil {
		err = errors.Join(err, s.judge.Lifted(context.WithoutCancel(ctx), a.Credential))
	}
	return a, err
}

// Approve carries out an action that waited for a person.
func (s *Service) Approve(ctx context.Context, id, by string) (nhi.Action, error) {
	at := time.Now()
	a, err := s.store.Approve(ctx, id, Approval{
		By: by, At: at,
		Notices: func(f nhi.Finding, a nhi.Action) []nhi.Notice {
			n := notice("credential.contained", f, &a, map[string]any{"by": by})
			n.At = at
			return []nhi.Notice{n}
		},
		Act: func(a nhi.Action) nhi.Act {
			return nhi.Act{Key: "approve:" + a.ID, At: at, Actor: by, Act: "action.approve", Target: a.ID, Reason: a.Reason, Outcome: "done", Detail: detail(a)}
		},
	})
	if err != nil {
		return nhi.Action{}, fmt.Errorf("approve action %s: %w", id, err)
	}
	return a, s.flush(ctx)
}

// SetStatus changes what people say of a finding; it is audited.
func (s *Service) SetStatus(ctx context.Context, id string, status nhi.FindingStatus, by, reason string) (nhi.Finding, error) {
	switch status {
	case nhi.Open, nhi.Acknowledged, nhi.Resolved, nhi.Dismissed:
	default:
		return nhi.Finding{}, nhi.Invalidf("finding status %q", status)
	}
	f, err := s.store.SetStatus(ctx, id, status, nhi.Act{
		Key: "finding:" + uuid.Must(uuid.NewV7()).String(), At: time.Now(), Actor: by, Act: "finding." + string(status), Target: id,
		Reason: s.clean(reason), Outcome: "done",
	})
	if err != nil {
		return f, fmt.Errorf("set finding %s to %s: %w", id, status, err)
	}
	err = s.flush(ctx)
	if s.judge != nil {
		err = errors.Join(err, s.judge.Judged(context.WithoutCancel(ctx), f))
	}
	return f, err
}

// Reconcile audits the acts that a crash left stored but unrecorded. Call it
// before serving; repeating it changes nothing.
func (s *Service) Reconcile(ctx context.Context) error { return s.flush(ctx) }

// flush takes every stored act into the audit log. What was stored is done
// whether or not the caller still waits, so the end of ctx does not stop it.
func (s *Service) flush(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	for {
		due, err := s.store.DueActs(ctx, 100)
		if err != nil {
			return fmt.Errorf("read the acts that the audit log lacks: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		keys := make([]string, 0, len(due))
		for _, act := range due {
			if err := s.audit.Record(ctx, act); err != nil {
				return fmt.Errorf("audit %s of %s: %w", act.Act, act.Target, err)
			}
			keys = append(keys, act.Key)
		}
		if err := s.store.ActsRecorded(ctx, keys); err != nil {
			return fmt.Errorf("tick off the acts in the audit log: %w", err)
		}
	}
}

// actOf is the audit log's record of an action that was done or proposed.
func actOf(a nhi.Action) nhi.Act {
	outcome := "done"
	if a.Status == nhi.ActionProposed {
		outcome = "proposed"
	}
	return nhi.Act{
		Key: "action:" + a.ID, At: a.At, Actor: a.Actor, Act: "credential." + string(a.Measure), Target: string(a.Credential),
		Reason: a.Reason, Outcome: outcome, Detail: detail(a),
	}
}

func detail(a nhi.Action) json.RawMessage {
	return object(map[string]any{
		"action": a.ID, "measure": a.Measure, "identity": a.Identity, "credential": a.Credential, "finding": a.Finding, "generation": a.Generation, "before": a.Before,
	})
}

// object is JSON of plain data, or of JSON that we wrote ourselves, which
// always encodes.
func object(v map[string]any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return b
}

// notice tells of a finding and what was done about it; more is what else there
// is to say.
func notice(topic string, f nhi.Finding, a *nhi.Action, more map[string]any) nhi.Notice {
	n := nhi.Notice{ID: uuid.Must(uuid.NewV7()).String(), Topic: topic, Severity: f.Severity, At: f.DetectedAt}
	data := map[string]any{
		"finding": f.ID, "rule": f.Rule, "title": f.Title, "severity": f.Severity, "sentence": f.Sentence,
		"identity": f.Identity, "credential": f.Credential, "owner": f.Owner, "first_seen": f.FirstSeen, "place": f.Place,
	}
	if a != nil {
		act := map[string]any{"id": a.ID, "measure": a.Measure, "status": a.Status}
		if a.Status == nhi.ActionDone {
			act["undo"] = "muster action undo " + a.ID
		}
		data["action"] = act
	}
	maps.Copy(data, more)
	n.Data = object(data)
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
	if p.Name == "" {
		s = "in a " + or(p.Kind, "place") + " that has no name"
	}
	if p.Line > 0 {
		s += fmt.Sprintf(" line %d", p.Line)
	}
	return s
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
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
