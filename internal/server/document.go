package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/attest/oidc"
	"github.com/muster-id/muster/internal/enforce"
	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/strictyaml"
)

// The documents that are applied as a whole.
const (
	routesFile    = "routes.yaml"
	resourcesFile = "resources.yaml"
	trustFile     = "trust.yaml"
	policyFile    = "policies.cedar"
)

var documentNames = []string{routesFile, resourcesFile, trustFile, policyFile}

// documents checks a document, stores it and puts it into force. A wrong one
// is refused with its line, and the old one stays.
type documents struct {
	db        *store.DB
	settings  *inventory.Settings
	inventory *inventory.Service
	policies  *policy.Holder
	trust     *oidc.Trust
	acts      *recorder
	clean     func(string) string

	mu sync.Mutex // one document is applied at a time
}

// Apply implements api.Documents.
func (d *documents) Apply(ctx context.Context, by, name string, body []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.plain(name, body); err != nil {
		return err
	}
	var err error
	switch name {
	case routesFile:
		err = d.applyRoutes(ctx, body)
	case resourcesFile:
		err = d.applyResources(ctx, body)
	case trustFile:
		err = d.applyTrust(ctx, body)
	case policyFile:
		err = d.applyPolicies(ctx, body)
	default:
		return fmt.Errorf("there is no document %.60q, only %s: %w", name, strings.Join(documentNames, ", "), nhi.ErrNotFound)
	}
	if err != nil {
		return invalid(err)
	}
	return d.acts.Record(ctx, nhi.Act{At: time.Now(), Actor: by, Act: "document.apply", Target: name, Outcome: "done"})
}

// plain refuses a document with a secret in it: documents are stored and shown
// as they are. The error names the line, as far as the secret stands on one.
func (d *documents) plain(name string, body []byte) error {
	if !slices.Contains(documentNames, name) || d.clean(string(body)) == string(body) {
		return nil
	}
	n := 0
	for line := range strings.Lines(string(body)) {
		if n++; d.clean(line) != line {
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

func parseRoutes(body []byte) ([]nhi.Route, error) {
	var routes []nhi.Route
	if err := strictyaml.Decode(routesFile, body, &routes); err != nil {
		return nil, err
	}
	if _, err := enforce.Compile(routes); err != nil {
		return nil, fmt.Errorf("%s: %w", routesFile, err)
	}
	return routes, nil
}

func (d *documents) applyRoutes(ctx context.Context, body []byte) error {
	routes, err := parseRoutes(body)
	if err != nil {
		return err
	}
	return d.keep(ctx, routesFile, body, func(tx *store.Tx) error { return tx.Change(nhi.SubjectRoutes, routesFile, routes) })
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

func parseResources(body []byte, settings *inventory.Settings) (map[string]nhi.Resource, error) {
	var lines []resourceLine
	if err := strictyaml.Decode(resourcesFile, body, &lines); err != nil {
		return nil, err
	}
	out := make(map[string]nhi.Resource, len(lines))
	for i, l := range lines {
		if l.ID == "" || len(l.ID) > 256 {
			return nil, nhi.Invalidf("%s: entry %d: id must have 1 to 256 characters", resourcesFile, i+1)
		}
		if _, twice := out[l.ID]; twice {
			return nil, nhi.Invalidf("%s: %s stands twice", resourcesFile, l.ID)
		}
		r := nhi.Resource{
			ID: nhi.NewResourceID("muster", "default", l.ID), Name: l.ID, Environment: settings.Environment(l.Environment),
			Service: l.Service, Region: l.Region, Jurisdiction: l.Jurisdiction,
		}
		if r.Jurisdiction == "" {
			r.Jurisdiction = geo.Jurisdiction(geo.RegionCountry("aws", l.Region))
		}
		switch {
		case l.Sensitivity == nil:
			r.Sensitivity, r.Assumed = nhi.AssumedSensitivity(r.Environment.Class), true
		case *l.Sensitivity < 0 || *l.Sensitivity > nhi.MaxSensitivity:
			return nil, nhi.Invalidf("%s: %s: sensitivity %d is not between 0 and %d", resourcesFile, l.ID, *l.Sensitivity, nhi.MaxSensitivity)
		default:
			r.Sensitivity = *l.Sensitivity
		}
		out[l.ID] = r
	}
	return out, nil
}

func (d *documents) applyResources(ctx context.Context, body []byte) error {
	next, err := parseResources(body, d.settings)
	if err != nil {
		return err
	}
	old, err := d.resources(ctx)
	if err != nil {
		return err
	}
	return d.keep(ctx, resourcesFile, body, func(tx *store.Tx) error {
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

// resources returns the resources in force.
func (d *documents) resources(ctx context.Context) (map[string]nhi.Resource, error) {
	body, err := d.body(ctx, resourcesFile)
	if err != nil || body == nil {
		return nil, err
	}
	return parseResources(body, d.settings)
}

func (d *documents) applyTrust(ctx context.Context, body []byte) error {
	rules, err := oidc.Parse(trustFile, body)
	if err != nil {
		return err
	}
	for _, r := range rules {
		if _, err := d.inventory.Identity(ctx, r.Identity); err != nil {
			return nhi.Invalidf("%s: rule %s: identity %s: %v", trustFile, r.Name, r.Identity, err)
		}
	}
	if err := d.keep(ctx, trustFile, body, func(tx *store.Tx) error { return tx.Change(nhi.SubjectTrust, trustFile, len(rules)) }); err != nil {
		return err
	}
	if err := d.trust.Set(rules); err != nil {
		return err
	}
	return d.inventory.MarkAttestable(ctx, d.trust.Identities())
}

func (d *documents) applyPolicies(ctx context.Context, body []byte) error {
	files := map[string]string{}
	if len(body) > 0 {
		files[policyFile] = string(body)
	}
	// Checked before it is stored, because what is stored must load.
	if _, err := policy.Load(d.policies.Set().Settings(), files); err != nil {
		return err
	}
	if err := d.keep(ctx, policyFile, body, func(tx *store.Tx) error { return tx.Change(nhi.SubjectPolicy, policyFile, len(body)) }); err != nil {
		return err
	}
	return d.policies.Replace(files)
}

func (d *documents) keep(ctx context.Context, name string, body []byte, and func(*store.Tx) error) error {
	_, err := d.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.PutDocument(ctx, name, body); err != nil {
			return err
		}
		return and(tx)
	})
	return err
}

// body returns a stored document, nil when there is none.
func (d *documents) body(ctx context.Context, name string) ([]byte, error) {
	doc, err := d.Document(ctx, name)
	if doc.Updated.IsZero() {
		return nil, err
	}
	return []byte(doc.Body), err
}

// Document implements api.Documents. One that was never applied is empty.
func (d *documents) Document(ctx context.Context, name string) (client.Document, error) {
	if !slices.Contains(documentNames, name) {
		return client.Document{}, fmt.Errorf("there is no document %.60q, only %s: %w", name, strings.Join(documentNames, ", "), nhi.ErrNotFound)
	}
	out := client.Document{Name: name}
	err := d.db.Read(ctx, func(tx *store.Tx) error {
		doc, err := tx.Document(ctx, name)
		if isNotFound(err) {
			return nil
		}
		out.Body, out.Updated = string(doc.Body), doc.Updated
		return err
	})
	return out, err
}
