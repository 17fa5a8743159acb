package server

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/notify/webhook"
)

const accessKey = "AKIAQ3EGRZ4KAAAAAAA1"

// imported gives a server an IAM user with an access key of which nobody here
// knows the secret.
func (r *running) imported() client.ImportResult {
	r.t.Helper()
	res, err := r.api.ImportAWS(r.t.Context(), map[string]io.Reader{
		"authorization-details": strings.NewReader(details("settlement", "mailer")), "access-keys": strings.NewReader(accessKeys("settlement", accessKey)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

func (r *running) report(by *client.Client, s client.ReportSighting) client.SightingReply {
	r.t.Helper()
	var reply client.SightingReply
	if err := by.Send(r.t.Context(), http.MethodPost, "/v1/sightings", s, &reply); err != nil {
		r.t.Fatalf("report: %v", err)
	}
	return reply
}

func (r *running) state(credential string) string {
	r.t.Helper()
	var c client.Credential
	r.get("/v1/credentials/"+credential, &c)
	return c.State
}

func (r *running) act(id, what string) (int, client.Action) {
	r.t.Helper()
	var a client.Action
	err := r.api.Send(r.t.Context(), http.MethodPost, "/v1/actions/"+id+"/"+what, map[string]string{"reason": "a test"}, &a)
	if err != nil {
		return status(err), a
	}
	return http.StatusOK, a
}

func TestAnUnprovenSightingAsksAPersonWhoMayApproveAndUndo(t *testing.T) {
	r := start(t, t.TempDir())
	r.imported()
	ci := r.source("ci", "scanner")
	seen := client.ReportSighting{Rule: "aws-access-key-id", Provider: "aws", PublicID: accessKey, Place: client.Place{Kind: "file", Name: "deploy.sh", Line: 3}}
	first := r.report(ci, seen)
	if first.Verdict != "unproven" || first.Action == nil || first.Action.Status != "proposed" {
		t.Fatalf("the report is answered %+v", first)
	}
	if got := r.state(first.Credential); got != "active" {
		t.Errorf("a claim alone makes the credential %s", got)
	}
	seen.Place.Name = "other.sh"
	if again := r.report(ci, seen); again.Action == nil || again.Action.ID != first.Action.ID || again.Finding != first.Finding {
		t.Errorf("a second place: %+v, want the same proposal", again)
	}
	if found := r.findings("credential=" + first.Credential); len(found) != 1 || found[0].Count != 2 {
		t.Errorf("findings %+v, want one that counts two", found)
	}
	if got, _ := r.act(first.Action.ID, "undo"); got != http.StatusConflict {
		t.Errorf("undo of a proposal: %d, want 409", got)
	}
	if got, a := r.act(first.Action.ID, "approve"); got != http.StatusOK || a.Status != "done" || a.Generation == 0 || !strings.HasPrefix(a.Actor, "operator:") {
		t.Errorf("approve: %d %+v", got, a)
	}
	if got := r.state(first.Credential); got != "suspended" {
		t.Errorf("approved, and the credential is %s", got)
	}
	if got, _ := r.act(first.Action.ID, "approve"); got != http.StatusConflict {
		t.Errorf("approved twice: %d, want 409", got)
	}
	if got, _ := r.act(first.Action.ID, "undo"); got != http.StatusOK {
		t.Errorf("undo: %d", got)
	}
	if got, _ := r.act(first.Action.ID, "undo"); got != http.StatusConflict {
		t.Errorf("undone twice: %d, want 409", got)
	}
	if got := r.state(first.Credential); got != "active" {
		t.Errorf("undone, and the credential is %s", got)
	}
	acts := r.acts()
	want := map[string]int{"credential.suspend.propose": 1, "action.approve": 1, "action.undo": 1}
	for act, n := range want {
		if acts[act] != n {
			t.Errorf("%s is %d times in the audit log, want %d", act, acts[act], n)
		}
	}
	if i, _ := r.facts.Identity(awsID("settlement")); i.Risk != 0 {
		t.Errorf("claims made a risk of %d", i.Risk)
	}
}

func TestAnUnknownSightingIsKeptAndNothingElse(t *testing.T) {
	r := start(t, t.TempDir())
	r.imported()
	ci := r.source("ci", "scanner")
	got := r.report(ci, client.ReportSighting{Rule: "aws-access-key-id", Provider: "aws", PublicID: "AKIAQ3EGRZ4KZZZZZZZ9", Place: client.Place{Kind: "file", Name: "x"}})
	if got.Verdict != "unknown" || got.Finding != "" || got.Action != nil || got.Credential != "" {
		t.Errorf("answered %+v", got)
	}
	for name, bad := range map[string]client.ReportSighting{
		"neither id nor fingerprint": {Rule: "x", Place: client.Place{Kind: "file", Name: "x"}},
		"somebody's fingerprint":     {Rule: "x", Fingerprint: "l1:AAAA", Place: client.Place{Kind: "file", Name: "x"}},
	} {
		if err := ci.Send(t.Context(), http.MethodPost, "/v1/sightings", bad, nil); status(err) != http.StatusUnprocessableEntity {
			t.Errorf("%s: %v, want 422", name, err)
		}
	}
}

func TestAKeyInSeveralPlacesIsContainedOnceAndLiftedWhole(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	point, cred := r.furnish()
	door := r.source("forum", "text")
	const phrase = "a sentence that nobody must keep"
	post := phrase + " " + cred.Key
	first := r.post(door, post)
	if len(first) != 1 || first[0].Verdict != "confirmed" || first[0].Action == nil || first[0].Action.Measure != "suspend" {
		t.Fatalf("the door answers %+v", first)
	}
	for _, text := range []string{post, "elsewhere: " + cred.Key, post} {
		if got := r.post(door, text); len(got) != 1 || got[0].Action == nil || got[0].Action.ID != first[0].Action.ID {
			t.Errorf("again: %+v, want the action that stands", got)
		}
	}
	if got := r.acts()["credential.suspend"]; got != 1 {
		t.Errorf("%d acts for one key, want 1", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusForbidden {
		t.Errorf("the leaked key gets %d, want 403", got)
	}
	if got, _ := r.act(first[0].Action.ID, "undo"); got != http.StatusOK {
		t.Fatalf("undo: %d", got)
	}
	if open := r.findings("status=open&credential=" + cred.ID); len(open) != 0 {
		t.Errorf("lifted, and still open: %+v", open)
	}
	// Who lifted it answers for these sightings, but not for others.
	if got := r.post(door, post); got[0].Action == nil || got[0].Action.Status != "undone" {
		t.Errorf("the same text after the undo: %+v", got)
	}
	if got := r.state(cred.ID); got != "active" {
		t.Errorf("the same text contains it again: %s", got)
	}
	if got := r.post(door, "a new place: "+cred.Key); got[0].Action == nil || got[0].Action.ID == first[0].Action.ID || got[0].Action.Status != "done" {
		t.Errorf("a new place after the undo: %+v, want a new act", got)
	}
	r.halt()
	for _, secret := range []string{cred.Key, phrase} {
		if where := search(t, data, secret); where != "" {
			t.Errorf("%q of the text is kept in %s", secret[:8], where)
		}
	}
}

func TestTheThiefIsCutOffAndTheWorkloadGoesOn(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	p := newPlatform(t)
	r.put("trust.yaml", p.trust(cred.Identity))
	const target = "https://api.example.com/payments/1"
	token := p.token(t, r)
	proof := p.proof(t, "GET", target, token)
	for _, tt := range []struct {
		name   string
		proof  string
		scheme string
		want   int
	}{
		{"with its proof", proof, "DPoP ", http.StatusOK},
		{"without a proof", "", "DPoP ", http.StatusUnauthorized},
		{"as a bearer", "", "Bearer ", http.StatusUnauthorized},
		{"with a proof that was used", proof, "DPoP ", http.StatusUnauthorized},
		{"with a proof for another method", p.proof(t, "POST", target, token), "DPoP ", http.StatusUnauthorized},
		{"with a proof for another token", p.proof(t, "GET", target, p.token(t, r)), "DPoP ", http.StatusUnauthorized},
		{"with somebody else's proof", newPlatform(t).proof(t, "GET", target, token), "DPoP ", http.StatusUnauthorized},
		{"with another good proof", p.proof(t, "GET", target, token), "DPoP ", http.StatusOK},
	} {
		more := []string{}
		if tt.proof != "" {
			more = []string{"DPoP", tt.proof}
		}
		if got := r.ask(point, tt.scheme+token, "GET", "/payments/1", "203.0.113.7", more...); got != tt.want {
			t.Errorf("a bound token %s: %d, want %d", tt.name, got, tt.want)
		}
	}
	reply := r.post(r.source("forum", "text"), "oops "+cred.Key)
	if reply[0].Action == nil || reply[0].Action.Measure != "narrow" {
		t.Fatalf("who can attest itself is narrowed, not suspended: %+v", reply)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusUnauthorized {
		t.Errorf("the key alone: %d, want 401 (step up)", got)
	}
	r.until("the thief's try to become the key's risk", func() bool {
		c, _ := r.facts.Credential(nhi.CredentialID(cred.ID))
		return c.Risk > 80
	})
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusForbidden {
		t.Errorf("the key alone, at risk: %d, want 403", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7", "Muster-Attestation", token); got == http.StatusOK {
		t.Errorf("the key with a stolen token and no proof: %d, want a refusal", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7", "Muster-Attestation", token, "DPoP", p.proof(t, "GET", target, token)); got != http.StatusOK {
		t.Errorf("the key with its workload's attestation: %d, want 200", got)
	}
	if got := r.ask(point, "DPoP "+token, "GET", "/payments/1", "203.0.113.7", "DPoP", p.proof(t, "GET", target, token)); got != http.StatusOK {
		t.Errorf("the workload by its token: %d, want 200", got)
	}
	// An administrator revokes the token; it is refused at once.
	admin, err := os.ReadFile(filepath.Join(r.data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, r.URL()+"/oauth2/revoke", strings.NewReader("token="+token))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(admin)))
	if got, body := do(t, req); got != http.StatusOK {
		t.Fatalf("revoke: %d %s", got, body)
	}
	if got := r.ask(point, "DPoP "+token, "GET", "/payments/1", "203.0.113.7", "DPoP", p.proof(t, "GET", target, token)); got == http.StatusOK {
		t.Error("a revoked token gets through")
	}
}

func TestImportingTwiceChangesNothing(t *testing.T) {
	r := start(t, t.TempDir())
	if first := r.imported(); first.Changed == 0 || first.Identities != 2 {
		t.Errorf("first import: %+v", first)
	}
	generation := r.db.Generation()
	if second := r.imported(); second.Changed != 0 || second.Retired != 0 || second.Identities != 2 {
		t.Errorf("second import: %+v", second)
	}
	if got := r.db.Generation(); got != generation {
		t.Errorf("generation %d became %d", generation, got)
	}
}

func TestALogIsCountedOnceAndSpeaksOnlyOfItsAccounts(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	logs := r.source("trail", "cloudtrail", account)
	const odd = `{"eventID": "half a record, with words nobody must read`
	body := record(event{id: "1", user: "settlement", key: accessKey}) + "\n" + odd + "\n" + record(event{id: "2", user: "settlement", account: "111111111111"}) + "\n" +
		record(event{id: "3", user: "mailer"}) + "\n"
	first, err := logs.ReceiveLogs(t.Context(), "cloudtrail", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	newest := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	if diff := cmp.Diff(client.Received{Events: 2, Unparsable: 1, Refused: 1, Newest: &newest}, first); diff != "" {
		t.Errorf("first (-want +got):\n%s", diff)
	}
	again, err := logs.ReceiveLogs(t.Context(), "cloudtrail", strings.NewReader(body))
	if err != nil || !again.Duplicate {
		t.Errorf("the same again: %+v, %v, want a duplicate", again, err)
	}
	r.until("the events to be learned", func() bool { return r.mind().Page(awsID("mailer")) != nil })
	if n, _ := r.stream.LastSeq(t.Context(), ""); n != 1 {
		t.Errorf("%d batches, want 1", n)
	}
	if got := r.mind().Stats(); got.Learned != 2 {
		t.Errorf("learned %+v, want 2 events", got)
	}
	var o client.Overview
	r.get("/v1/overview", &o)
	if o.Events != 2 {
		t.Errorf("%d events in the overview, want 2", o.Events)
	}
	r.halt()
	if where := search(t, data, "words nobody must read"); where != "" {
		t.Errorf("what is no record lies in the clear in %s", where)
	}
}

func TestALogCannotTestifyAboutIdentitiesOfAnotherAccount(t *testing.T) {
	r := start(t, t.TempDir())
	r.imported()
	other := r.source("other", "cloudtrail", "111111111111")
	// The log of account 1 tells of calls by the user of our account, at length.
	var events []event
	for i := range 200 {
		events = append(events, event{id: "f" + string(rune('a'+i%26)) + string(rune('a'+i/26)), user: "settlement", key: accessKey, home: account, account: "111111111111", address: "198.51.100.9", op: "DeleteBucket"})
	}
	events = append(events, event{id: "end", user: "end", account: "111111111111"})
	got, err := other.ReceiveLogs(t.Context(), "cloudtrail", trail(events...))
	if err != nil || got.Events != 201 {
		t.Fatalf("received %+v, %v", got, err)
	}
	r.until("the events to be learned", func() bool {
		return r.mind().Page(nhi.IdentityID("aws", "111111111111", userID("end"))) != nil
	})
	if r.mind().Page(awsID("settlement")) != nil {
		t.Error("another account's log taught what is normal for our user")
	}
	if found := r.findings("identity=" + string(awsID("settlement"))); len(found) != 0 {
		t.Errorf("another account's log made findings: %+v", found)
	}
}

// A receiver of webhooks that fails at first.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex // guards what follows
	fail  int
	tries int
	got   []string // ids of what was taken
	bad   []string
	more  chan struct{}
}

func newReceiver(t *testing.T, fail int) *receiver {
	rc := &receiver{fail: fail, more: make(chan struct{}, 100)}
	rc.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rc.mu.Lock()
		defer rc.mu.Unlock()
		rc.tries++
		if "v1,"+webhook.Sign([]byte(hookSecret), r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body) != r.Header.Get("webhook-signature") {
			rc.bad = append(rc.bad, string(body))
		}
		if rc.fail > 0 {
			rc.fail--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var message struct {
			Type string
			Data struct{ Finding string }
		}
		if err := json.Unmarshal(body, &message); err != nil {
			rc.bad = append(rc.bad, err.Error())
		}
		rc.got = append(rc.got, message.Type)
		rc.more <- struct{}{}
	}))
	t.Cleanup(rc.Close)
	return rc
}

const hookSecret = "only a test, thirty-two bytes!!!"

func TestAContainmentIsToldOnceAlsoWhenTheReceiverFailsTwice(t *testing.T) {
	t.Parallel()
	rc := newReceiver(t, 2)
	secret := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(secret, []byte("whsec_b25seSBhIHRlc3QsIHRoaXJ0eS10d28gYnl0ZXMhISE="), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir(), func(c *config.Config) {
		c.Notify = []config.Receiver{{Settings: webhook.Settings{Name: "ops", URL: rc.URL, SecretFile: secret, Severity: nhi.Critical}}}
	})
	_, cred := r.furnish()
	door := r.source("forum", "text")
	r.post(door, "AKIA is not ours, but this is: "+forge(t, cred.Key)) // information, which nobody asked for
	r.post(door, "oops "+cred.Key)
	r.post(door, "oops "+cred.Key)
	select {
	case <-rc.more:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody was told")
	}
	r.halt() // whatever else would be sent is not
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if diff := cmp.Diff([]string{"credential.contained"}, rc.got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if rc.tries != 3 || len(rc.bad) != 0 {
		t.Errorf("%d tries, bad messages %q", rc.tries, rc.bad)
	}
}

func TestEverythingIsProvenAndKeptOverARestart(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	point, cred := r.furnish()
	r.imported()
	door := r.source("forum", "text")
	logs := r.source("trail", "cloudtrail", account)
	if _, err := logs.ReceiveLogs(t.Context(), "cloudtrail", trail(event{id: "1", user: "mailer"})); err != nil {
		t.Fatal(err)
	}
	r.until("the event to be learned", func() bool { return r.mind().Page(awsID("mailer")) != nil })
	reply := r.post(door, "oops "+cred.Key)
	var checkpoint audit.Checkpoint
	r.send(http.MethodPost, "/v1/audit/checkpoint", nil, &checkpoint)
	before := r.acts()
	generation := r.db.Generation()
	for range 2 {
		r.halt()
		keys, err := audit.ReadKeys(filepath.Join(data, "audit", "audit.pub"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Verify(t.Context(), filepath.Join(data, "audit"), keys, &checkpoint); err != nil {
			t.Errorf("verify the audit log: %v", err)
		}
		r = start(t, data)
		if diff := cmp.Diff(before, r.acts()); diff != "" {
			t.Errorf("a start changes the audit log (-before +after):\n%s", diff)
		}
		if got := r.db.Generation(); got < generation {
			t.Errorf("generation %d became %d", generation, got)
		}
		if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusForbidden {
			t.Errorf("after a restart the leaked key gets %d, want 403", got)
		}
		if r.mind().Page(awsID("mailer")) == nil {
			t.Error("what was learned is gone")
		}
	}
	var a client.Page[client.Action]
	r.get("/v1/actions", &a)
	if len(a.Items) != 1 || a.Items[0].ID != reply[0].Action.ID || a.Items[0].Generation != reply[0].Action.Generation {
		t.Errorf("actions %+v, want %+v", a.Items, reply[0].Action)
	}
	if got, _ := r.act(a.Items[0].ID, "undo"); got != http.StatusOK {
		t.Errorf("undo after a restart: %d", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("undone, and the key gets %d", got)
	}
}

func TestAWrongPolicyIsRefusedByLineAndTheOldOneStays(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	const good = "@id(\"no-writes\")\nforbid (principal, action == Action::\"write\", resource);\n"
	r.put("policies.cedar", good)
	for name, bad := range map[string]string{
		"no Cedar at all":             "permit everything please",
		"an attribute nobody has":     good + "\n@id(\"x\")\nforbid (principal, action, resource)\nwhen { context.nosuchthing };\n",
		"an id that is there already": good + good,
	} {
		err := r.api.Do(t.Context(), http.MethodPut, "/v1/documents/policies.cedar", "text/plain", strings.NewReader(bad), nil)
		if status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "policies.cedar:") {
			t.Errorf("%s: %v, want 422 with file and line", name, err)
		}
	}
	for _, name := range []string{"routes.yaml", "resources.yaml", "trust.yaml"} {
		err := r.api.Do(t.Context(), http.MethodPut, "/v1/documents/"+name, "text/plain", strings.NewReader("- {nonsense: true}\n"), nil)
		if status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), name+":1") {
			t.Errorf("%s: %v, want 422 with file and line", name, err)
		}
	}
	if err := r.api.Do(t.Context(), http.MethodPut, "/v1/documents/nobody.yaml", "text/plain", strings.NewReader("[]"), nil); status(err) != http.StatusNotFound {
		t.Errorf("a document that is none: %v, want 404", err)
	}
	var kept client.Document
	r.get("/v1/documents/policies.cedar", &kept)
	if kept.Body != good {
		t.Errorf("in force is %q", kept.Body)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "POST", "/payments/1", "203.0.113.7"); got != http.StatusForbidden {
		t.Errorf("a write gets %d, want 403 by the old policy", got)
	}
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("a read gets %d, want 200", got)
	}
}

func TestAnObservingPointLetsPassWhatItCountsButNeverTheDead(t *testing.T) {
	r := start(t, t.TempDir())
	point, cred := r.furnish()
	observe, enforce, none, all := "observe", "enforce", 0, 100
	var p client.Point
	for _, mode := range []struct {
		name string
		set  client.SetPoint
		want int
	}{
		{"observing", client.SetPoint{Mode: &observe}, http.StatusOK},
		{"enforcing for nobody", client.SetPoint{Mode: &enforce, Percent: &none}, http.StatusOK},
		{"enforcing for all", client.SetPoint{Mode: &enforce, Percent: &all}, http.StatusForbidden},
	} {
		r.send(http.MethodPatch, "/v1/points/edge", mode.set, &p)
		before := p.WouldRefuse
		if got := r.ask(point, "Bearer "+cred.Key, "DELETE", "/payments/1", "203.0.113.7"); got != mode.want {
			t.Errorf("%s: what no route knows gets %d, want %d", mode.name, got, mode.want)
		}
		r.send(http.MethodPatch, "/v1/points/edge", client.SetPoint{}, &p)
		if counted := p.WouldRefuse > before; counted != (mode.want == http.StatusOK) {
			t.Errorf("%s: would_refuse went from %d to %d", mode.name, before, p.WouldRefuse)
		}
	}
	r.send(http.MethodPatch, "/v1/points/edge", client.SetPoint{Mode: &observe}, nil)
	r.post(r.source("forum", "text"), "oops "+cred.Key)
	if got := r.ask(point, "Bearer "+cred.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusForbidden {
		t.Errorf("a suspended key at an observing point gets %d, want 403", got)
	}
	var o client.Overview
	r.get("/v1/overview", &o)
	if diff := cmp.Diff([]string{"edge"}, o.Unprotected); diff != "" {
		t.Errorf("unprotected (-want +got):\n%s", diff)
	}
}

func TestWhatAPointAssertsIsCleanedBeforeItIsRecorded(t *testing.T) {
	data := t.TempDir()
	r := start(t, data)
	point, _ := r.furnish()
	secret := key.Mint(key.API).Reveal()
	req, err := http.NewRequest(http.MethodPost, r.URL()+"/access/v1/evaluation", strings.NewReader(
		`{"subject":{"type":"identity","id":"`+string(awsID("x"))+`"},"action":{"name":"`+secret+`","properties":{"class":"read"}},"resource":{"type":"api","id":"`+secret+`"}}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+point)
	if got, body := do(t, req); got != http.StatusOK || !strings.Contains(body, `"decision":false`) {
		t.Errorf("AuthZEN: %d %s", got, body)
	}
	if recent := r.log.Recent(logbook.Filter{}, 1); len(recent) != 1 || strings.Contains(recent[0].Resource+recent[0].Operation, secret) {
		t.Errorf("recorded %+v", recent)
	}
	r.halt()
	if where := search(t, data, secret); where != "" {
		t.Errorf("the secret is in %s", where)
	}
}
