package server

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/signals"
	"github.com/muster-id/muster/internal/signals/receive"
)

// call sends JSON to an endpoint of shared signals.
func call(t *testing.T, method, target, key, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if len(data) > 0 && data[0] == '{' {
		if err := json.Unmarshal(data, &out); err != nil {
			t.Fatalf("%s %s: %s", method, target, data)
		}
	}
	return res.StatusCode, out
}

// receiver enrols a receiver of signals.
func (r *running) receiver(name string, accounts ...string) client.Enrolled {
	r.t.Helper()
	var e client.Enrolled
	r.send(http.MethodPost, "/v1/sources", client.AddSource{Name: name, Format: "receiver", Accounts: accounts}, &e)
	return e
}

// newStream makes a stream and returns its id.
func (r *running) newStream(key, body string) string {
	r.t.Helper()
	status, s := call(r.t, http.MethodPost, r.URL()+"/ssf/stream", key, body)
	id, _ := s["stream_id"].(string)
	if status != http.StatusCreated || id == "" {
		r.t.Fatalf("create a stream: %d %v", status, s)
	}
	return id
}

// active reports whether a token is good at a point.
func (r *running) active(point, token string) bool {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.URL()+"/oauth2/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+point)
	status, body := do(r.t, req)
	if status != http.StatusOK {
		r.t.Fatalf("introspect: %d %s", status, body)
	}
	return strings.Contains(body, `"active":true`)
}

// awaits waits for what happens between two servers.
func awaits(t *testing.T, what string, there func() bool) {
	t.Helper()
	for limit := time.Now().Add(80 * time.Second); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A pair are two real servers: what happens at there is heard here.
type pair struct {
	there, here *running
	leaked      client.NewCredential // at there
	receiver    client.Enrolled      // at there: what here is to it
	stream      string
	who         client.Identity // at here: whom there's leaked identity is
	point       string          // key at here
	robot       *platform       // proves who at here
}

// paired starts both, with one workload that both know.
func paired(t *testing.T, delivery string) *pair {
	t.Helper()
	p := &pair{there: start(t, t.TempDir()), robot: newPlatform(t)}
	var known client.Identity
	p.there.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "settler", Environment: "production", Owner: "team:payments"}, &known)
	p.there.send(http.MethodPost, "/v1/identities/"+known.ID+"/credentials", client.CreateCredential{}, &p.leaked)
	p.receiver = p.there.receiver("other", "environment:production")
	peer := receive.Peer{
		Name: "there", Issuer: p.there.URL(), Audience: p.receiver.ID, Delivery: delivery, TokenFile: filepath.Join(t.TempDir(), "token"),
		Subjects: receive.Subjects{Issuers: []string{p.there.URL()}},
	}
	token := "what the two of us agreed on"
	token = strings.ReplaceAll(token, " ", "-")
	if delivery == receive.DeliveryPoll {
		p.stream, token = p.there.newStream(p.receiver.Key, `{}`), p.receiver.Key
		peer.Endpoint = p.there.URL() + "/ssf/poll/" + p.stream
	}
	if err := os.WriteFile(peer.TokenFile, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.here = start(t, t.TempDir(), func(c *config.Config) { c.Signals.Peers = []receive.Peer{peer} })
	if delivery == receive.DeliveryPush {
		p.stream = p.there.newStream(p.receiver.Key, `{"delivery":{"method":"urn:ietf:rfc:8935","endpoint_url":"`+p.here.URL()+`/ssf/events/there","authorization_header":"Bearer `+token+`"}}`)
	}
	p.here.send(http.MethodPost, "/v1/identities", client.CreateIdentity{Name: "their settler", Environment: "production", Owner: "team:payments"}, &p.who)
	trust := p.robot.trust(p.who.ID) + `- {name: theirs, issuer: "` + p.there.URL() + `", audience: muster, claims: {sub: "spiffe://127.0.0.1/nhi/` + known.ID + `"}, identity: ` + p.who.ID + "}\n"
	p.here.put("trust.yaml", trust)
	var point client.Enrolled
	p.here.send(http.MethodPost, "/v1/points", client.EnrollPoint{Name: "edge"}, &point)
	p.point = point.Key
	return p
}

