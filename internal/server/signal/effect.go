package signal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/respond"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/signals/receive"
	"github.com/muster-id/muster/internal/signals/transmit"
	"github.com/muster-id/muster/internal/store"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storeissuer "github.com/muster-id/muster/internal/store/issuer"
	storerespond "github.com/muster-id/muster/internal/store/respond"
)

// alive is how long a cut-off is kept: longer than anything lives that it refuses.
const alive = nhi.LongestLife

// Identity implements transmit.Inventory.
func (r *Room) Identity(ctx context.Context, id nhi.ID) (nhi.Identity, error) {
	return r.d.Inventory.Identity(ctx, id)
}

// FromPeer implements transmit.Inventory.
func (r *Room) FromPeer(ctx context.Context, id nhi.ID) (bool, error) {
	open, _, err := storerespond.New(r.d.DB).Findings(ctx, nhi.Open, id, "", nil, 0, 500)
	return slices.ContainsFunc(open, func(f nhi.Finding) bool { return f.Rule == signals.RuleRisk }), err
}

// Resolve implements receive.Effects: by the rules of trust, which say whose
// tokens an issuer's are, and by the names in the inventory. A name that means
// two identities means nobody.
func (r *Room) Resolve(ctx context.Context, s signals.Subject) (nhi.Identity, error) {
	var found []nhi.ID
	add := func(id nhi.ID) {
		if !slices.Contains(found, id) {
			found = append(found, id)
		}
	}
	switch s.Format {
	case signals.FormatIssSub:
		for _, rule := range r.d.Rules() {
			if rule.Issuer == s.Issuer && slices.Contains(rule.Claims["sub"], s.ID) {
				add(rule.Identity)
			}
		}
		if len(found) == 0 {
			add(nhi.IdentityID("oidc", s.Issuer, s.ID))
		}
	case signals.FormatOpaque:
		if id := nhi.ID(s.ID); id.Valid() {
			add(id)
		}
	case signals.FormatURI, signals.FormatEmail:
		err := r.d.DB.Read(ctx, func(tx *store.Tx) error {
			ids, err := storeinventory.Bind(tx).Named(ctx, s.ID)
			for _, id := range ids {
				add(id)
			}
			return err
		})
		if err != nil {
			return nhi.Identity{}, err
		}
	}
	if len(found) != 1 {
		return nhi.Identity{}, fmt.Errorf("subject of format %s: %w", s.Format, nhi.ErrNotFound)
	}
	i, err := r.d.Inventory.Identity(ctx, found[0])
	if err == nil && (i.Kind == nhi.KindPoint || i.Kind == nhi.KindSource || i.Kind == nhi.KindOperator) {
		return nhi.Identity{}, fmt.Errorf("one of Muster's own: %w", nhi.ErrNotFound) // never a target
	}
	return i, err
}

// Apply implements receive.Effects.
func (r *Room) Apply(ctx context.Context, h receive.Heard) error {
	at := h.Event.At
	if at.IsZero() || at.After(time.Now()) {
		at = h.At
	}
	if at.After(time.Now()) { // by what clocks may differ
		at = time.Now()
	}
	at = at.UTC().Truncate(time.Microsecond)
	// What is said to have happened before any token lives that it could be about is
	// taken for as old as that where findings go by it: times are made up without end.
	// Words about a risk are one finding, and compared by when they were said.
	bounded := at
	if oldest := h.At.Add(-signals.MaxAge).UTC().Truncate(time.Microsecond); at.Before(oldest) {
		bounded = oldest
	}
	var err error
	switch h.Event.Type {
	case signals.SessionRevoked:
		err = r.revoke(ctx, &h, bounded)
	case signals.CredentialChange:
		err = r.credential(ctx, &h, bounded)
	case signals.RiskLevelChange:
		err = r.risk(ctx, &h, at)
	}
	if err != nil {
		return fmt.Errorf("apply the signal %s of %s: %w", short([]string{h.Event.Type})[0], h.Peer, err)
	}
	return nil
}

