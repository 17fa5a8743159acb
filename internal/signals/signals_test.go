package signals_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/jose"
	"github.com/muster-id/muster/internal/signals"
)

var now = time.Unix(1_800_000_000, 0)

// A speaker signs whatever it is told to.
type speaker struct {
	signer *jose.Signer
	keys   *jose.KeySet
}

func newSpeaker(t testing.TB, typ string) speaker {
	t.Helper()
	s := speaker{signer: jose.NewES256Signer(jose.GenerateES256(), typ)}
	var err error
	if s.keys, err = jose.NewKeySet(s.signer.Key()); err != nil {
		t.Fatal(err)
	}
	return s
}

func claims(edit map[string]any) map[string]any {
	c := map[string]any{
		"iss": "https://idp.example", "aud": "us", "jti": "1", "iat": now.Unix(),
		"sub_id": map[string]any{"format": "iss_sub", "iss": "https://idp.example", "sub": "robot"},
		"events": map[string]any{signals.SessionRevoked: map[string]any{"event_timestamp": now.Unix() - 5}},
	}
	maps.Copy(c, edit)
	for name, v := range c {
		if v == nil {
			delete(c, name)
		}
	}
	return c
}

var want = signals.Want{Issuer: "https://idp.example", Audience: "us", Now: now}

