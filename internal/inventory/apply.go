package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Bounds of one observation, so that a wrong or hostile file cannot fill the
// store.
const (
	maxIdentities  = 2_000_000
	maxAttachments = 8_000_000 // credentials, grants, owners: each
	maxLabels      = 64
)

// KindGrant in Observation.Complete says that the observation holds every
// grant of each identity in it. The other words there are kinds of identity.
const KindGrant = "grant"

// A Result counts what an observation held and what it did.
type Result struct {
	Identities  int `json:"identities"`
	Credentials int `json:"credentials"`
	Grants      int `json:"grants"`
	Owners      int `json:"owners"` // evidence, tags included
	Created     int `json:"created"`
	Updated     int `json:"updated"`
	Retired     int `json:"retired"`
}

// Apply merges an observation: all of it or, on an error, nothing. The same
// observation again changes nothing; one that is older than what is known only
// fills gaps. Everything in it must be of its provider and account.
//
// Identities of a kind in o.Complete that the observation lacks are retired
// when the one before lacked them too.
func (s *Service) Apply(ctx context.Context, o nhi.Observation) (Result, nhi.Generation, error) {
	if err := checkObservation(&o); err != nil {
		return Result{}, 0, fmt.Errorf("apply observation of %s %s: %w", o.Provider, o.Account, err)
	}
	var r Result
	g, err := s.store.Import(ctx, func(tx Tx) error {
		a := applying{s: s, tx: tx, o: &o, r: Result{}}
		err := a.run(ctx)
		r = a.r
		return err
	})
	if err != nil {
		return Result{}, 0, fmt.Errorf("apply observation of %s %s: %w", o.Provider, o.Account, err)
	}
	return r, g, nil
}

var errTried = errors.New("this was only tried")

// Try is Apply in a transaction that is taken back; through stands between the
// merge and the transaction, and sees what is read and written. Nothing remains
// of it, and nobody is told.
func (s *Service) Try(ctx context.Context, o nhi.Observation, through func(Tx) Tx) error {
	err := checkObservation(&o)
	if err == nil {
		_, err = s.store.Import(ctx, func(tx Tx) error {
			a := applying{s: s, tx: through(tx), o: &o}
			if err := a.run(ctx); err != nil {
				return err
			}
			return errTried
		})
	}
	if errors.Is(err, errTried) {
		return nil
	}
	return fmt.Errorf("apply observation of %s %s: %w", o.Provider, o.Account, err)
}

func checkObservation(o *nhi.Observation) error {
	switch {
	case o.Provider == "" || o.At.IsZero():
		return nhi.Invalidf("observation without provider or time")
	case len(o.Identities) > maxIdentities || len(o.Credentials) > maxAttachments || len(o.Grants) > maxAttachments || len(o.Owners) > maxAttachments:
		return fmt.Errorf("observation of %d identities: %w", len(o.Identities), nhi.ErrTooLarge)
	}
	for i := range o.Identities {
		id := &o.Identities[i]
		if id.ID == "" {
			id.ID = nhi.IdentityID(id.Provider, id.Account, id.Native)
		}
		switch {
		case id.Provider != o.Provider || id.Account != o.Account:
			return nhi.Invalidf("identities[%d] is of %s %s", i, id.Provider, id.Account)
		case id.Native == "" || id.ID != nhi.IdentityID(id.Provider, id.Account, id.Native):
			return nhi.Invalidf("identities[%d]: id %s is not that of its native id", i, id.ID)
		case len(id.Labels) > maxLabels:
			return nhi.Invalidf("identities[%d]: %d labels", i, len(id.Labels))
		}
	}
	for i := range o.Credentials {
		c := &o.Credentials[i]
		if c.Provider != o.Provider || c.Account != o.Account || !c.ID.Valid() || !c.Identity.Valid() {
			return nhi.Invalidf("credentials[%d] is of %s %s, id %q", i, c.Provider, c.Account, c.ID)
		}
	}
	return nil
}

