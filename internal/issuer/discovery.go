package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/muster-id/muster/internal/jose"
)

// describe renders the discovery document (OpenID Connect Discovery 1.0,
// section 3; RFC 8414, section 2). It names only what exists.
func (s *Service) describe() []byte {
	body, err := json.Marshal(map[string]any{
		"issuer":                                        s.c.Issuer,
		"jwks_uri":                                      s.c.Issuer + KeysPath,
		"token_endpoint":                                s.c.Issuer + TokenPath,
		"revocation_endpoint":                           s.c.Issuer + RevokePath,
		"introspection_endpoint":                        s.c.Issuer + IntrospectPath,
		"grant_types_supported":                         []string{grantExchange},
		"response_types_supported":                      []string{},
		"subject_types_supported":                       []string{"public"},
		"id_token_signing_alg_values_supported":         []string{jose.ES256},
		"dpop_signing_alg_values_supported":             []string{jose.ES256},
		"token_endpoint_auth_methods_supported":         []string{"none"},
		"revocation_endpoint_auth_methods_supported":    []string{"none"},
		"introspection_endpoint_auth_methods_supported": []string{"bearer"},
	})
	if err != nil {
		panic("issuer: " + err.Error()) // strings always marshal
	}
	return body
}

func (s *Service) serveDiscovery(w http.ResponseWriter, _ *http.Request) { publish(w, s.discovery) }

func (s *Service) serveKeys(w http.ResponseWriter, _ *http.Request) { publish(w, s.c.Keys.Public()) }

func publish(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(keysMaxAge.Seconds())))
	// The client may be gone; there is nobody left to tell.
	_, _ = w.Write(body)
}
