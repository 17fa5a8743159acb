// Package document keeps the files that are applied as a whole: routes,
// resources, trust rules and policies. A document is checked, stored and put
// into force in one go; a wrong one is refused with its line, and the one in
// force stays.
package document

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/attest/svid"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/library"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/strictyaml"
)

// The documents that are applied as a whole.
const (
	RoutesFile    = "routes.yaml"
	ResourcesFile = "resources.yaml"
	TrustFile     = "trust.yaml"
	PolicyFile    = library.File
)

var documentNames = []string{RoutesFile, ResourcesFile, TrustFile, PolicyFile}

// Acts records what was done, durably, before it returns.
type Acts interface {
	Record(ctx context.Context, act nhi.Act) error
}

// Documents implements frame.Documents. It is safe for concurrent use.
type Documents struct {
	DB        *store.DB
	Inventory *inventory.Service
	Policies  *library.Library
	Trust     *oidc.Trust
	SVIDs     *svid.Trust
	Acts      Acts
	Clean     func(string) string // takes secrets out of text

	mu sync.Mutex // one document is applied at a time
}

// Apply implements frame.Documents.
func (d *Documents) Apply(ctx context.Context, by, name string, body []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.plain(name, body); err != nil {
		return err
	}
	var err error
	switch name {
	case RoutesFile:
		err = d.applyRoutes(ctx, body)
	case ResourcesFile:
		err = d.applyResources(ctx, body)
	case TrustFile:
		err = d.applyTrust(ctx, body)
	case PolicyFile:
		err = d.Policies.PutDocument(ctx, by, body)
	default:
		return fmt.Errorf("there is no document %.60q, only %s: %w", name, strings.Join(documentNames, ", "), nhi.ErrNotFound)
	}
	if err != nil {
		return invalid(err)
	}
	return d.Acts.Record(ctx, nhi.Act{At: time.Now(), Actor: by, Act: "document.apply", Target: name, Outcome: "done"})
}

// plain refuses a document with a secret in it: documents are stored and shown
// as they are. The error names the line, as far as the secret stands on one.
func (d *Documents) plain(name string, body []byte) error {
	if !slices.Contains(documentNames, name) || d.Clean(string(body)) == string(body) {
		return nil
	}
	n := 0
	for line := range strings.Lines(string(body)) {
		if n++; d.Clean(line) != line {
			return nhi.Invalidf("%s:%d: the line holds a secret; take it out, and consider it lost", name, n)
		}
	}
	return nhi.Invalidf("%s: the document holds a secret; take it out, and consider it lost", name)
}

// invalid makes the errors of readers that know no kinds the caller's.
func invalid(err error) error {
	if _, ok := err.(*strictyaml.Error); ok {
		return fmt.Errorf("%w (%w)", err, nhi.ErrInvalid)
	}
	return err
}

// ParseRoutes reads a document of routes. The error names the line.
func ParseRoutes(body []byte) ([]nhi.Route, error) {
	var routes []nhi.Route
	if err := strictyaml.Decode(RoutesFile, body, &routes); err != nil {
		return nil, err
	}
	if _, err := enforce.Compile(routes); err != nil {
		return nil, fmt.Errorf("%s: %w", RoutesFile, err)
	}
	return routes, nil
}

func (d *Documents) applyRoutes(ctx context.Context, body []byte) error {
	routes, err := ParseRoutes(body)
	if err != nil {
		return err
	}
	return d.keep(ctx, RoutesFile, body, func(tx *store.Tx) error { return tx.Change(nhi.SubjectRoutes, RoutesFile, routes) })
}

// A resourceLine is one entry of resources.yaml.
type resourceLine struct {
	ID           string `yaml:"id"`
	Environment  string `yaml:"environment"`
	Sensitivity  *int   `yaml:"sensitivity"`
	Service      string `yaml:"service"`
	Region       string `yaml:"region"`
	Jurisdiction string `yaml:"jurisdiction"`
}

// ParseResources reads a document of resources, by name. Environments that
// settings name get their class.
func ParseResources(body []byte, settings *inventory.Settings) (map[string]nhi.Resource, error) {
	var lines []resourceLine
	if err := strictyaml.Decode(ResourcesFile, body, &lines); err != nil {
		return nil, err
	}
	out := make(map[string]nhi.Resource, len(lines))
	for i, l := range lines {
		if l.ID == "" || len(l.ID) > 256 {
			return nil, nhi.Invalidf("%s: entry %d: id must have 1 to 256 characters", ResourcesFile, i+1)
		}
		if _, twice := out[l.ID]; twice {
			return nil, nhi.Invalidf("%s: %s stands twice", ResourcesFile, l.ID)
		}
		r := nhi.Resource{
			ID: nhi.NewResourceID("muster", "default", l.ID), Name: l.ID, Environment: settings.Environment(l.Environment),
			Service: l.Service, Region: l.Region, Jurisdiction: l.Jurisdiction,
		}
		if r.Jurisdiction == "" {
			r.Jurisdiction = geo.RegionJurisdiction("", l.Region)
		}
		switch {
		case l.Sensitivity == nil:
			r.Sensitivity, r.Assumed = nhi.AssumedSensitivity(r.Environment.Class), true
		case *l.Sensitivity < 0 || *l.Sensitivity > nhi.MaxSensitivity:
			return nil, nhi.Invalidf("%s: %s: sensitivity %d is not between 0 and %d", ResourcesFile, l.ID, *l.Sensitivity, nhi.MaxSensitivity)
		default:
			r.Sensitivity = *l.Sensitivity
		}
		out[l.ID] = r
	}
	return out, nil
}

