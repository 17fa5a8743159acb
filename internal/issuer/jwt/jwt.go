// Package jwt makes access tokens as JSON Web Tokens (RFC 9068), the format
// that enforcement points verify without asking anybody.
//
//	header  {"alg":"ES256", "kid":"…", "typ":"at+jwt"}
//	claims  iss  the issuer's URL
//	        sub  spiffe://<trust domain>/nhi/<id>
//	        aud  exactly one
//	        exp, nbf, iat, jti
//	        scope, when there is one
//	        cnf  {"jkt": thumbprint of the key it is bound to} (RFC 9449, section 6.1)
//	        nhi  {"id", "env", "rule", "method", "bearer", "purpose", "att"}
//
// att is what the platform proved when the token was issued: method, time,
// level, the claims its rule pins, location and device. A token holds no secret
// and says nothing about the workload that its enforcement point does not need.
package jwt

import (
	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

// Format issues JWT access tokens.
var Format = &issuer.Format{
	Name: "jwt",
	Doc:  "access tokens as signed JWTs, verified without a call",
	Typ:  "at+jwt",
	Mint: mint,
}

type claims struct {
	Issuer    string `json:"iss"`
	Subject   string `json:"sub"`
	Audience  string `json:"aud"`
	Expires   int64  `json:"exp"`
	NotBefore int64  `json:"nbf"`
	IssuedAt  int64  `json:"iat"`
	ID        string `json:"jti"`
	Scope     string `json:"scope,omitempty"`
	Confirm   *key   `json:"cnf,omitempty"`
	NHI       own    `json:"nhi"`
}

type key struct {
	JKT string `json:"jkt"`
}

type own struct {
	ID          nhi.ID `json:"id"`
	Environment string `json:"env,omitempty"`
	Rule        string `json:"rule,omitempty"`
	Method      string `json:"method,omitempty"`
	Bearer      bool   `json:"bearer,omitempty"`
	Purpose     string `json:"purpose,omitempty"`

	Attestation *nhi.Attestation `json:"att,omitempty"`
}

func mint(signer *jose.Signer, g *issuer.Grant) (string, error) {
	c := claims{
		Issuer: g.Issuer, Subject: g.Subject, Audience: g.Audience, Scope: g.Scope, ID: g.ID,
		Expires: g.Expires.Unix(), NotBefore: g.NotBefore.Unix(), IssuedAt: g.IssuedAt.Unix(),
		NHI: own{ID: g.Identity, Environment: g.Environment, Rule: g.Rule, Method: g.Method, Bearer: g.Bearer, Purpose: g.Purpose, Attestation: g.Attestation},
	}
	if g.JKT != "" {
		c.Confirm = &key{g.JKT}
	}
	return signer.Sign(c)
}