func TestWhatIsRevokedThereIsRefusedHere(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{receive.DeliveryPoll, receive.DeliveryPush} {
		t.Run(delivery, func(t *testing.T) {
			p := paired(t, delivery)
			token := p.robot.token(t, p.here)
			if !p.here.active(p.point, token) {
				t.Fatal("the token is no good before anything happened")
			}
			p.there.post(p.there.source("forum", "text"), "look what I found: "+p.leaked.Key)
			awaits(t, "the token to be refused", func() bool { return !p.here.active(p.point, token) })
			// The workload is not cut off: it proves itself again. Times of tokens
			// have whole seconds, so that is in the next one.
			awaits(t, "a new token", func() bool {
				status, body := p.robot.exchange(t, p.here, p.robot.subject(t))
				var reply struct {
					Token string `json:"access_token"`
				}
				return status == http.StatusOK && json.Unmarshal([]byte(body), &reply) == nil && p.here.active(p.point, reply.Token)
			})
			awaits(t, "the stream to be empty", func() bool { return p.waiting(t) == 0 })
			rules := map[string]int{}
			for _, f := range p.here.findings("filter=identity:" + p.who.ID) {
				rules[f.Rule]++
				if strings.Contains(f.Sentence, p.leaked.Key) {
					t.Errorf("a finding holds the secret: %s", f.Sentence)
				}
			}
			if rules[signals.RuleSession] == 0 || rules[signals.RuleCredential] == 0 {
				t.Errorf("findings by rule: %v", rules)
			}
			if acts := p.here.acts(); acts["identity.revoke-tokens"] != 1 || acts["credential.told"] == 0 {
				t.Errorf("acts in the audit log: %v", acts)
			}
			if l := p.here.line("signals"); l.Level != health.LevelOK {
				t.Errorf("the line of signals: %+v", l)
			}
		})
	}
}

func (p *pair) waiting(t *testing.T) int {
	t.Helper()
	page, err := p.there.api.ListSignalStreams(t.Context(), client.ListQuery{})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("streams: %+v, %v", page, err)
	}
	return page.Items[0].Waiting
}

func TestARiskThatAPeerTellsCountsUntilSomebodySaysNo(t *testing.T) {
	t.Parallel()
	p := paired(t, receive.DeliveryPush)
	told := signals.Event{Type: signals.RiskLevelChange, At: time.Now(), Level: signals.High}
	p.tell(t, http.StatusAccepted, p.set(told, nil))
	risk := func() int {
		var i client.Identity
		p.here.get("/v1/identities/"+p.who.ID, &i)
		return i.Risk
	}
	awaits(t, "the risk", func() bool { return risk() > 0 })
	if got := risk(); got < 40 || got > 60 {
		t.Errorf("one peer's word makes a risk of %d: it must count, and not be enough to deny", got)
	}
	found := p.here.findings("filter=rule:" + signals.RuleRisk)
	if len(found) != 1 {
		t.Fatalf("findings %+v", found)
	}
	p.here.send(http.MethodPatch, "/v1/findings/"+found[0].ID, map[string]string{"status": "dismissed", "reason": "they are wrong"}, nil)
	awaits(t, "the risk to go", func() bool { return risk() == 0 })
	told.At = time.Now()
	p.tell(t, http.StatusAccepted, p.set(told, nil))
	if got := risk(); got != 0 {
		t.Errorf("a dismissed word counts again: %d", got)
	}
}

