package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
)

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
func (s *server) identityTerms(ctx context.Context, list frame.ListQuery, in IdentityQuery) (*frame.Query, error) {
	l := filter.Identities
	narrowed, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	q, err := s.Read(l, list, string(narrowed))
	if err != nil {
		return nil, err
	}
	for field, v := range map[string]string{"kind": in.Kind, "environment": in.Environment, "owner": in.Owner, "state": in.State} {
		if v != "" {
			q.With(l, field, v)
		}
	}
	if in.Shadow {
		q.With(l, "shadow", "true")
	}
	if in.Unowned {
		q.Without(l, "owner")
	}
	q.Words(in.Query)
	return q, nil
}

func (s *server) identityFacets(ctx context.Context, in *struct {
	Filter string `query:"filter" maxLength:"2048" doc:"as of the list of identities"`
	IdentityQuery
}) (*frame.Body[client.Facets], error) {
	q, err := s.identityTerms(ctx, frame.ListQuery{Filter: in.Filter}, in.IdentityQuery)
	if err != nil {
		return nil, frame.Fail(err)
	}
	page, err := s.Inventory.Identities(ctx, inventory.Filter{Expr: q.Expr, Within: frame.Within(ctx), Limit: 1, Count: true})
	if err != nil {
		return nil, frame.Fail(err)
	}
	facets, err := s.Inventory.Facets(ctx, q.Expr, frame.Within(ctx))
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Body[client.Facets]{Body: client.Facets{Total: page.Total, AtLeast: page.AtLeast, Facets: frame.Each(facets, frame.ToFacet)}}, nil
}

func (s *server) identities(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities", "list-identities", "identities", "List identities"), s.listIdentities)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities/facets", "list-identity-facets", "identities", "Count identities by kind, owner, environment and other fields"), s.identityFacets)
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/identities", "create-identity", "identities", "Create an identity of Muster's own"),
		func(ctx context.Context, in *frame.Body[client.CreateIdentity]) (*frame.Body[client.Identity], error) {
			kind := nhi.Kind(in.Body.Kind)
			if kind == "" {
				kind = nhi.KindServiceAccount
			}
			if err := s.Plain(in.Body.Name, in.Body.Environment, in.Body.Owner); err != nil {
				return nil, frame.Fail(err)
			}
			if !s.Creates(ctx, in.Body) {
				return nil, frame.Fail(fmt.Errorf("your role does not reach identities with this owner and environment: %w", nhi.ErrDenied))
			}
			i, err := s.Inventory.CreateIdentity(ctx, in.Body.Name, kind, in.Body.Environment, in.Body.Owner)
			if err != nil {
				return nil, frame.Fail(err)
			}
			if err := s.Act(ctx, "identity.create", string(i.ID), i.Name); err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Identity]{Body: frame.ToIdentity(i)}, nil
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/identities/{id}", "get-identity", "identities", "Show one identity with what belongs to it"),
		func(ctx context.Context, in *IdentityPath) (*frame.Tagged[client.IdentityDetail], error) {
			d, i, err := s.detail(ctx, nhi.ID(in.ID))
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Tagged[client.IdentityDetail]{ETag: identityTag(i), Body: d}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPut, "/v1/identities/{id}/owner", "set-owner", "identities", "Name the owner by hand"),
		s.setOwner)
}

// identityTag is the tag of what people may change of an identity.
func identityTag(i nhi.Identity) string { return frame.Tag("identity", i.ID, i.Owner.Ref, i.State) }

func (s *server) setOwner(ctx context.Context, in *struct {
	IdentityPath
	frame.IfMatch
	Body client.SetOwner
}) (*frame.Tagged[client.Identity], error) {
	if err := s.Plain(in.Body.Owner); err != nil {
		return nil, frame.Fail(err)
	}
	var i nhi.Identity
	err := s.Changing(in.ID, func() (err error) {
		if i, err = s.Inventory.Identity(ctx, nhi.ID(in.ID)); err != nil {
			return err
		}
		if err := in.Check(identityTag(i)); err != nil {
			return err
		}
		i, err = s.Inventory.SetOwner(ctx, i.ID, in.Body.Owner, frame.CallerOf(ctx).Actor())
		return err
	})
	if err != nil {
		return nil, frame.Fail(err)
	}
	if err := s.Act(ctx, "owner.set", string(i.ID), in.Body.Owner); err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Tagged[client.Identity]{ETag: identityTag(i), Body: frame.ToIdentity(i)}, nil
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
		Identity: frame.ToIdentity(i), Credentials: frame.Each(creds, frame.ToCredential), Grants: frame.Each(grants, frame.ToGrant), Owners: frame.Each(evidence, frame.ToEvidence),
		Normal: normal, Reach: frame.OrEmpty(reach),
	}, i, nil
}