func (d *Documents) applyResources(ctx context.Context, body []byte) error {
	next, err := ParseResources(body, d.Inventory.Settings())
	if err != nil {
		return err
	}
	old, err := d.resources(ctx)
	if err != nil {
		return err
	}
	return d.keep(ctx, ResourcesFile, body, func(tx *store.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(next)) {
			if old[name] != next[name] {
				if err := tx.Change(nhi.SubjectResource, name, next[name]); err != nil {
					return err
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(old)) {
			if _, stays := next[name]; !stays {
				if err := tx.Change(nhi.SubjectResource, name, nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// Refresh puts the resources into force anew, because the rules of the
// environments changed.
func (d *Documents) Refresh(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := d.resources(ctx)
	if err != nil || len(now) == 0 {
		return err
	}
	_, err = d.DB.Write(ctx, func(tx *store.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(now)) {
			if err := tx.Change(nhi.SubjectResource, name, now[name]); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// resources returns the resources in force.
func (d *Documents) resources(ctx context.Context) (map[string]nhi.Resource, error) {
	body, err := d.Body(ctx, ResourcesFile)
	if err != nil || body == nil {
		return nil, err
	}
	return ParseResources(body, d.Inventory.Settings())
}

// parseTrust reads a document of trust rules. The error names the line or the rule.
func parseTrust(body []byte) ([]oidc.Rule, []svid.Binding, error) {
	rules, err := oidc.Parse(TrustFile, body)
	if err != nil {
		return nil, nil, err
	}
	bindings, err := Bindings(rules)
	return rules, bindings, err
}

func (d *Documents) applyTrust(ctx context.Context, body []byte) error {
	rules, bindings, err := parseTrust(body)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if _, err := d.Inventory.Identity(ctx, r.Identity); err != nil {
			return nhi.Invalidf("%s: rule %s: identity %s: %v", TrustFile, r.Name, r.Identity, err)
		}
	}
	if err := d.keep(ctx, TrustFile, body, func(tx *store.Tx) error { return tx.Change(nhi.SubjectTrust, TrustFile, len(rules)) }); err != nil {
		return err
	}
	if err := errors.Join(d.Trust.Set(rules), d.SVIDs.Bind(bindings)); err != nil {
		return err
	}
	return d.Inventory.MarkAttestable(ctx, d.Trust.Identities())
}

// Run keeps at hand what the documents refer to elsewhere, the keys of trusted
// issuers and the bundles of trust domains, until ctx ends.
func (d *Documents) Run(ctx context.Context) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return d.Trust.Run(ctx) })
	both.Go(func() error { return d.SVIDs.Run(ctx) })
	return both.Wait()
}

// Believe takes up the trust rules of a document, as the server starts.
func (d *Documents) Believe(body []byte, s svid.Settings) error {
	rules, bindings, err := parseTrust(body)
	if err != nil {
		return err
	}
	if d.Trust, err = oidc.New(rules, oidc.Options{}); err != nil {
		return err
	}
	d.SVIDs, err = svid.New(s, bindings)
	return err
}

// Bindings are the rules about X.509-SVIDs. The error names one that is unsound,
// or two that contradict each other.
func Bindings(rules []oidc.Rule) ([]svid.Binding, error) {
	var out []svid.Binding
	who := make(map[string]nhi.ID)
	for _, r := range rules {
		if r.SPIFFE == "" {
			continue
		}
		b := svid.Binding{ID: r.SPIFFE, Identity: r.Identity, Location: r.Location}
		if err := b.Check(); err != nil {
			return nil, fmt.Errorf("%s: rule %q: %w", TrustFile, r.Name, err)
		}
		if other, taken := who[r.SPIFFE]; taken && other != r.Identity {
			return nil, nhi.Invalidf("%s: rule %q: another rule says that %s is %s", TrustFile, r.Name, r.SPIFFE, other)
		}
		who[r.SPIFFE] = r.Identity
		out = append(out, b)
	}
	return out, nil
}

func (d *Documents) keep(ctx context.Context, name string, body []byte, and func(*store.Tx) error) error {
	_, err := d.DB.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.PutDocument(ctx, name, body); err != nil {
			return err
		}
		return and(tx)
	})
	return err
}

// Body returns a stored document, nil when there is none.
func (d *Documents) Body(ctx context.Context, name string) ([]byte, error) {
	doc, err := d.Document(ctx, name)
	if doc.Updated.IsZero() {
		return nil, err
	}
	return []byte(doc.Body), err
}

// Document implements frame.Documents. One that was never applied is empty.
func (d *Documents) Document(ctx context.Context, name string) (client.Document, error) {
	if !slices.Contains(documentNames, name) {
		return client.Document{}, fmt.Errorf("there is no document %.60q, only %s: %w", name, strings.Join(documentNames, ", "), nhi.ErrNotFound)
	}
	out := client.Document{Name: name}
	err := d.DB.Read(ctx, func(tx *store.Tx) error {
		doc, err := tx.Document(ctx, name)
		if errors.Is(err, nhi.ErrNotFound) {
			return nil
		}
		out.Body, out.Updated = string(doc.Body), doc.Updated
		return err
	})
	return out, err
}