// The attack: a fresh SET with an old word, so that it counts for more than the one
// that came after it. A word is as old as it says, however old.
func TestAnOlderWordOfAPeerChangesNothingHoweverOldBothAre(t *testing.T) {
	t.Parallel()
	p := paired(t, receive.DeliveryPush)
	tell := func(level string, days int) (status string) {
		t.Helper()
		p.tell(t, http.StatusAccepted, p.set(signals.Event{Type: signals.RiskLevelChange, At: time.Now().AddDate(0, 0, -days), Level: level}, nil))
		found := p.here.findings("filter=rule:" + signals.RuleRisk)
		if len(found) != 1 {
			t.Fatalf("findings %+v", found)
		}
		return found[0].Status
	}
	first := tell(signals.High, 10)
	for _, days := range []int{11, 20, 100} {
		if got := tell(signals.Low, days); got != first || first != string(nhi.Open) {
			t.Errorf("a word from %d days ago makes one from 10 days ago %s, from %s", days, got, first)
		}
	}
	if got := tell(signals.Low, 9); got != string(nhi.Resolved) {
		t.Errorf("a later word leaves it %s", got)
	}
	if got := tell(signals.High, 12); got != string(nhi.Resolved) {
		t.Errorf("an older word makes it %s", got)
	}
	tell(signals.Low, 5)
	if got := tell(signals.High, 6); got != string(nhi.Resolved) {
		t.Errorf("a word of before the last low makes it %s", got)
	}
	// A high that was said after a low, and heard with it: it is the last word.
	if got := tell(signals.High, 4); got != string(nhi.Open) {
		t.Errorf("a word of after the last low leaves it %s", got)
	}
	if got := p.here.findings("filter=rule:" + signals.RuleRisk)[0]; time.Since(got.LastSeen) > 5*day || time.Since(got.LastSeen) < 3*day {
		t.Errorf("it was last seen %v", got.LastSeen)
	}
}

// set is a SET of there about the workload, as its key would sign it.
func (p *pair) set(event signals.Event, edit func(*signals.Token)) string {
	subject := signals.Subject{Format: signals.FormatIssSub, Issuer: p.there.URL(), ID: "spiffe://127.0.0.1/nhi/" + p.leaked.Identity}
	token := signals.Token{ID: nhi.DerivedID("", event.Type, event.Level, event.At.String()), Issuer: p.there.URL(), Audience: p.receiver.ID, IssuedAt: time.Now(), Subject: subject, Event: event}
	if edit != nil {
		edit(&token)
	}
	claims, err := token.Claims()
	if err != nil {
		p.there.t.Fatal(err)
	}
	set, err := p.there.issuing.Signer(signals.Type).SignJSON(claims)
	if err != nil {
		p.there.t.Fatal(err)
	}
	return set
}

// tell pushes a SET with the agreed token.
func (p *pair) tell(t *testing.T, want int, set string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.here.URL()+"/ssf/events/there", strings.NewReader(set))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", signals.MediaType)
	req.Header.Set("Authorization", "Bearer what-the-two-of-us-agreed-on")
	if status, body := do(t, req); status != want {
		t.Errorf("a push is answered %d %s, want %d", status, body, want)
	}
}

func TestAPeerCannotSpeakAboutSubjectsOfOthers(t *testing.T) {
	t.Parallel()
	p := paired(t, receive.DeliveryPush)
	token := p.robot.token(t, p.here)
	revoked := signals.Event{Type: signals.SessionRevoked, At: time.Now()}
	for name, subject := range map[string]signals.Subject{
		"of another issuer": {Format: signals.FormatIssSub, Issuer: p.robot.issuer, ID: "system:serviceaccount:pay:settler"},
		"by our own id":     {Format: signals.FormatOpaque, ID: p.who.ID},
		"by our own name":   {Format: signals.FormatURI, ID: "spiffe://127.0.0.1/nhi/" + p.who.ID},
		"by mail":           {Format: signals.FormatEmail, ID: "settler@example.com"},
		"hidden in a complex one": {Format: signals.FormatComplex, Members: map[string]signals.Subject{
			"user":   {Format: signals.FormatIssSub, Issuer: p.there.URL(), ID: "spiffe://127.0.0.1/nhi/" + p.leaked.Identity},
			"device": {Format: signals.FormatOpaque, ID: p.who.ID},
		}},
		"of another tenant": {Format: signals.FormatComplex, Members: map[string]signals.Subject{
			"user":   {Format: signals.FormatIssSub, Issuer: p.there.URL(), ID: "spiffe://127.0.0.1/nhi/" + p.leaked.Identity},
			"tenant": {Format: signals.FormatOpaque, ID: "somebody else"},
		}},
	} {
		p.tell(t, http.StatusBadRequest, p.set(revoked, func(s *signals.Token) { s.Subject, s.ID = subject, name }))
	}
	if !p.here.active(p.point, token) {
		t.Error("a foreign signal revoked a token")
	}
	peers, err := p.here.api.ListSignalPeers(t.Context(), client.ListQuery{})
	if err != nil || len(peers.Items) != 1 || peers.Items[0].Refused != 6 || peers.Items[0].Applied != 0 {
		t.Errorf("peers %+v, %v", peers.Items, err)
	}
	if acts := p.here.acts(); acts["identity.revoke-tokens"] != 0 {
		t.Errorf("acts in the audit log: %v", acts)
	}
}

