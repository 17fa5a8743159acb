package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

type body[T any] struct{ Body T }

// op describes a route; every route has an id, a summary and a tag.
func op(method, path, id, tag, summary string) huma.Operation {
	o := huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag}, MaxBodyBytes: maxBody, BodyReadTimeout: 30 * time.Second}
	if method == http.MethodPost && !strings.Contains(path, "/undo") {
		o.DefaultStatus = http.StatusCreated
	}
	return o
}

// IdentityPath is the part of a path that names an identity. It is exported
// because the framework fills in only what is.
type IdentityPath struct {
	ID string `path:"id" maxLength:"64" doc:"id of the identity"`
}

// IdentityQuery narrows the list of identities. The parameters besides the
// filter are short cuts for terms of it.
type IdentityQuery struct {
	Query       string `query:"q" maxLength:"256" doc:"words; each must begin a word of name, path, native id, account or owner"`
	Kind        string `query:"kind" maxLength:"40" doc:"short for the filter kind:…"`
	Environment string `query:"environment" maxLength:"100" doc:"short for the filter environment:…"`
	Owner       string `query:"owner" maxLength:"320" doc:"short for the filter owner:…"`
	Unowned     bool   `query:"unowned" doc:"short for the filter -owner:*"`
	Shadow      bool   `query:"shadow" doc:"short for the filter shadow:true"`
	State       string `query:"state" enum:",active,dormant,quarantined,deprecated,retired" doc:"short for the filter state:…"`
}

// identityTerms reads what narrows identities.
func (s *server) identityTerms(ctx context.Context, list ListQuery, in IdentityQuery) (*query, error) {
	l := filter.Identities
	narrowed, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	q, err := s.read(l, list, string(narrowed))
	if err != nil {
		return nil, err
	}
	for field, v := range map[string]string{"kind": in.Kind, "environment": in.Environment, "owner": in.Owner, "state": in.State} {
		if v != "" {
			q.with(l, field, v)
		}
	}
	if in.Shadow {
		q.with(l, "shadow", "true")
	}
	if in.Unowned {
		q.without(l, "owner")
	}
	q.words(in.Query)
	return q, nil
}

// IdentityList asks for identities.
type IdentityList struct {
	ListQuery
	IdentityQuery
}

func (s *server) listIdentities(ctx context.Context, in *IdentityList) (*body[client.Page[client.Identity]], error) {
	q, err := s.identityTerms(ctx, in.ListQuery, in.IdentityQuery)
	if err != nil {
		return nil, fail(err)
	}
	page, err := s.Inventory.Identities(ctx, inventory.Filter{
		Expr: q.Expr, Within: within(ctx), Order: q.Order, Limit: q.Limit, Count: q.First(),
		After: inventory.Cursor{Text: q.From.Text, Number: q.From.Number, ID: nhi.ID(q.From.ID)},
	})
	if err != nil {
		return nil, fail(err)
	}
	if q.First() {
		q.counted(page.Total, page.AtLeast)
	}
	next := ""
	if page.Next.ID != "" {
		next = q.next(page.Next.Text, page.Next.Number, string(page.Next.ID))
	}
	return paged(q, list(page.Identities, toIdentity), next), nil
}

func (s *server) identityFacets(ctx context.Context, in *struct {
	Filter string `query:"filter" maxLength:"2048" doc:"as of the list of identities"`
	IdentityQuery
}) (*body[client.Facets], error) {
	q, err := s.identityTerms(ctx, ListQuery{Filter: in.Filter}, in.IdentityQuery)
	if err != nil {
		return nil, fail(err)
	}
	page, err := s.Inventory.Identities(ctx, inventory.Filter{Expr: q.Expr, Within: within(ctx), Limit: 1, Count: true})
	if err != nil {
		return nil, fail(err)
	}
	facets, err := s.Inventory.Facets(ctx, q.Expr, within(ctx))
	if err != nil {
		return nil, fail(err)
	}
	return &body[client.Facets]{client.Facets{Total: page.Total, AtLeast: page.AtLeast, Facets: list(facets, toFacet)}}, nil
}

