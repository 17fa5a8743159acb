package server

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// forge writes a key with somebody's public id, a secret of its own and the
// checksum that fits: whoever has seen one key can do that.
func forge(t *testing.T, genuine string) string {
	t.Helper()
	parsed, err := key.Parse(genuine)
	if err != nil {
		t.Fatal(err)
	}
	body := key.Prefix + string(key.API) + "_" + parsed.ID + "_" + strings.Repeat("Zq7", 11)[:32]
	sum, digits := crc32.ChecksumIEEE([]byte(body)), make([]byte, 6)
	for i := range digits {
		digits[len(digits)-1-i], sum = key.Alphabet[sum%62], sum/62
	}
	forged := body + "_" + string(digits)
	if _, err := key.Parse(forged); err != nil {
		t.Fatalf("the forgery is no good: %v", err)
	}
	return forged
}

// untouched fails the test if anything about the key's credential or identity
// shows that somebody named it.
func (r *running) untouched(cred client.NewCredential) {
	r.t.Helper()
	var c client.Credential
	r.get("/v1/credentials/"+cred.ID, &c)
	if c.State != "active" || c.Reason != "" {
		r.t.Errorf("the credential is %s (%s), want active", c.State, c.Reason)
	}
	if known, ok := r.facts.Credential(nhi.CredentialID(cred.ID)); !ok || known.Risk != 0 || known.State != nhi.CredentialActive {
		r.t.Errorf("decisions know the credential as %+v", known)
	}
	var i client.IdentityDetail
	r.get("/v1/identities/"+cred.Identity, &i)
	if i.Identity.Risk != 0 || i.Identity.State != "active" {
		r.t.Errorf("the identity has risk %d and is %s", i.Identity.Risk, i.Identity.State)
	}
}

func TestAForgedSightingContainsNothing(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	door := r.source("forum", "text")
	forged := forge(t, cred.Key)
	for range 3 { // in three places
		got := r.post(door, fmt.Sprintf("look what I found, %d: %s", time.Now().UnixNano(), forged))
		if len(got) != 1 || got[0].Verdict != "forged" || got[0].Action != nil {
			t.Fatalf("the door answers %+v, want forged and no action", got)
		}
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("the rightful key gets %d", got)
	}
	if got := r.ask(point, "Bearer "+forged, "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
		t.Errorf("the forged key gets %d", got)
	}
	found := r.findings("credential=" + cred.ID)
	if len(found) != 1 || found[0].Severity != "info" || found[0].Count != 3 || found[0].Action != nil {
		t.Errorf("findings: %+v, want one information that counts three", found)
	}
	// Somebody who agrees that there was a forgery must not turn it into risk.
	r.send(http.MethodPatch, "/v1/findings/"+found[0].ID, client.SetFinding{Status: "acknowledged"}, nil)
	r.untouched(cred)
}

func TestAFailedLoginThatNamesAPublicIDChangesNothing(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	forged := forge(t, cred.Key)
	for i := range 50 {
		address := fmt.Sprintf("198.51.100.%d", i)
		if got := r.ask(point, "Bearer "+forged, "POST", "/payments/1", address); got != http.StatusUnauthorized {
			t.Fatalf("a wrong secret gets %d, want 401", got)
		}
	}
	// The last decision is the rightful key's, and is learned after all others.
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Fatalf("the rightful key gets %d", got)
	}
	r.until("the decisions to be learned", func() bool { return r.mind().Page(nhi.ID(cred.Identity)) != nil })
	var i client.IdentityDetail
	r.get("/v1/identities/"+cred.Identity, &i)
	for _, n := range i.Normal {
		if n.Feature == "network" && strings.Contains(strings.Join(n.Usual, " "), "198.51.100") {
			t.Errorf("the attacker's network is normal now: %v", n.Usual)
		}
	}
	if found := r.findings("identity=" + cred.Identity); len(found) != 0 {
		t.Errorf("findings about the identity that was named: %+v", found)
	}
	r.untouched(cred)
}

