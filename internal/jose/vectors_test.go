package jose

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The examples of the standards, as published. Most of them are older than the
// rules we keep, so a test may have to relax an option to reach the signature.

const (
	// RFC 7515, appendix A.2.
	rfc7515RSA = `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`
	rfc7515A2  = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

	// RFC 7515, appendix A.3.
	rfc7515EC = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	rfc7515A3 = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

	// RFC 7515, appendix A.1 (HMAC) and A.5 (unsecured): sound by the
	// standard, refused by us.
	rfc7515A1 = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfc7515A5 = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."

	// RFC 7517, appendix A.1, and the key of RFC 7638, section 3.1.
	rfc7517Set = `{"keys":
       [
         {"kty":"EC",
          "crv":"P-256",
          "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
          "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
          "use":"enc",
          "kid":"1"},

         {"kty":"RSA",
          "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
          "e":"AQAB",
          "alg":"RS256",
          "kid":"2011-04-29"}
       ]
     }`
	rfc7638Thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

	// RFC 9449, sections 4.1, 6.1 and 7.1.
	rfc9449Key      = `{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}`
	rfc9449JKT      = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	rfc9449Token    = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
	rfc9449Exchange = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
	rfc9449Resource = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)

func set(t testing.TB, jwks ...string) *KeySet {
	t.Helper()
	text := `{"keys":[`
	for i, jwk := range jwks {
		if i > 0 {
			text += ","
		}
		text += jwk
	}
	s, err := ParseJWKS([]byte(text + "]}"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRFC7515ExamplesVerify(t *testing.T) {
	expiry := time.Unix(1300819380, 0).UTC()
	opts := Options{Issuer: "joe", AnyAudience: true, Now: expiry.Add(-time.Second)}
	keys := set(t, rfc7515RSA, rfc7515EC)
	for _, tt := range []struct{ name, token, alg string }{
		{"A.2", rfc7515A2, RS256},
		{"A.3", rfc7515A3, ES256},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Verify(tt.token, keys, opts)
			if err != nil {
				t.Fatal(err)
			}
			want := Verified{
				Header: Header{Alg: tt.alg},
				Claims: Claims{
					Issuer: "joe", Expires: expiry,
					Raw: []byte("{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"),
				},
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Verify (-want +got):\n%s", diff)
			}
			late := opts
			late.Now = expiry
			if _, err := Verify(tt.token, keys, late); !errors.Is(err, ErrExpired) {
				t.Errorf("at the instant of exp: %v, want ErrExpired", err)
			}
		})
	}
}

func TestRFC7515ExamplesOfHMACAndNoSignatureAreRefused(t *testing.T) {
	opts := Options{Issuer: "joe", AnyAudience: true, Now: time.Unix(1300819379, 0)}
	for _, token := range []string{rfc7515A1, rfc7515A5} {
		if _, err := Verify(token, set(t, rfc7515RSA, rfc7515EC), opts); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("Verify = %v, want ErrAlgorithm", err)
		}
	}
}

func TestRFC7517SetKeepsOnlyTheSigningKey(t *testing.T) {
	s, err := ParseJWKS([]byte(rfc7517Set))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Key("1", ES256); ok {
		t.Error("the key for encryption verifies signatures")
	}
	pub, ok := s.Key("2011-04-29", RS256)
	if !ok || s.Len() != 1 {
		t.Fatalf("the set has %d keys and RS256 found = %v, want 1 and true", s.Len(), ok)
	}
	// The same key is the example of RFC 7638, section 3.1.
	if got, err := Thumbprint(pub); err != nil || got != rfc7638Thumbprint {
		t.Errorf("Thumbprint = %s, %v; want %s", got, err, rfc7638Thumbprint)
	}
}

func TestRFC9449ExampleProofsVerify(t *testing.T) {
	pub, _ := set(t, rfc9449Key).Key("", ES256)
	if got, err := Thumbprint(pub); err != nil || got != rfc9449JKT {
		t.Errorf("Thumbprint = %s, %v; want %s", got, err, rfc9449JKT)
	}
	for _, tt := range []struct {
		name, proof string
		want        ProofWant
		result      Proof
	}{
		{
			"token request", rfc9449Exchange,
			ProofWant{Method: "POST", URL: "https://server.example.com/token"},
			Proof{JKT: rfc9449JKT, JTI: "-BwC3ESc6acc2lTc", IssuedAt: time.Unix(1562262616, 0).UTC()},
		},
		{
			"resource request", rfc9449Resource,
			ProofWant{Method: "GET", URL: "https://resource.example.org/protectedresource", AccessToken: rfc9449Token},
			Proof{JKT: rfc9449JKT, JTI: "e1j3V_bKic8-LAEB", IssuedAt: time.Unix(1562262618, 0).UTC()},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Now = tt.result.IssuedAt.Add(time.Second)
			got, err := ParseProof(tt.proof, tt.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.result, got); diff != "" {
				t.Errorf("ParseProof (-want +got):\n%s", diff)
			}
		})
	}
}