// applying is one run of Apply inside its transaction.
type applying struct {
	s     *Service
	tx    Tx
	o     *nhi.Observation
	r     Result
	owned map[nhi.ID]bool // whose owner must be computed again
}

func (a *applying) run(ctx context.Context) error {
	a.owned = make(map[nhi.ID]bool)
	steps := []func(context.Context) error{a.identities, a.credentials, a.grants, a.owners, a.missing}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *applying) identities(ctx context.Context) error {
	for i := range a.o.Identities {
		seen := &a.o.Identities[i]
		if err := a.identity(ctx, seen); err != nil {
			return fmt.Errorf("identity %s (%q): %w", seen.ID, seen.Name, err)
		}
	}
	a.r.Identities = len(a.o.Identities)
	return nil
}

func (a *applying) identity(ctx context.Context, seen *nhi.Identity) error {
	row, old, err := lookUp(ctx, a.tx, seen.ID)
	if err != nil {
		return err
	}
	newer := !a.o.At.Before(row.Observed)
	next := *seen
	if next.FirstSeen.IsZero() {
		next.FirstSeen = a.o.At
	}
	merged, _ := mergeIdentity(old, next, newer)
	merged.Environment = a.s.settings.Load().assign(&merged)
	var tags []nhi.OwnerEvidence
	if newer {
		tags = a.s.settings.Load().tagEvidence(&merged, a.o.At)
	}
	if len(tags) > 0 {
		evidence, err := a.tx.OwnersOf(ctx, seen.ID)
		if err != nil {
			return err
		}
		merged.Owner = a.s.decide(append(evidence, tags...), a.o.At)
	}
	before := row
	row.Identity = merged
	if newer {
		row.Observed, row.Missed = a.o.At, 0
	}
	if err := a.put(ctx, old, before, row); err != nil {
		return err
	}
	for _, e := range tags {
		if err := a.tx.AddOwner(ctx, e); err != nil {
			return err
		}
	}
	a.r.Owners += len(tags)
	return nil
}

// put writes a row that differs from what is stored, and counts it.
func (a *applying) put(ctx context.Context, old *nhi.Identity, before, row Row) error {
	same := old != nil && SameIdentity(*old, row.Identity)
	if same && before.Observed.Equal(row.Observed) && before.Missed == row.Missed {
		return nil
	}
	switch {
	case old == nil:
		a.r.Created++
	case !same:
		a.r.Updated++
	}
	return a.tx.PutIdentity(ctx, row, announceIdentity(old, row.Identity))
}

func (a *applying) credentials(ctx context.Context) error {
	for _, seen := range a.o.Credentials {
		if err := mergeStored(ctx, a.tx, seen); err != nil {
			return fmt.Errorf("credential %s: %w", seen.ID, err)
		}
	}
	a.r.Credentials = len(a.o.Credentials)
	return nil
}

// mergeStored merges one credential into its row.
func mergeStored(ctx context.Context, tx Tx, seen nhi.Credential) error {
	var old *nhi.Credential
	switch c, err := tx.Credential(ctx, seen.ID); {
	case err == nil:
		old = &c
	case !errors.Is(err, nhi.ErrNotFound):
		return err
	}
	merged, changed := MergeCredential(old, seen)
	if !changed {
		return nil
	}
	return tx.PutCredential(ctx, merged, announceCredential(old, merged))
}

// grants replaces what each observed identity holds, when the observation says
// that it knows all of it and is the newest.
func (a *applying) grants(ctx context.Context) error {
	a.r.Grants = len(a.o.Grants)
	of := make(map[nhi.ID][]nhi.Grant)
	for _, id := range a.o.Identities {
		of[id.ID] = nil
	}
	for i, g := range a.o.Grants {
		if _, ok := of[g.Identity]; !ok {
			return nhi.Invalidf("grants[%d] is of %s, which the observation does not hold", i, g.Identity)
		}
		if g.ID == "" {
			g.ID = GrantID(g)
		}
		of[g.Identity] = append(of[g.Identity], g)
	}
	if !complete(a.o, KindGrant) {
		return nil
	}
	for _, id := range a.o.Identities {
		row, err := a.tx.Identity(ctx, id.ID)
		if err != nil {
			return err
		}
		if a.o.At.Before(row.Observed) {
			continue
		}
		if err := a.tx.ReplaceGrants(ctx, id.ID, of[id.ID]); err != nil {
			return fmt.Errorf("grants of %s: %w", id.ID, err)
		}
	}
	return nil
}