// finding is what every finding of a signal says.
func finding(h *receive.Heard, rule, title, window string, at time.Time) nhi.Finding {
	return nhi.Finding{
		ID: nhi.FindingID(rule, h.Identity.ID, "", h.Peer+" "+window), Rule: rule, Title: title, Severity: nhi.Medium, Status: nhi.Open,
		Identity: h.Identity.ID, FirstSeen: at, LastSeen: at, DetectedAt: time.Now().UTC().Truncate(time.Microsecond), Count: 1, Events: []string{h.ID}, Owner: h.Identity.Owner.Ref,
	}
}

// act is the record of a signal for the audit log: once, however often the
// signal comes.
func act(h *receive.Heard, name string, f *nhi.Finding) nhi.Act {
	detail, err := json.Marshal(map[string]any{
		"peer": h.Peer, "jti": h.ID, "event": h.Event.Type, "event_timestamp": h.Event.At, "finding": f.ID, "said": h.Event.Reason, "level": h.Event.Level, "change": h.Event.Change,
	})
	if err != nil {
		detail = nil // texts and a time always encode
	}
	return nhi.Act{
		Key: "signal:" + h.Peer + ":" + h.ID, At: time.Now(), Actor: "peer:" + h.Peer, Act: name, Target: string(h.Identity.ID), Reason: "signal of peer " + h.Peer, Outcome: "done", Detail: detail,
	}
}

// save writes a finding and the record of an act, with what else follows.
func (r *Room) save(ctx context.Context, f *nhi.Finding, a nhi.Act, also func(*store.Tx) error) error {
	found := []nhi.Finding{*f}
	_, err := r.d.DB.Write(ctx, func(tx *store.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		if err := storerespond.SaveFindings(ctx, tx, found, respond.NoticesOf); err != nil {
			return err
		}
		return storerespond.DueAct(ctx, tx, a)
	})
	*f = found[0]
	if err != nil {
		return err
	}
	return r.d.Respond.Reconcile(ctx)
}

func called(i *nhi.Identity) string {
	if i.Name != "" {
		return i.Name
	}
	return string(i.ID)
}

// revoke refuses the tokens of an identity that were issued until then.
func (r *Room) revoke(ctx context.Context, h *receive.Heard, at time.Time) error {
	f := finding(h, signals.RuleSession, "A peer revoked sessions", at.Format("2006-01-02T15"), at)
	f.Severity = nhi.Low
	f.Sentence = fmt.Sprintf("The peer %s revoked the sessions of %s. Its tokens that were issued until %s are refused here; it gets a new one with its next exchange.", h.Peer, called(&h.Identity), at.Format(time.RFC3339))
	cut := nhi.Revocation{Identity: h.Identity.ID, At: at, Expires: at.Add(alive), Reason: transmit.FromPeer + h.Peer}
	return r.save(ctx, &f, act(h, "identity.revoke-tokens", &f), func(tx *store.Tx) error {
		if time.Now().After(cut.Expires) {
			return nil // whatever it would refuse has expired
		}
		return storeissuer.Revoke(ctx, tx, cut)
	})
}