func (s *server) identities(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/identities", "list-identities", "identities", "List identities"), s.listIdentities)
	huma.Register(h, op(http.MethodGet, "/v1/identities/facets", "list-identity-facets", "identities", "Count identities by kind, owner, environment and other fields"), s.identityFacets)
	huma.Register(h, op(http.MethodPost, "/v1/identities", "create-identity", "identities", "Create an identity of Muster's own"),
		func(ctx context.Context, in *body[client.CreateIdentity]) (*body[client.Identity], error) {
			kind := nhi.Kind(in.Body.Kind)
			if kind == "" {
				kind = nhi.KindServiceAccount
			}
			if err := s.plain(in.Body.Name, in.Body.Environment, in.Body.Owner); err != nil {
				return nil, fail(err)
			}
			if !s.creates(ctx, in.Body) {
				return nil, fail(fmt.Errorf("your role does not reach identities with this owner and environment: %w", nhi.ErrDenied))
			}
			i, err := s.Inventory.CreateIdentity(ctx, in.Body.Name, kind, in.Body.Environment, in.Body.Owner)
			if err != nil {
				return nil, fail(err)
			}
			if err := s.act(ctx, "identity.create", string(i.ID), i.Name); err != nil {
				return nil, fail(err)
			}
			return &body[client.Identity]{toIdentity(i)}, nil
		})
	huma.Register(h, op(http.MethodGet, "/v1/identities/{id}", "get-identity", "identities", "Show one identity with what belongs to it"),
		func(ctx context.Context, in *IdentityPath) (*tagged[client.IdentityDetail], error) {
			d, i, err := s.detail(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, fail(err)
			}
			return &tagged[client.IdentityDetail]{identityTag(i), d}, nil
		})
	huma.Register(h, op(http.MethodPut, "/v1/identities/{id}/owner", "set-owner", "identities", "Name the owner by hand"),
		s.setOwner)
}

// identityTag is the tag of what people may change of an identity.
func identityTag(i nhi.Identity) string { return tag("identity", i.ID, i.Owner.Ref, i.State) }

func (s *server) setOwner(ctx context.Context, in *struct {
	IdentityPath
	IfMatch
	Body client.SetOwner
}) (*tagged[client.Identity], error) {
	if err := s.plain(in.Body.Owner); err != nil {
		return nil, fail(err)
	}
	var i nhi.Identity
	err := s.changing(in.ID, func() (err error) {
		if i, err = s.Inventory.Identity(ctx, nhi.ID(in.ID)); err != nil {
			return err
		}
		if err := in.check(identityTag(i)); err != nil {
			return err
		}
		i, err = s.Inventory.SetOwner(ctx, i.ID, in.Body.Owner, callerOf(ctx).Actor())
		return err
	})
	if err != nil {
		return nil, fail(err)
	}
	if err := s.act(ctx, "owner.set", string(i.ID), in.Body.Owner); err != nil {
		return nil, fail(err)
	}
	return &tagged[client.Identity]{identityTag(i), toIdentity(i)}, nil
}

func (s *server) detail(ctx context.Context, id nhi.ID) (client.IdentityDetail, nhi.Identity, error) {
	i, err := s.Inventory.Identity(ctx, id)
	if err != nil {
		return client.IdentityDetail{}, i, err
	}
	creds, err := s.Inventory.CredentialsOf(ctx, i.ID)
	if err != nil {
		return client.IdentityDetail{}, i, err
	}
	grants, err := s.Inventory.GrantsOf(ctx, i.ID)
	if err != nil {
		return client.IdentityDetail{}, i, err
	}
	evidence, err := s.Inventory.EvidenceOf(ctx, i.ID)
	if err != nil {
		return client.IdentityDetail{}, i, err
	}
	reach, err := s.Inventory.Reach(ctx, i.ID)
	if err != nil {
		return client.IdentityDetail{}, i, err
	}
	normal := s.State.Normal(i.ID)
	if normal == nil {
		normal = []client.Normal{}
	}
	return client.IdentityDetail{
		Identity: toIdentity(i), Credentials: list(creds, toCredential), Grants: list(grants, toGrant), Owners: list(evidence, toEvidence),
		Normal: normal, Reach: orEmpty(reach),
	}, i, nil
}