func TestASignalSaysTheSameAtBothEnds(t *testing.T) {
	s := newSpeaker(t, signals.Type)
	robot := signals.Subject{Format: signals.FormatIssSub, Issuer: "https://idp.example", ID: "robot"}
	session := signals.Subject{Format: signals.FormatComplex, Members: map[string]signals.Subject{"user": robot, "session": {Format: signals.FormatOpaque, ID: "crd_1"}}}
	for _, e := range []signals.Event{
		{Type: signals.SessionRevoked, Subject: session, At: now.Add(-time.Minute).UTC(), Initiator: "policy", Reason: "the credential is suspended"},
		{Type: signals.CredentialChange, Subject: robot, At: now.UTC(), Credential: "api-key", Change: signals.Revoked, Name: "AKIA1"},
		{Type: signals.RiskLevelChange, Subject: robot, Level: signals.High, Previous: signals.Low},
		{Type: signals.Verification, Subject: signals.Subject{Format: signals.FormatOpaque, ID: "stream"}, State: "s"},
		{Type: signals.StreamUpdated, Subject: signals.Subject{Format: signals.FormatOpaque, ID: "stream"}, Status: signals.Paused, Reason: "nobody listens"},
	} {
		sent := signals.Token{ID: "1", Issuer: want.Issuer, Audience: want.Audience, IssuedAt: now.UTC(), Subject: e.Subject, Event: e}
		body, err := sent.Claims()
		if err != nil {
			t.Fatal(err)
		}
		set, err := s.signer.SignJSON(body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := signals.Open(set, s.keys, want)
		if err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
		if diff := cmp.Diff(sent, got); diff != "" {
			t.Errorf("%s (-sent +heard):\n%s", e.Type, diff)
		}
	}
}

// Shapes that CAEP 1.0, section 3, gives as examples.
func TestTheExamplesOfTheProfileAreUnderstood(t *testing.T) {
	s := newSpeaker(t, signals.Type)
	const base = "https://schemas.openid.net/secevent/caep/event-type/"
	iss := "https://idp.example"
	user := map[string]any{"format": "iss_sub", "iss": iss, "sub": "jane.smith@example.com"}
	for name, tt := range map[string]struct {
		subject map[string]any
		event   string
		payload map[string]any
		check   func(*signals.Event) bool
	}{
		"session by its id": {map[string]any{"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"}, "session-revoked", map[string]any{"event_timestamp": 1615304991},
			func(e *signals.Event) bool { return e.At.Unix() == 1615304991 }},
		"session of a user, a device and a tenant": {
			map[string]any{"format": "complex", "user": user, "device": map[string]any{"format": "iss_sub", "iss": iss, "sub": "e9297990"}, "tenant": map[string]any{"format": "opaque", "id": "123456789"}},
			"session-revoked", map[string]any{"initiating_entity": "policy", "reason_admin": map[string]string{"en": "C076E822"}, "reason_user": map[string]string{"it": "no"}},
			func(e *signals.Event) bool { return e.Initiator == "policy" && e.Reason == "C076E822" }},
		"a new authenticator": {user, "credential-change", map[string]any{"credential_type": "fido2-roaming", "change_type": "create", "fido2_aaguid": "accced6a", "friendly_name": "Jane's USB authenticator"},
			func(e *signals.Event) bool { return e.Credential == "fido2-roaming" && e.Change == signals.Created }},
		"a risk that fell": {user, "risk-level-change", map[string]any{"current_level": "LOW", "previous_level": "HIGH", "principal": "USER", "risk_reason": "PASSWORD_FOUND_IN_DATA_BREACH"},
			func(e *signals.Event) bool { return e.Level == signals.Low && e.Previous == signals.High }},
	} {
		set, err := s.signer.Sign(claims(map[string]any{"txn": "8675309", "sub_id": tt.subject, "events": map[string]any{base + tt.event: tt.payload}}))
		if err != nil {
			t.Fatal(err)
		}
		got, err := signals.Open(set, s.keys, want)
		if err != nil || !tt.check(&got.Event) || got.Txn != "8675309" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	set, err := s.signer.Sign(claims(map[string]any{"events": map[string]any{base + "assurance-level-change": map[string]any{"namespace": "NIST-AAL", "current_level": "nist-aal2"}}}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := signals.Open(set, s.keys, want); err != nil || got.Event.Type != "" || len(got.Others) != 1 {
		t.Errorf("an event that is not understood: %+v, %v", got, err)
	}
}

func TestAForgedOrMisdirectedSignalIsRefused(t *testing.T) {
	s := newSpeaker(t, signals.Type)
	thief := newSpeaker(t, signals.Type)
	event := func(payload map[string]any) map[string]any {
		return map[string]any{"events": map[string]any{signals.RiskLevelChange: payload}}
	}
	for name, tt := range map[string]struct {
		edit map[string]any
		code string
	}{
		"meant for somebody else":     {map[string]any{"aud": "them"}, signals.CodeAudience},
		"meant for nobody":            {map[string]any{"aud": nil}, signals.CodeAudience},
		"of another issuer":           {map[string]any{"iss": "https://evil.example"}, signals.CodeIssuer},
		"from the future":             {map[string]any{"iat": now.Add(time.Hour).Unix()}, signals.CodeRequest},
		"eight days old":              {map[string]any{"iat": now.Add(-8 * 24 * time.Hour).Unix()}, signals.CodeRequest},
		"without a time":              {map[string]any{"iat": nil}, signals.CodeRequest},
		"with an end":                 {map[string]any{"exp": now.Add(time.Hour).Unix()}, signals.CodeRequest},
		"with the subject of a token": {map[string]any{"sub": "robot"}, signals.CodeRequest},
		"without an id":               {map[string]any{"jti": nil}, signals.CodeRequest},
		"without a subject":           {map[string]any{"sub_id": nil}, signals.CodeRequest},
		"with a subject of no shape":  {map[string]any{"sub_id": map[string]any{"format": "iss_sub", "iss": "https://idp.example"}}, signals.CodeRequest},
		"complex within complex": {map[string]any{"sub_id": map[string]any{"format": "complex", "user": map[string]any{"format": "complex",
			"user": map[string]any{"format": "opaque", "id": "x"}}}}, signals.CodeRequest},
		"without events":         {map[string]any{"events": map[string]any{}}, signals.CodeRequest},
		"two events":             {map[string]any{"events": map[string]any{signals.SessionRevoked: map[string]any{}, signals.Verification: map[string]any{}}}, signals.CodeRequest},
		"an event to come":       {map[string]any{"events": map[string]any{signals.SessionRevoked: map[string]any{"event_timestamp": now.Add(time.Hour).Unix()}}}, signals.CodeRequest},
		"a level of nobody":      {event(map[string]any{"principal": "USER", "current_level": "EXTREME"}), signals.CodeRequest},
		"a level in other case":  {event(map[string]any{"principal": "USER", "Current_Level": "HIGH"}), signals.CodeRequest},
		"bound like a token":     {map[string]any{"cnf": map[string]any{"jkt": "x"}}, signals.CodeRequest},
		"a subject with control": {map[string]any{"sub_id": map[string]any{"format": "opaque", "id": "a\u202eb\n"}}, signals.CodeRequest},
		"oversized":              {map[string]any{"sub_id": map[string]any{"format": "opaque", "id": strings.Repeat("x", 8_000)}}, signals.CodeRequest},
	} {
		set, err := s.signer.Sign(claims(tt.edit))
		if err != nil {
			t.Fatal(err)
		}
		_, err = signals.Open(set, s.keys, want)
		if got := (*signals.Refusal)(nil); !errors.As(err, &got) || got.Code != tt.code {
			t.Errorf("%s: %v, want %s", name, err, tt.code)
		}
	}
	forged, err := thief.signer.Sign(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signals.Open(forged, s.keys, want); err == nil {
		t.Error("a signal signed by another key is believed")
	}
	good, err := s.signer.Sign(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	part := base64.RawURLEncoding.EncodeToString
	body := strings.Split(good, ".")[1]
	for _, header := range []string{`{"alg":"none","typ":"secevent+jwt"}`, `{"alg":"HS256","typ":"secevent+jwt"}`, `{"alg":"None","typ":"secevent+jwt"}`} {
		if _, err := signals.Open(part([]byte(header))+"."+body+".", s.keys, want); err == nil {
			t.Errorf("a signal with the header %s is believed", header)
		}
	}
	access := newSpeaker(t, "at+jwt")
	token, err := access.signer.Sign(claims(nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signals.Open(token, access.keys, want); err == nil {
		t.Error("an access token passes for a signal")
	}
}

func TestAPushEndpointLeadsToNoAddressOfOurOwn(t *testing.T) {
	open := signals.Reach{}
	for _, bad := range []string{
		"http://receiver.example/events", "https://127.0.0.1/", "https://localhost:8701/metrics", "https://[::1]/", "https://169.254.169.254/latest/meta-data", "https://10.0.0.8/",
		"https://192.168.1.1/", "https://100.64.0.1/", "https://[fe80::1]/", "https://[fd00:ec2::254]/", "https://0.0.0.0/", "https://[::ffff:127.0.0.1]/", "https://224.0.0.1/",
		"https://user:pass@receiver.example/", "file:///etc/passwd", "gopher://receiver.example/", "https://", "//receiver.example/", "https://receiver.example/#x", "",
	} {
		if err := open.Check(bad); err == nil {
			t.Errorf("%q may be pushed to", bad)
		}
	}
	if err := open.Check("https://receiver.example/events?a=b"); err != nil {
		t.Errorf("a public receiver: %v", err)
	}
	vouched := signals.Reach{Hosts: []string{"10.0.0.8", "169.254.169.254"}}
	if err := vouched.Check("https://10.0.0.8/"); err != nil {
		t.Errorf("a private address that an administrator named: %v", err)
	}
	if err := vouched.Check("https://169.254.169.254/"); err == nil {
		t.Error("somebody can vouch for the metadata service")
	}
	// A name is harmless until it is looked up: the connection is checked too.
	client := open.Client(nil, time.Second)
	if _, err := client.Get("https://localhost.localdomain.invalid/"); err == nil {
		t.Error("a name that does not exist answers")
	}
	if _, err := client.Get("http://127.0.0.1:1/"); err == nil || !strings.Contains(err.Error(), "address is one of this host") {
		t.Errorf("a connection to this host: %v", err)
	}
}

// Addresses that lead into the inner network in other words, and metadata
// services that do not live on link-local addresses.
func TestNoPushGoesInsideByAnotherSpelling(t *testing.T) {
	vouched := signals.Reach{Hosts: []string{"::ffff:10.0.0.8", "64:ff9b::a9fe:a9fe", "192.0.0.192", "168.63.129.16", "100.100.100.200", "240.0.0.1", "0.1.2.3", "fd00:ec2::254", "fd00:ec2::23", "64:ff9b:1:808::808:808"}}
	for _, host := range []string{
		"[64:ff9b::a9fe:a9fe]", "[64:ff9b::7f00:1]", "[64:ff9b::10.0.0.8]", "[64:ff9b:1::a00:8]", "[2002:a9fe:a9fe::1]", "[2002:7f00:1::1]", "[::127.0.0.1]", "[::10.0.0.8]",
		"[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "192.0.0.192", "168.63.129.16", "100.100.100.200", "198.18.0.1", "240.0.0.1", "255.255.255.255", "0.1.2.3", "[fec0::1]", "[fd00:ec2::254]", "[fd00:ec2::23]", "[fd20:ce::254]", "[64:ff9b:1:808::808:808]", "[64:ff9b:1:a9fe:a9:fe00::]",
	} {
		if err := (signals.Reach{}).Check("https://" + host + "/x"); err == nil {
			t.Errorf("%s may be asked", host)
		}
		if name := strings.Trim(host, "[]"); slices.Contains(vouched.Hosts, name) && vouched.Check("https://"+host+"/x") == nil {
			t.Errorf("somebody can vouch for %s", host)
		}
	}
	for _, host := range []string{"[64:ff9b::808:808]", "[2001:4860:4860::8888]", "8.8.8.8", "[2002:808:808::1]"} {
		if err := (signals.Reach{}).Check("https://" + host + "/x"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := newSpeaker(f, signals.Type)
	good, err := json.Marshal(claims(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"iss":"https://idp.example","aud":["us"],"jti":"1","iat":1800000000,"sub_id":{"format":"complex","user":{"format":"email","email":"a@b.c"}},"events":{"x":{}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		set, err := s.signer.SignJSON(body)
		if err != nil {
			return
		}
		token, err := signals.Open(set, s.keys, want)
		if wrong := (*signals.Refusal)(nil); err != nil && !errors.As(err, &wrong) {
			t.Fatalf("an error of another kind: %v", err)
		}
		if err == nil && (token.ID == "" || token.Subject.Format == "" || token.Event.Type == "" && len(token.Others) == 0) {
			t.Fatalf("it says nothing and is believed: %+v", token)
		}
	})
}

func FuzzParseSubject(f *testing.F) {
	for _, s := range []string{`{"format":"iss_sub","iss":"a","sub":"b"}`, `{"format":"complex","user":{"format":"uri","uri":"arn:aws:iam::1:role/x"}}`, `{"format":"phone_number","phone_number":"+1"}`, `{"format":"email","email":"a@b.c"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := signals.ParseSubject(raw)
		if err != nil {
			return
		}
		again, err := signals.ParseSubject([]byte(s.Key()))
		if err != nil {
			t.Fatalf("%s becomes %s, which is none: %v", raw, s.Key(), err)
		}
		if again.Key() != s.Key() {
			t.Fatalf("%s has two texts: %s and %s", raw, s.Key(), again.Key())
		}
	})
}