// credential tells that a credential changed elsewhere.
func (r *Room) credential(ctx context.Context, h *receive.Heard, at time.Time) error {
	// A name that is none of its credentials is not in the id: made-up ones are one
	// finding, or a peer could write as many as it likes.
	known, label := nhi.Credential{}, "a credential"
	what := map[string]string{signals.Created: "created", signals.Revoked: "revoked", signals.Updated: "changed", signals.Deleted: "deleted"}[h.Event.Change]
	err := r.d.DB.Read(ctx, func(tx *store.Tx) error {
		held, err := storeinventory.Bind(tx).CredentialsOf(ctx, h.Identity.ID)
		for _, c := range held {
			if h.Event.Name != "" && c.PublicID == h.Event.Name {
				known, label = c, "the credential "+c.PublicID
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	f := finding(h, signals.RuleCredential, "A peer changed a credential", h.Event.Change+" "+known.PublicID+" "+at.Format(time.DateOnly), at)
	f.Credential = known.ID
	f.Sentence = fmt.Sprintf("The peer %s %s %s of %s (%s).", h.Peer, what, label, called(&h.Identity), h.Event.Credential)
	switch h.Event.Change {
	case signals.Revoked, signals.Deleted:
		f.Sentence += " If it is also used here, revoke it here too."
	default:
		f.Severity = nhi.Info
	}
	return r.save(ctx, &f, act(h, "credential.told", &f), nil)
}

// risk makes the level that a peer tells part of the identity's risk. One peer
// has one word about one identity: the last.
func (r *Room) risk(ctx context.Context, h *receive.Heard, at time.Time) error {
	f := finding(h, signals.RuleRisk, "A peer sees a risk", "", at)
	old, err := storerespond.New(r.d.DB).Finding(ctx, f.ID)
	if err != nil && !errors.Is(err, nhi.ErrNotFound) {
		return err
	}
	known := err == nil
	if known && old.LastSeen.After(at) {
		return nil // an older word than the one that counts
	}
	f.Sentence = fmt.Sprintf("The peer %s sees the risk of %s as %s.", h.Peer, called(&h.Identity), h.Event.Level)
	switch h.Event.Level {
	case signals.Low:
		if !known {
			return nil
		}
		return r.low(ctx, h, &f, at)
	case signals.Medium:
		f.Severity, f.Score = nhi.Medium, 60
	default:
		f.Severity, f.Score = nhi.High, 60
	}
	f.Sentence += " That counts for a part of its risk, and fades to half in a day; dismiss or resolve this finding if the peer is wrong."
	if known && !slices.Contains(old.Events, h.ID) {
		f.Count = old.Count + 1
	}
	if err := r.save(ctx, &f, act(h, "identity.risk-told", &f), nil); err != nil {
		return err
	}
	return r.d.Judge(ctx, f)
}

// low resolves the finding of a peer's earlier word, as of when the peer says so.
func (r *Room) low(ctx context.Context, h *receive.Heard, f *nhi.Finding, at time.Time) error {
	a := act(h, "finding."+string(nhi.Resolved), f)
	a.Target, a.Reason = f.ID, "the peer sees the risk as low again"
	_, err := r.d.DB.Write(ctx, func(tx *store.Tx) error {
		var err error
		*f, err = storerespond.Settle(ctx, tx, f.ID, at, a)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(r.d.Respond.Reconcile(ctx), r.d.Judge(ctx, *f))
}

// stuck tells people that a receiver takes no signals, or leaves some.
func (r *Room) stuck(ctx context.Context, s signals.Stream) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	title, sentence := "A receiver takes no signals", fmt.Sprintf("Its stream %s of shared signals was paused: %s. Mend the receiver; then it enables its stream again, and is told how many events it missed.", s.ID, s.Reason)
	if s.Status == signals.Enabled {
		title, sentence = "A receiver leaves signals", fmt.Sprintf("In its stream %s of shared signals %s. The stream goes on. See that the receiver asks, and acknowledges or refuses every signal; it is told how many events it missed when it next takes some.", s.ID, s.Reason)
	}
	return r.d.Respond.Found(ctx, []nhi.Finding{{
		ID: nhi.FindingID(signals.RuleStuck, s.Receiver, "", s.ID+" "+now.Format(time.DateOnly)), Rule: signals.RuleStuck, Title: title, Sentence: sentence,
		Severity: nhi.Medium, Status: nhi.Open, Identity: s.Receiver, FirstSeen: now, LastSeen: now, DetectedAt: now, Count: 1,
	}})
}