// CredentialPath is the part of a path that names a credential.
type CredentialPath struct {
	ID string `path:"id" maxLength:"64" doc:"id of the credential"`
}

func (s *server) credentials(h huma.API) {
	huma.Register(h, op(http.MethodGet, "/v1/credentials", "list-credentials", "credentials", "List credentials; never their values"), s.listCredentials)
	huma.Register(h, op(http.MethodPost, "/v1/identities/{id}/credentials", "create-credential", "credentials", "Create an API key and show it for the only time"),
		func(ctx context.Context, in *struct {
			IdentityPath
			Body client.CreateCredential
		}) (*body[client.NewCredential], error) {
			c, minted, err := s.Inventory.CreateCredential(ctx, nhi.ID(in.ID), time.Duration(in.Body.ExpiresIn)*time.Second)
			if err != nil {
				return nil, fail(err)
			}
			// On record before it is shown: a key that exists has an entry.
			if err := s.act(ctx, "credential.create", string(c.ID), "for "+string(c.Identity)); err != nil {
				return nil, fail(err)
			}
			return &body[client.NewCredential]{client.NewCredential{ID: string(c.ID), Identity: string(c.Identity), Key: minted.Reveal()}}, nil
		})
	huma.Register(h, op(http.MethodPost, "/v1/identities/{id}/credentials/register", "register-credential", "credentials", "Register an existing key; its value is not kept"),
		func(ctx context.Context, in *struct {
			IdentityPath
			Body client.RegisterCredential
		}) (*body[client.Credential], error) {
			class := fingerprint.Opaque
			if in.Body.Kind == string(nhi.CredentialAWSAccessKey) {
				class = fingerprint.AWS
			}
			if err := s.plain(in.Body.PublicID); err != nil {
				return nil, fail(err)
			}
			c, err := s.Inventory.RegisterCredential(ctx, nhi.ID(in.ID), class, in.Body.PublicID, []byte(in.Body.Value))
			if err != nil {
				return nil, fail(err)
			}
			if err := s.act(ctx, "credential.register", string(c.ID), "for "+string(c.Identity)); err != nil {
				return nil, fail(err)
			}
			return &body[client.Credential]{toCredential(c)}, nil
		})
	huma.Register(h, op(http.MethodGet, "/v1/credentials/{id}", "get-credential", "credentials", "Show one credential"),
		func(ctx context.Context, in *CredentialPath) (*body[client.Credential], error) {
			c, err := s.Inventory.Credential(ctx, nhi.CredentialID(in.ID))
			if err != nil {
				return nil, fail(err)
			}
			return &body[client.Credential]{toCredential(c)}, nil
		})
	huma.Register(h, op(http.MethodPut, "/v1/credentials/{id}/pin", "pin-credential", "credentials", "Pin a credential to one consumer, or lift the pin"),
		func(ctx context.Context, in *struct {
			CredentialPath
			Body client.PinCredential
		}) (*body[client.Credential], error) {
			var c nhi.Credential
			var err error
			act := "credential.pin"
			if in.Body.Consumer != "" && !s.visible(ctx, access.Read, nhi.ID(in.Body.Consumer)) {
				return nil, fail(fmt.Errorf("no identity with the consumer's id: %w", nhi.ErrNotFound))
			}
			if in.Body.Consumer == "" {
				act = "credential.unpin"
				c, err = s.Inventory.Unpin(ctx, nhi.CredentialID(in.ID))
			} else {
				c, err = s.Inventory.Pin(ctx, nhi.CredentialID(in.ID), nhi.ID(in.Body.Consumer))
			}
			if err != nil {
				return nil, fail(err)
			}
			if err := s.act(ctx, act, string(c.ID), in.Body.Consumer); err != nil {
				return nil, fail(err)
			}
			return &body[client.Credential]{toCredential(c)}, nil
		})
}