func TestAFailedLoginInALogThatNamesAnAccessKeyChangesNothing(t *testing.T) {
	r := start(t, t.TempDir())
	logs := r.source("trail", "cloudtrail", account)
	received, err := logs.ReceiveLogs(t.Context(), "cloudtrail", trail(
		event{id: "1", user: "settlement", key: "AKIAQ3EGRZ4KAAAAAAA1", op: "GetObject"},
		event{id: "2", user: "settlement", key: "AKIAQ3EGRZ4KAAAAAAA1", op: "CreateUser", address: "198.51.100.9", failure: "InvalidClientTokenId"},
		event{id: "3", user: "settlement", key: "AKIAQ3EGRZ4KAAAAAAA1", op: "DeleteTrail", address: "198.51.100.9", failure: "SignatureDoesNotMatch"},
		event{id: "4", user: "last"},
	))
	if err != nil || received.Events != 4 {
		t.Fatalf("received %+v, %v", received, err)
	}
	r.until("the events to be learned", func() bool { return r.mind().Page(awsID("last")) != nil })
	for _, f := range r.findings("identity=" + string(awsID("settlement"))) {
		if f.Rule != "DET-23" { // that nobody lists it is true, and nobody's doing
			t.Errorf("finding %s: %s", f.Rule, f.Sentence)
		}
	}
	if i, _ := r.facts.Identity(awsID("settlement")); i.Risk != 0 {
		t.Errorf("risk %d", i.Risk)
	}
}