// A peer that makes names and times up has people read a finding or two, not one for
// each signal.
func TestAPeerCannotBuryPeopleInFindings(t *testing.T) {
	t.Parallel()
	p := paired(t, receive.DeliveryPush)
	for i := range 20 {
		old := time.Now().AddDate(0, 0, -100-i)
		p.tell(t, http.StatusAccepted, p.set(signals.Event{Type: signals.CredentialChange, At: old, Credential: "api-key", Change: signals.Revoked, Name: "made-up-" + strconv.Itoa(i)}, nil))
		p.tell(t, http.StatusAccepted, p.set(signals.Event{Type: signals.SessionRevoked, At: old}, nil))
	}
	rules := map[string]int{}
	for _, f := range p.here.findings("filter=identity:" + p.who.ID) {
		rules[f.Rule]++
	}
	// Two where a day, or an hour, ends meanwhile.
	if n := rules[signals.RuleCredential]; n < 1 || n > 2 {
		t.Errorf("%d findings about credentials", n)
	}
	if n := rules[signals.RuleSession]; n < 1 || n > 2 {
		t.Errorf("%d findings about sessions", n)
	}
}

func TestAReceiverMayDoNothingButReceive(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	one, other := r.receiver("one", "*"), r.receiver("other", "*")
	id := r.newStream(one.Key, `{}`)
	logs := r.source("trail", "cloudtrail", account)
	if err := r.as(one.Key).Do(t.Context(), http.MethodPost, "/receive/logs/cloudtrail", "application/json", trail(event{id: "1", user: "a"}), nil); status(err) != http.StatusForbidden {
		t.Errorf("a receiver sends logs: %v", err)
	}
	if err := r.as(one.Key).Get(t.Context(), "/v1/identities", nil, nil); status(err) != http.StatusForbidden {
		t.Errorf("a receiver reads the inventory: %v", err)
	}
	if got := logs.Get(t.Context(), "/ssf/stream", nil, nil); status(got) != http.StatusUnauthorized {
		t.Errorf("a source of logs has streams: %v", got)
	}
	for _, tt := range []struct{ method, path, body string }{
		{http.MethodGet, "/ssf/stream?stream_id=" + id, ""}, {http.MethodDelete, "/ssf/stream?stream_id=" + id, ""},
		{http.MethodPatch, "/ssf/stream", `{"stream_id":"` + id + `"}`}, {http.MethodPut, "/ssf/stream", `{"stream_id":"` + id + `"}`},
		{http.MethodGet, "/ssf/status?stream_id=" + id, ""}, {http.MethodPost, "/ssf/status", `{"stream_id":"` + id + `","status":"disabled"}`},
		{http.MethodPost, "/ssf/subjects/add", `{"stream_id":"` + id + `","subject":{"format":"opaque","id":"x"}}`},
		{http.MethodPost, "/ssf/subjects/remove", `{"stream_id":"` + id + `","subject":{"format":"opaque","id":"x"}}`},
		{http.MethodPost, "/ssf/verify", `{"stream_id":"` + id + `"}`}, {http.MethodPost, "/ssf/poll/" + id, `{"returnImmediately":true}`},
	} {
		if got, body := call(t, tt.method, r.URL()+tt.path, other.Key, tt.body); got != http.StatusNotFound {
			t.Errorf("%s %s of another receiver's stream is answered %d %v", tt.method, tt.path, got, body)
		}
		if got, _ := call(t, tt.method, r.URL()+tt.path, "", tt.body); got != http.StatusUnauthorized {
			t.Errorf("%s %s of nobody is answered %d", tt.method, tt.path, got)
		}
	}
	if got, s := call(t, http.MethodGet, r.URL()+"/ssf/status?stream_id="+id, one.Key, ""); got != http.StatusOK || s["status"] != "enabled" {
		t.Errorf("the stream is %d %v afterwards", got, s)
	}
}
