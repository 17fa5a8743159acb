package learning

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/store"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
)

// Risk reaches decisions as a number on the row of what is at risk. A finding
// about what was done with one credential is the credential's: a stolen key
// must not turn against its owner, who may be proving himself by better means
// at the same time. Only what is tied to no credential is the identity's.
//
// Risk consists of what was done, never of what somebody claims: reports of
// leaks are findings, but no part of it. Whoever knows a public id can report
// it; a proven leak is contained by state, which needs no risk.

// behaviour reports whether a finding was made by the detector, or by a peer
// that sees a risk of its own subject.
func behaviour(f *nhi.Finding) bool {
	return strings.HasPrefix(f.Rule, "DET-") || f.Rule == signals.RuleRisk
}

// hold takes a finding as it is on record into the ledger, for its credential
// or else for its identity.
func (l *Learner) hold(f *nhi.Finding) { hold(l.risk, f) }

func hold(risk *detect.Ledger, f *nhi.Finding) {
	if !behaviour(f) {
		return
	}
	own := *f
	if own.Credential != "" {
		own.Identity = ""
	}
	risk.Add(&own)
}

// Risk returns the ledger of the findings given, which are as they are on
// record: what each of them adds to the risk of an identity or a credential.
// It is made to explain a number that a Learner wrote; by the time it is read
// it may have faded by up to riskStep more.
func Risk(findings []nhi.Finding) *detect.Ledger {
	risk := detect.NewLedger(0)
	for i := range findings {
		hold(risk, &findings[i])
	}
	return risk
}

// remembered is how long ago a finding may have been detected to still weigh
// something, and how many are looked at.
const (
	remembered    = 10 * 24 * time.Hour
	maxRemembered = 200_000
)

// loadRisk makes the ledger of what is on record.
func (l *Learner) loadRisk(ctx context.Context) error {
	risky, err := storeinventory.AtRisk(ctx, l.DB)
	if err != nil {
		return fmt.Errorf("read who is at risk: %w", err)
	}
	l.atRisk = make(map[string]bool, len(risky))
	for _, id := range risky {
		l.atRisk[id] = true
	}
	open, err := storerespond.Behaving(ctx, l.DB, time.Now().Add(-remembered), maxRemembered)
	if err != nil {
		return err
	}
	l.risk = detect.NewLedger(0)
	for i := range open {
		l.hold(&open[i])
	}
	return nil
}

// riskStep is how far a risk must fade to be written again: it fades all the
// time. What rises is written at once.
const riskStep = 5

// saveRisk writes the risk of whoever a finding speaks of. findings are as they
// are on record: one that somebody dismissed weighs nothing, however often it
// recurs.
func (l *Learner) saveRisk(ctx context.Context, tx *store.Tx, findings []nhi.Finding, at time.Time) error {
	for i := range findings {
		f := &findings[i]
		l.hold(f)
		var err error
		switch {
		case !behaviour(f):
		case f.Credential != "":
			l.atRisk[string(f.Credential)] = true
			err = l.credentialRisk(ctx, tx, f.Credential, at)
		case f.Identity != "":
			l.atRisk[string(f.Identity)] = true
			err = l.identityRisk(ctx, tx, f.Identity, at)
		}
		if err != nil {
			return fmt.Errorf("write the risk that follows from %s: %w", f.ID, err)
		}
	}
	return nil
}

func (l *Learner) credentialRisk(ctx context.Context, tx *store.Tx, id nhi.CredentialID, at time.Time) error {
	c, err := storeinventory.GetCredential(ctx, tx, id)
	if err != nil {
		return skipMissing(err)
	}
	risk, _ := l.risk.Credential(id, at)
	if !moved(c.Risk, risk) {
		return nil
	}
	c.Risk = risk
	return storeinventory.PutCredential(ctx, tx, c)
}

func (l *Learner) identityRisk(ctx context.Context, tx *store.Tx, id nhi.ID, at time.Time) error {
	i, err := storeinventory.GetIdentity(ctx, tx, id)
	if err != nil {
		return skipMissing(err)
	}
	risk, _ := l.risk.Identity(id, at)
	if !moved(i.Risk, risk) {
		return nil
	}
	i.Risk = risk
	return storeinventory.PutIdentity(ctx, tx, i)
}

func moved(old, risk int) bool {
	if risk == 0 {
		return old != 0
	}
	return risk > old || old-risk >= riskStep
}

// fade writes the risks that have faded since they were written.
func (l *Learner) fade(ctx context.Context, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.atRisk) == 0 {
		return nil
	}
	_, err := l.DB.Write(ctx, func(tx *store.Tx) error {
		for id := range l.atRisk {
			var err error
			if nhi.CredentialID(id).Valid() {
				err = l.credentialRisk(ctx, tx, nhi.CredentialID(id), at)
			} else {
				err = l.identityRisk(ctx, tx, nhi.ID(id), at)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("let risks fade: %w", err)
	}
	l.risk.Sweep(at)
	for id := range l.atRisk {
		c, _ := l.risk.Credential(nhi.CredentialID(id), at)
		i, _ := l.risk.Identity(nhi.ID(id), at)
		if c == 0 && i == 0 {
			delete(l.atRisk, id) // written as zero just now
		}
	}
	return nil
}

// Judge takes to heart what a person said of a finding: one that is dismissed
// or resolved no longer counts as risk.
func (l *Learner) Judge(ctx context.Context, f nhi.Finding) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.DB.Write(ctx, func(tx *store.Tx) error { return l.saveRisk(ctx, tx, []nhi.Finding{f}, time.Now()) })
	return err
}

// Forgive clears the risk of a credential whose containment somebody lifted.
func (l *Learner) Forgive(ctx context.Context, id nhi.CredentialID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.risk.Forgive(id)
	_, err := l.DB.Write(ctx, func(tx *store.Tx) error { return l.credentialRisk(ctx, tx, id, time.Now()) })
	if err != nil {
		return fmt.Errorf("clear the risk of %s: %w", id, err)
	}
	return nil
}