func TestWithoutAPointNobodyIsAsked(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	for name, header := range map[string]string{"no key": "", "the caller's own key": cred.Key, "an invented key": key.Mint(key.Point).Reveal()} {
		if got := r.ask(header, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
			t.Errorf("%s: forward-auth answers %d, want 401", name, got)
		}
		req, err := http.NewRequest(http.MethodPost, r.URL()+"/access/v1/evaluation", strings.NewReader(
			`{"subject":{"type":"identity","id":"`+cred.Identity+`"},"action":{"name":"read"},"resource":{"type":"api","id":"payments/api"}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if header != "" {
			req.Header.Set("Authorization", "Bearer "+header)
		}
		if status, _ := do(t, req); status != http.StatusUnauthorized {
			t.Errorf("%s: AuthZEN answers %d, want 401", name, status)
		}
	}
	if got := r.log.Recent(logbook.Filter{}, 10); len(got) != 0 {
		t.Errorf("decided %d times for nobody's question", len(got))
	}
	disabled := true
	r.send(http.MethodPatch, "/v1/points/edge", client.SetPoint{Disabled: &disabled}, nil)
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
		t.Errorf("a disabled point gets %d, want 401", got)
	}
}

func TestASpoofedForwardedForDoesNotMoveTheCaller(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "10.1.2.3, 192.0.2.1, 203.0.113.7"); got != http.StatusOK {
		t.Errorf("with a client's own entries: %d, want 200", got)
	}
	if got := r.log.Recent(logbook.Filter{}, 1)[0].Address.String(); got != "203.0.113.7" {
		t.Errorf("decided for %s, want the entry that the point appended", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7", "X-Real-Ip", "10.1.2.3"); got != http.StatusForbidden {
		t.Errorf("X-Real-IP that disagrees: %d, want 403", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7, not-an-address"); got != http.StatusForbidden {
		t.Errorf("no address at the end: %d, want 403", got)
	}
}

func TestATokenWithoutASignatureIsNobodys(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	p := newPlatform(t)
	r.put("trust.yaml", p.trust(cred.Identity))
	part := base64.RawURLEncoding.EncodeToString
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"None","typ":"JWT"}`, `{"alg":"none","typ":"at+jwt","kid":"x"}`} {
		claims := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"iat":%d,"exp":%d,"jti":"1","client_id":%q}`,
			r.URL(), cred.Identity, r.URL(), time.Now().Unix(), time.Now().Add(time.Minute).Unix(), cred.Identity)
		token := part([]byte(header)) + "." + part([]byte(claims)) + "."
		for _, scheme := range []string{"Bearer ", "DPoP "} {
			if got := r.ask(point, scheme+token, "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
				t.Errorf("%s%s at forward-auth: %d, want 401", scheme, header, got)
			}
		}
		subject := part([]byte(header)) + "." + part([]byte(fmt.Sprintf(`{"iss":%q,"sub":"system:serviceaccount:pay:settler","aud":["muster"],"iat":%d,"exp":%d}`,
			p.issuer, time.Now().Unix(), time.Now().Add(time.Minute).Unix()))) + "."
		if status, body := p.exchange(t, r, subject); status != http.StatusBadRequest {
			t.Errorf("%s exchanged: %d %s, want 400", header, status, body)
		}
	}
}

// do sends a request and returns the status and the body.
func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestAWrongFileChangesNothingAndIsNamed(t *testing.T) {
	r := start(t, t.TempDir())
	logs := r.source("trail", "cloudtrail", account)
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("\x00\xff\xfe", 400)
	generation := r.db.Generation()
	for name, want := range map[string]string{
		"authorization-details": "authorization-details",
		"access-keys":           "access-keys",
		"credential-report":     "credential-report",
	} {
		files := map[string]io.Reader{"authorization-details": strings.NewReader(details("settlement"))}
		files[name] = strings.NewReader(png)
		if _, err := r.api.ImportAWS(t.Context(), files); err == nil || !strings.Contains(err.Error(), want) || status(err) != http.StatusUnprocessableEntity {
			t.Errorf("a picture as %s: %v, want 422 that names it", name, err)
		}
	}
	for name, body := range map[string]string{
		"a picture":      png,
		"truncated gzip": "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56",
		"a cut list":     `{"Records":[` + record(event{id: "9", user: "u"}) + `,`,
	} {
		_, err := logs.ReceiveLogs(t.Context(), "cloudtrail", strings.NewReader(body))
		if name == "a picture" && err == nil {
			continue // bytes that are no record are kept sealed and counted
		}
		if err == nil || status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "line") {
			t.Errorf("%s as a log: %v, want 422 that names the line", name, err)
		}
	}
	if n, err := r.stream.LastSeq(t.Context(), ""); err != nil || n != 0 {
		t.Errorf("%d batches of broken input were taken in (%v)", n, err)
	}
	if got := r.db.Generation(); got != generation {
		t.Errorf("generation %d became %d", generation, got)
	}
}

func status(err error) int {
	if e, ok := err.(*client.Error); ok {
		return e.Status
	}
	return 0
}

func TestAnUploadThatIsNoneIsRefused(t *testing.T) {
	r := start(t, t.TempDir())
	for name, contentType := range map[string]string{"JSON": "application/json", "no boundary": "multipart/form-data", "another form": "application/x-www-form-urlencoded"} {
		err := r.api.Do(t.Context(), http.MethodPost, "/v1/inventory/imports/aws", contentType, strings.NewReader(url.Values{"a": {"b"}}.Encode()), nil)
		if status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v, want 422", name, err)
		}
	}
	if _, err := r.api.ImportAWS(t.Context(), map[string]io.Reader{"access-keys": strings.NewReader("{}")}); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("without the details: %v, want 422", err)
	}
}

func TestASecretPastedIntoANameOrADocumentIsRefused(t *testing.T) {
	r := start(t, t.TempDir())
	secret := key.Mint(key.API).Reveal()
	for what, send := range map[string]func() error{
		"an identity": func() error {
			return r.api.Send(t.Context(), http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "x " + secret, Environment: "production"}, nil)
		},
		"a point": func() error {
			return r.api.Send(t.Context(), http.MethodPost, "/v1/points", client.EnrollPoint{Name: secret}, nil)
		},
		"a source": func() error {
			return r.api.Send(t.Context(), http.MethodPost, "/v1/sources", client.AddSource{Name: secret, Format: "text"}, nil)
		},
		"routes": func() error {
			return r.api.Do(t.Context(), http.MethodPut, "/v1/documents/routes.yaml", "text/plain", strings.NewReader(testRoutes+"# "+secret+"\n"), nil)
		},
	} {
		err := send()
		if status(err) != http.StatusUnprocessableEntity || strings.Contains(err.Error(), secret) {
			t.Errorf("a key in %s: %v, want 422 without the key", what, err)
		}
	}
	r.halt()
	if where := search(t, r.data, secret); where != "" {
		t.Errorf("the secret is in %s", where)
	}
}
