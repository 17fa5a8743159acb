package jwt_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/issuer"
	"github.com/muster-id/muster/internal/issuer/jwt"
	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/nhi"
)

func TestATokenSaysExactlyWhatItsGrantSays(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	robot := nhi.IdentityID("muster", "test", "robot")
	full := issuer.Grant{
		Issuer: "https://muster.example", Subject: "spiffe://muster.example/nhi/" + string(robot), Identity: robot, Environment: "prod", Rule: "r", Method: "oidc",
		Audience: "https://db.example", Scope: "read", JKT: "thumb", ID: "jti", IssuedAt: at, NotBefore: at.Add(-30 * time.Second), Expires: at.Add(5 * time.Minute),
	}
	bearer := full
	bearer.JKT, bearer.Bearer, bearer.Scope = "", true, ""
	const head = `{"iss":"https://muster.example","sub":"spiffe://muster.example/nhi/`
	const rest = `","aud":"https://db.example","exp":1800000300,"nbf":1799999970,"iat":1800000000,"jti":"jti"`
	for name, tt := range map[string]struct {
		grant issuer.Grant
		want  string
	}{
		"bound":  {full, `,"scope":"read","cnf":{"jkt":"thumb"},"nhi":{"id":"` + string(robot) + `","env":"prod","rule":"r","method":"oidc"}}`},
		"bearer": {bearer, `,"nhi":{"id":"` + string(robot) + `","env":"prod","rule":"r","method":"oidc","bearer":true}}`},
	} {
		t.Run(name, func(t *testing.T) {
			signer := jose.NewES256Signer(jose.GenerateES256(), jwt.Format.Typ)
			token, err := jwt.Format.Mint(signer, &tt.grant)
			if err != nil {
				t.Fatal(err)
			}
			got, err := jose.Peek(token)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+string(robot)+rest+tt.want, string(got.Raw)); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			if got.Header.Typ != "at+jwt" || got.Header.Kid != signer.KID() || strings.Count(token, ".") != 2 {
				t.Errorf("header %+v", got.Header)
			}
		})
	}
}