// CredentialPath is the part of a path that names a credential.
type CredentialPath struct {
	ID string `path:"id" maxLength:"64" doc:"id of the credential"`
}

func (s *server) credentials(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/credentials", "list-credentials", "credentials", "List credentials; never their values"), s.listCredentials)
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/identities/{id}/credentials", "create-credential", "credentials", "Create an API key and show it for the only time"),
		func(ctx context.Context, in *struct {
			IdentityPath
			Body client.CreateCredential
		}) (*frame.Body[client.NewCredential], error) {
			c, minted, err := s.Inventory.CreateCredential(ctx, nhi.ID(in.ID), time.Duration(in.Body.ExpiresIn)*time.Second)
			if err != nil {
				return nil, frame.Fail(err)
			}
			// On record before it is shown: a key that exists has an entry.
			if err := s.Act(ctx, "credential.create", string(c.ID), "for "+string(c.Identity)); err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.NewCredential]{Body: client.NewCredential{ID: string(c.ID), Identity: string(c.Identity), Key: minted.Reveal()}}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPost, "/v1/identities/{id}/credentials/register", "register-credential", "credentials", "Register an existing key; its value is not kept"),
		func(ctx context.Context, in *struct {
			IdentityPath
			Body client.RegisterCredential
		}) (*frame.Body[client.Credential], error) {
			class := fingerprint.Opaque
			if in.Body.Kind == string(nhi.CredentialAWSAccessKey) {
				class = fingerprint.AWS
			}
			if err := s.Plain(in.Body.PublicID); err != nil {
				return nil, frame.Fail(err)
			}
			c, err := s.Inventory.RegisterCredential(ctx, nhi.ID(in.ID), class, in.Body.PublicID, []byte(in.Body.Value))
			if err != nil {
				return nil, frame.Fail(err)
			}
			if err := s.Act(ctx, "credential.register", string(c.ID), "for "+string(c.Identity)); err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Credential]{Body: frame.ToCredential(c)}, nil
		})
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/credentials/{id}", "get-credential", "credentials", "Show one credential"),
		func(ctx context.Context, in *CredentialPath) (*frame.Body[client.Credential], error) {
			c, err := s.Inventory.Credential(ctx, nhi.CredentialID(in.ID))
			if err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Credential]{Body: frame.ToCredential(c)}, nil
		})
	huma.Register(h, frame.Operation(http.MethodPut, "/v1/credentials/{id}/pin", "pin-credential", "credentials", "Pin a credential to one consumer, or lift the pin"),
		func(ctx context.Context, in *struct {
			CredentialPath
			Body client.PinCredential
		}) (*frame.Body[client.Credential], error) {
			var c nhi.Credential
			var err error
			act := "credential.pin"
			if in.Body.Consumer != "" && !s.Visible(ctx, access.Read, nhi.ID(in.Body.Consumer)) {
				return nil, frame.Fail(fmt.Errorf("no identity with the consumer's id: %w", nhi.ErrNotFound))
			}
			if in.Body.Consumer == "" {
				act = "credential.unpin"
				c, err = s.Inventory.Unpin(ctx, nhi.CredentialID(in.ID))
			} else {
				c, err = s.Inventory.Pin(ctx, nhi.CredentialID(in.ID), nhi.ID(in.Body.Consumer))
			}
			if err != nil {
				return nil, frame.Fail(err)
			}
			if err := s.Act(ctx, act, string(c.ID), in.Body.Consumer); err != nil {
				return nil, frame.Fail(err)
			}
			return &frame.Body[client.Credential]{Body: frame.ToCredential(c)}, nil
		})
}
