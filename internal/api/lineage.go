package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

func (s *server) lineages(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities/{id}/lineage", "get-lineage", "identities", "Follow an identity from its origin to what it reaches"),
		func(ctx context.Context, in *IdentityPath) (*frame.Body[client.Lineage], error) {
			l, err := s.lineage(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Lineage]{Body: l}, nil
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities/{id}/changes", "list-identity-changes", "identities", "List the acts about an identity and its credentials, the newest first"),
		func(ctx context.Context, in *struct {
			IdentityPath
			frame.ListQuery
		}) (*frame.Body[client.Page[client.Entry]], error) {
			creds, err := s.Inventory.CredentialsOf(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, frame.Fail(err)
			}
			about := map[string]bool{in.ID: true}
			for _, c := range creds {
				about[string(c.ID)] = true
			}
			return s.entries(ctx, in.ListQuery, in.ID, 0, func(e *client.Entry) bool { return about[e.Target] })
		})
}

// lineage gathers what is known of one identity.
func (s *server) lineage(ctx context.Context, id nhi.ID) (client.Lineage, error) {
	i, err := s.Inventory.Identity(ctx, id)
	if err != nil {
		return client.Lineage{}, err
	}
	creds, err := s.Inventory.CredentialsOf(ctx, i.ID)
	if err != nil {
		return client.Lineage{}, err
	}
	evidence, err := s.Inventory.EvidenceOf(ctx, i.ID)
	if err != nil {
		return client.Lineage{}, err
	}
	grants, err := s.Inventory.GrantsOf(ctx, i.ID)
	if err != nil {
		return client.Lineage{}, err
	}
	stored, err := s.storedIn(ctx, creds)
	if err != nil {
		return client.Lineage{}, err
	}
	made := s.Decisions.Recent(frame.DecisionFilter{Identity: i.ID}, everyDecision)
	usual := s.State.Normal(i.ID)
	return client.Lineage{
		Identity: string(i.ID), Origin: origin(i, evidence), StoredIn: stored,
		Consumers: s.consumers(ctx, creds, made, usual), Reaches: reaches(inventory.Permissions(grants), made, usual),
	}, nil
}

// everyDecision is more than are kept.
const everyDecision = 1 << 20

func origin(i nhi.Identity, evidence []nhi.OwnerEvidence) []client.Origin {
	kind := "provider"
	switch {
	case i.Provider == "muster":
		kind = "muster"
	case i.Shadow:
		kind = "log"
	}
	at := i.Created
	if at.IsZero() {
		at = i.FirstSeen
	}
	out := []client.Origin{{Kind: kind, Name: i.Provider, Detail: strings.TrimSpace(i.Account + " " + i.Native), At: frame.When(at)}}
	for _, e := range evidence {
		out = append(out, client.Origin{Kind: "owner", Name: e.Owner, Detail: strings.TrimSpace(e.Source + " " + e.Detail), At: frame.When(e.At)})
	}
	slices.SortStableFunc(out[1:], func(a, b client.Origin) int { return compareTimes(a.At, b.At) })
	return out
}

func compareTimes(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return a.Compare(*b)
}

// storedIn lists where the secrets of credentials were seen.
func (s *server) storedIn(ctx context.Context, creds []nhi.Credential) ([]client.StoredIn, error) {
	out := []client.StoredIn{}
	for _, c := range creds[:min(len(creds), 100)] {
		seen, err := s.Findings.Sightings(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		for _, g := range seen {
			out = append(out, client.StoredIn{Place: *frame.ToPlace(&g.Place), Credential: string(c.ID), Rule: g.Rule, Verdict: string(g.Verdict), At: g.At.UTC()})
		}
	}
	slices.SortStableFunc(out, func(a, b client.StoredIn) int { return b.At.Compare(a.At) })
	return out, nil
}

// consumers lists who uses credentials: those they are pinned to, those that
// recent decisions saw, and the usual programs.
func (s *server) consumers(ctx context.Context, creds []nhi.Credential, made []nhi.Decision, usual []client.Normal) []client.Consumer {
	out := []client.Consumer{}
	names := s.Namer(ctx)
	for _, c := range creds {
		if c.Consumer != "" {
			out = append(out, client.Consumer{Kind: "pinned", Name: names.Identity(c.Consumer), Identity: string(c.Consumer), Credential: string(c.ID), LastUsed: frame.When(c.LastUsed)})
		}
	}
	type from struct {
		agent, network, country string
		credential              nhi.CredentialID
	}
	seen := map[from]*client.Consumer{}
	for i := range made { // the newest first
		d := &made[i]
		f := from{d.Agent, d.Network, d.Country, d.Credential}
		c := seen[f]
		if c == nil {
			c = &client.Consumer{Kind: "seen", Name: join(d.Agent, d.Network), Credential: string(d.Credential), Country: d.Country, LastUsed: frame.When(d.At)}
			seen[f] = c
		}
		c.Count++
	}
	var some []client.Consumer
	for _, c := range seen {
		some = append(some, *c)
	}
	slices.SortFunc(some, func(a, b client.Consumer) int { return cmp.Or(b.Count-a.Count, cmp.Compare(a.Name, b.Name)) })
	out = append(out, some[:min(len(some), 50)]...)
	for _, n := range usual {
		if n.Feature == "agent" || n.Feature == "network" {
			for _, v := range n.Usual {
				out = append(out, client.Consumer{Kind: "learned", Name: v})
			}
		}
	}
	return out
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}

// reaches puts what was used beside what is granted. What decisions saw is
// about the resources of points; what is usual is about the actions of logs.
func reaches(granted []inventory.Permission, made []nhi.Decision, usual []client.Normal) []client.Reach {
	out := []client.Reach{}
	for _, p := range granted {
		r := client.Reach{Resource: p.Resource, Service: p.Service, Admin: p.Admin, Grants: frame.OrEmpty(p.Grants), Granted: frame.OrEmpty(p.Actions), Used: []client.Used{}}
		for _, n := range usual {
			if n.Feature != "action" {
				continue
			}
			for _, a := range n.Usual {
				if p.Allows(a) {
					r.Used = append(r.Used, client.Used{Action: a})
				}
			}
		}
		out = append(out, r)
	}
	guarded := map[string]int{}
	for i := range made {
		d := &made[i]
		if d.Resource == "" || d.Outcome != nhi.Allow {
			continue
		}
		at, known := guarded[d.Resource]
		if !known {
			at = len(out)
			guarded[d.Resource] = at
			out = append(out, client.Reach{Resource: d.Resource, Grants: []string{}, Granted: []string{}, Used: []client.Used{}})
		}
		action := string(d.Action)
		if action == "" {
			action = d.Operation
		}
		use(&out[at], action, d.At)
	}
	return out
}

func use(r *client.Reach, action string, at time.Time) {
	for i := range r.Used {
		if r.Used[i].Action == action {
			r.Used[i].Count++
			return
		}
	}
	r.Used = append(r.Used, client.Used{Action: action, LastUsed: frame.When(at), Count: 1})
}