// GrantID derives the id of a grant from what it says.
func GrantID(g nhi.Grant) string {
	return nhi.DerivedID("grt_", string(g.Identity), g.Kind, g.Name, g.Document)
}

func complete(o *nhi.Observation, kind string) bool {
	for _, k := range o.Complete {
		if k == kind {
			return true
		}
	}
	return false
}

func (a *applying) owners(ctx context.Context) error {
	for i, e := range a.o.Owners {
		owner, ok := ParseOwner(e.Owner)
		if !ok || e.Source == "" || e.Source == SourceHand {
			return nhi.Invalidf("owners[%d]: %q by %q is no owner evidence of a connector", i, e.Owner, e.Source)
		}
		e.Owner = owner
		if e.At.IsZero() {
			e.At = a.o.At
		}
		if err := a.tx.AddOwner(ctx, e); err != nil {
			return fmt.Errorf("owner of %s: %w", e.Identity, err)
		}
		a.r.Owners++
		a.owned[e.Identity] = true
	}
	for id := range a.owned {
		if err := a.s.decideOwner(ctx, a.tx, id, a.o.At); err != nil {
			return fmt.Errorf("owner of %s: %w", id, err)
		}
	}
	return nil
}

// decideOwner computes the owner of an identity from its evidence again.
func (s *Service) decideOwner(ctx context.Context, tx Tx, id nhi.ID, at time.Time) error {
	row, err := tx.Identity(ctx, id)
	if err != nil {
		return err
	}
	evidence, err := tx.OwnersOf(ctx, id)
	if err != nil {
		return err
	}
	old := row.Identity
	row.Owner = s.decide(evidence, at)
	if row.Owner == old.Owner {
		return nil
	}
	return tx.PutIdentity(ctx, row, true)
}

// decide is Decide at a time that is not before any of the evidence: an old
// observation must not make newer evidence look as fresh as at its own time.
func (s *Service) decide(evidence []nhi.OwnerEvidence, at time.Time) nhi.Owner {
	for _, e := range evidence {
		at = latest(at, e.At)
	}
	return Decide(evidence, at, s.settings.Load().OwnerTags)
}

// missing counts what complete observations lack and retires what two lacked.
func (a *applying) missing(ctx context.Context) error {
	for _, kind := range a.o.Complete {
		if kind == KindGrant {
			continue
		}
		fresh, err := a.tx.Covered(ctx, a.o.Provider, a.o.Account, nhi.Kind(kind), a.o.At)
		if err != nil {
			return fmt.Errorf("coverage of %s: %w", kind, err)
		}
		if !fresh {
			continue
		}
		rows, err := a.tx.Missed(ctx, a.o.Provider, a.o.Account, nhi.Kind(kind), a.o.At)
		if err != nil {
			return fmt.Errorf("missing %s: %w", kind, err)
		}
		for _, row := range rows {
			if row.Missed < MissesToRetire || row.State == nhi.Quarantined {
				continue
			}
			row.State = nhi.Retired
			if err := a.tx.PutIdentity(ctx, row, true); err != nil {
				return fmt.Errorf("retire %s: %w", row.ID, err)
			}
			a.r.Retired++
		}
	}
	return nil
}

// lookUp reads a row; old is nil when there is none.
func lookUp(ctx context.Context, tx Tx, id nhi.ID) (row Row, old *nhi.Identity, err error) {
	row, err = tx.Identity(ctx, id)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		return Row{}, nil, nil
	case err != nil:
		return Row{}, nil, err
	}
	copied := row.Identity
	return row, &copied, nil
}
