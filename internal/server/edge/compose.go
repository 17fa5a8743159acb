package edge

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"iter"
	"time"

	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/breakglass"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy/force"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/store"
)

// Parts are the parts of a server that a Hub joins. All fields are required.
type Parts struct {
	DB       *store.DB
	Facts    *facts.Facts
	Points   *enforce.Points
	Policies *force.Holder
	Keys     *seal.Keys
	Public   func() []byte            // the keys of our own tokens, a JWKS; another slice when they change
	Issuers  func() *oidc.Direct      // whose tokens are used at points; another one when anything about it changes
	Domains  func() *svid.Set         // whose X.509-SVIDs are believed; another one when anything about it changes
	Settings func() decision.Settings // in force
	Journal  *journal.Journal         // of decisions
	Log      *logbook.Log
	Clean    func(*nhi.Question) // takes secrets out of what a caller can write freely
	Count    func(*nhi.Decision) // counts what was recorded
	// Glass takes in that a point was opened by a break-glass code.
	Glass func(ctx context.Context, point *nhi.Point, o *breakglass.Opening) error
	URL   string // of the server, which its tokens name
	Data  string // its folder
}

// Compose makes the Hub of a server.
func Compose(ctx context.Context, p Parts) (*Hub, error) {
	installation, err := p.DB.Installation(ctx)
	if err != nil {
		return nil, err
	}
	return New(ctx, Config{
		DB: p.DB, Facts: p.Facts, Points: p.Points, Installation: installation, Dir: p.Data,
		Key:    ed25519.NewKeyFromSeed(p.Keys.Derive("point feed", ed25519.SeedSize)),
		Basis:  p.basis,
		Glass:  p.Glass,
		MaxAge: func() time.Duration { return p.Settings().WithDefaults().MaxFactsAge },
		Intake: Intake{
			Record: p.record,
			Read: func(from uint64) iter.Seq2[journal.Record, error] {
				return p.Journal.Read(max(from, p.Journal.First()))
			},
			Last: func() uint64 { return p.Journal.Last().Seq },
		},
	})
}

// basis returns what decisions follow from besides facts, and what tells whether
// that is another than before.
func (p *Parts) basis() (func() (feed.Basis, error), any) {
	type mark struct {
		pair     *force.Pair
		keys     *byte
		settings decision.Settings
		issuers  *oidc.Direct
		domains  *svid.Set
	}
	pair, keys, settings, issuers, domains := p.Policies.Pair(), p.Public(), p.Settings().WithDefaults(), p.Issuers(), p.Domains()
	read := func() (feed.Basis, error) {
		b := feed.Basis{Issuer: p.URL, Keys: keys, Policies: pair.Files, Issuers: issuers.Text(), Domains: domains.Text()}
		if pair.Rival.Set != nil && !pair.Watching && pair.Share.Percent > 0 {
			b.Next = &feed.Next{Policies: pair.Rival.Files, Percent: pair.Share.Percent, Key: pair.Share.Key[:]}
		}
		var err error
		if b.Guards, err = json.Marshal(pair.Set.Settings()); err == nil {
			b.Settings, err = json.Marshal(settings)
		}
		return b, err
	}
	return read, mark{pair, &keys[0], settings, issuers, domains}
}

// record puts a decision on record that a point made by itself. What a caller can
// write freely is cleaned of secrets first, as before every decision of the server.
func (p *Parts) record(d *nhi.Decision) error {
	q := nhi.Question{Resource: d.Resource, Operation: d.Operation}
	q.Subject.Asserted, q.Subject.KeyID, q.Subject.Identity = d.Asserted, d.KeyID, d.Identity
	p.Clean(&q)
	d.Resource, d.Operation, d.KeyID, d.Identity = q.Resource, q.Operation, q.Subject.KeyID, q.Subject.Identity
	if err := p.Log.AddDurably(d); err != nil {
		return err
	}
	p.Count(d)
	return nil
}
