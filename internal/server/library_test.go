package server

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/policy/bundle"
	"github.com/muster-id/muster/internal/policy/library"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/snapshot"
)

// narrow is a policy that no test meets.
func narrow(id string) string {
	return fmt.Sprintf("@id(%q) forbid (principal, action == Action::\"assume\", resource == Resource::\"nowhere\");\n", id)
}

// open is a policy that permits everybody everything.
func open(id string) string {
	return fmt.Sprintf("@id(%q)\npermit (principal, action, resource);\n", id)
}

// files makes a library of names and texts.
func files(of ...string) (out []client.LibraryFile) {
	for i := 0; i < len(of); i += 2 {
		out = append(out, client.LibraryFile{Name: of[i], Text: of[i+1]})
	}
	return out
}

// push puts a library into force, or fails the test.
func (r *running) push(of ...string) client.Snapshot {
	r.t.Helper()
	n, err := r.api.PutSnapshot(r.t.Context(), client.PutSnapshot{Files: files(of...)})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// inForce is the snapshot that is.
func (r *running) inForce() client.Snapshot {
	r.t.Helper()
	all, err := r.api.ListSnapshots(r.t.Context(), client.ListQuery{Filter: "state:active"})
	if err != nil || len(all.Items) != 1 {
		r.t.Fatalf("in force: %+v, %v", all.Items, err)
	}
	return all.Items[0]
}

// pastSnapshot is the digest of one that was in force.
func (r *running) pastSnapshot() string {
	r.t.Helper()
	was := r.push("policies/past.cedar", narrow("past"))
	r.push("policies/present.cedar", narrow("present"))
	return was.Digest
}

// promoting has a promotion under way, and returns the path.
func (r *running) promoting(path string) string {
	r.t.Helper()
	n, err := r.api.PutSnapshot(r.t.Context(), client.PutSnapshot{Staged: true, Files: files("policies/promoted.cedar", narrow("promoted"))})
	if err != nil || n.State != "staged" {
		r.t.Fatalf("%+v, %v", n, err)
	}
	return path
}

// waitingSnapshot is the digest of one that ada sent and that a second administrator
// has to confirm.
func (r *running) waitingSnapshot() string { return r.waits("open") }

// waits is the digest of one whose policy has this id.
func (r *running) waits(id string) string {
	r.t.Helper()
	r.administrator("mara")
	_, ada := r.administrator("ada")
	n, err := ada.PutSnapshot(r.t.Context(), client.PutSnapshot{Files: files("policies/open.cedar", open(id))})
	if err != nil || n.State != "waiting" {
		r.t.Fatalf("%+v, %v", n, err)
	}
	return n.Digest
}

// browsing is the browser of an administrator who signed in.
func (r *running) browsing(subject string) *client.Client {
	r.t.Helper()
	person, _ := r.administrator(subject)
	grants := []access.Grant{{Role: access.Admin}}
	link, err := r.access.NewLink(r.t.Context(), access.Caller{Kind: access.Session, Person: person, Permits: access.PermitsOf(grants)})
	if err != nil {
		r.t.Fatal(err)
	}
	cookie, err := r.access.SignIn(r.t.Context(), httptest.NewRequest("GET", "/signin", nil), link)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.as("").WithTransport(session{cookie})
}

// A session sends what a browser does.
type session struct{ cookie *http.Cookie }

func (s session) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	r.Header.Set("Muster-Csrf", "1")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(s.cookie)
	return http.DefaultTransport.RoundTrip(r)
}

const noPayments = `@id("no-payments") forbid (principal, action, resource == Resource::"payments/api");` + "\n"

func TestWhatIsPushedDecidesAndCanBeTakenBack(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	point, key := r.furnish()
	ask := func() int { return r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7") }
	good := r.push("policies/a.cedar", narrow("a"), "policies/team/b.cedar", narrow("b"), "policies/team/tests/b.yaml", "tests:\n  - {name: and writing, action: write, expect: allow}\n", "tests/a.yaml", "tests:\n  - {name: reading is allowed, action: read, expect: allow}\n")
	if got := ask(); got != http.StatusOK {
		t.Fatalf("before: %d", got)
	}
	bad := r.push("policies/a.cedar", noPayments)
	if got := ask(); got != http.StatusForbidden {
		t.Errorf("with a policy that forbids it: %d", got)
	}
	decided := r.log.Recent(logbook.Filter{}, 1)
	if len(decided) != 1 || decided[0].Policy != bad.Effective || bad.Effective == good.Effective {
		t.Errorf("the record names the set of %+v; in force is %s", decided, bad.Effective)
	}
	back, err := r.api.ActivateSnapshot(t.Context(), good.Digest[:10], client.ActOn{Reason: "it stopped the till"})
	if err != nil {
		t.Fatal(err)
	}
	if back.Digest != good.Digest || back.Sequence <= bad.Sequence || back.Parent != bad.Digest || back.Note != "it stopped the till" || back.State != "active" {
		t.Errorf("back: %+v", back)
	}
	if got := ask(); got != http.StatusOK {
		t.Errorf("taken back: %d", got)
	}
	var history []string
	for n, err := range r.api.Snapshots(t.Context(), client.ListQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		history = append(history, fmt.Sprint(n.Sequence, " ", n.State, " ", n.Policies))
	}
	if diff := cmp.Diff([]string{"4 active 2", "3 past 1", "2 past 2", "1 past 0"}, history); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	if acts := r.acts(); acts["policy.activate"] != 2 || acts["policy.rollback"] != 1 {
		t.Errorf("acts: %v", acts)
	}
	r.halt()
	r = start(t, data)
	if now := r.inForce(); now.Digest != good.Digest || now.Sequence != 4 {
		t.Errorf("after a restart: %+v", now)
	}
	if got := r.ask(point, "Bearer "+key.Key, "GET", "/payments/1", "203.0.113.7"); got != http.StatusOK {
		t.Errorf("after a restart: %d", got)
	}
}

func TestWhatIsWrongIsRefusedWithFileAndLine(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	before := r.push("policies/a.cedar", narrow("a"))
	for _, tt := range []struct {
		name string
		of   []string
		want string
	}{
		{"syntax", []string{"policies/x.cedar", "\n@id(\"x\") forbid (principal\n"}, "policies/x.cedar:3:"},
		{"schema", []string{"policies/x.cedar", "\n\n@id(\"x\") forbid (principal, action, resource) when { context.nope };"}, "policies/x.cedar:3:"},
		{"no id", []string{"policies/x.cedar", "forbid (principal, action, resource == Resource::\"x\");"}, "policies/x.cedar:1:"},
		{"an id in two files", []string{"policies/x.cedar", narrow("same"), "policies/team/y.cedar", "\n" + narrow("same")}, "policies/x.cedar:1:"},
		{"a grant", []string{"grants/x.yaml", "grants:\n  - id: ok\n    template: grant\n    with: {resource: ledger, principal: 'environment:production', until: 2027-01-31}\n  - id: bad\n    template: grant\n    with: {until: never}\n"}, "grants/x.yaml:5:"},
		{"a template that does not exist", []string{"grants/x.yaml", "grants:\n  - id: ok\n    template: nope\n"}, "grants/x.yaml:2:"},
		{"a test that fails", []string{"policies/a.cedar", narrow("a"), "tests/x.yaml", "tests:\n  - name: everything is refused\n    action: read\n    expect: deny\n"}, "tests/x.yaml:2"},
		{"a test beside policies that fails", []string{"policies/team/a.cedar", narrow("a"), "policies/team/tests/x.yaml", "tests:\n  - name: everything is refused\n    action: read\n    expect: deny\n"}, "policies/team/tests/x.yaml:2"},
		{"YAML among policies", []string{"policies/team/x.yaml", "tests: []\n"}, "in a folder named tests"},
		{"a test that is none", []string{"tests/x.yaml", "tests:\n  - nmae: x\n"}, "tests/x.yaml:2:"},
		{"a name that climbs", []string{"policies/../../x.cedar", narrow("a")}, "policies/../../x.cedar"},
		{"a name twice", []string{"policies/x.cedar", narrow("a"), "policies/x.cedar", narrow("b")}, "twice"},
		{"a guard replaced", []string{"guards/permit.cedar", narrow("a")}, "guards/permit.cedar"},
		{"a generated file of its own", []string{"generated/x.cedar", open("x")}, "generated/x.cedar"},
	} {
		_, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Files: files(tt.of...)})
		if status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want 422 with %s", tt.name, err, tt.want)
		}
	}
	if now := r.inForce(); now.Sequence != before.Sequence {
		t.Errorf("something changed: %+v", now)
	}
	_, key := r.furnish()
	_, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("tests/x.yaml", "# fine\n# "+key.Key+"\n")})
	if status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "tests/x.yaml:2: the line holds a secret") || strings.Contains(err.Error(), key.Key) {
		t.Errorf("a secret: %v", err)
	}
}

func TestADryRunChangesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	before := r.inForce()
	n, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{DryRun: true, Files: files("policies/a.cedar", narrow("a"), "policies/b.cedar", strings.Replace(narrow("b"), "@id", "// doubtful: the same again\n@id", 1))})
	if err != nil || n.Sequence != 0 || n.Policies != 2 {
		t.Errorf("%+v, %v", n, err)
	}
	if len(n.Warnings) != 1 || n.Warnings[0].File != "policies/b.cedar" || n.Warnings[0].Line != 2 {
		t.Errorf("warnings: %+v", n.Warnings)
	}
	if now := r.inForce(); now.Sequence != before.Sequence {
		t.Errorf("something changed: %+v", now)
	}
}

func TestTwoWhoChangeTheSameAreTold(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	base := r.push("policies/a.cedar", narrow("a"))
	put := func(id string) error {
		return only(r.api.PutSnapshot(t.Context(), client.PutSnapshot{Parent: base.Digest[:12], Files: files("policies/a.cedar", narrow(id))}))
	}
	if err := put("b"); err != nil {
		t.Fatal(err)
	}
	if err := put("c"); status(err) != http.StatusConflict {
		t.Errorf("whoever knew less: %v", err)
	}
	if err := put("b"); status(err) != http.StatusConflict {
		t.Errorf("once more: %v", err)
	}
}

func TestADocumentIsOneFileOfTheLibrary(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	r := start(t, data)
	r.push("policies/a.cedar", narrow("a"))
	r.put("policies.cedar", narrow("doc"))
	detail, err := r.api.GetSnapshot(t.Context(), r.inForce().Digest)
	if err != nil || len(detail.Contents) != 2 {
		t.Fatalf("%+v, %v", detail, err)
	}
	r.push("policies/b.cedar", narrow("b"))
	if d, err := r.api.GetDocument(t.Context(), "policies.cedar"); err != nil || d.Body != "" {
		t.Errorf("a library without the document leaves %+v, %v", d, err)
	}
	if err := only(r.api.ApplyDocument(t.Context(), "policies.cedar", []byte(open("all")))); status(err) != http.StatusUnprocessableEntity || !strings.Contains(err.Error(), "policies.cedar:1") {
		t.Errorf("a document that would have to wait: %v", err)
	}
	r.put("policies.cedar", narrow("doc"))
	// An earlier release that runs in between knows the document alone.
	if _, err := r.db.Write(t.Context(), func(tx *store.Tx) error {
		_, err := tx.PutDocument(t.Context(), "policies.cedar", []byte(narrow("older")))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r.halt()
	r = start(t, data)
	policies, err := r.api.ListPolicies(t.Context(), client.ListQuery{Filter: "-guard:true"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range policies.Items {
		got = append(got, fmt.Sprint(p.ID, " ", p.File, ":", p.Line))
	}
	if diff := cmp.Diff([]string{"older policies.cedar:1", "b policies/b.cedar:1"}, got); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
}

func TestOneAdministratorAloneDoesNotOpenEverything(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	put := func(c *client.Client, text string) (client.Snapshot, error) {
		return c.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("policies/open.cedar", text)})
	}
	if _, err := put(r.api, open("open")); status(err) != http.StatusConflict || !strings.Contains(err.Error(), "muster person set-role") || !strings.Contains(err.Error(), "policies/open.cedar:1") {
		t.Errorf("with the first administrator alone: %v", err)
	}
	_, ada := r.administrator("ada")
	if _, err := put(ada, open("open")); status(err) != http.StatusConflict {
		t.Errorf("with one administrator: %v", err)
	}
	r.administrator("mara")
	before := r.inForce()
	n, err := put(ada, open("open"))
	if err != nil || n.State != "waiting" || len(n.Why) != 1 || !strings.HasPrefix(n.Why[0], "policies/open.cedar:1: ") {
		t.Fatalf("with two: %+v, %v", n, err)
	}
	if again, err := put(ada, open("open")); err != nil || again.Sequence != n.Sequence {
		t.Errorf("sent again: %+v, %v", again, err)
	}
	if now := r.inForce(); now.Sequence != before.Sequence {
		t.Errorf("it is in force: %+v", now)
	}
	for _, disguise := range []string{
		"@id(\"open\") permit (principal, action, resource) when { true };", "@id(\"open\") permit (principal is Workload, action, resource);",
		"@id(\"open\") permit (principal, action == Action::\"delete\", resource) unless { context.senderBound && !context.senderBound };",
	} {
		if n, err := put(ada, disguise); err != nil || n.State != "waiting" {
			t.Errorf("%s: %+v, %v", disguise, n, err)
		}
	}
	if n, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("grants/open.yaml", "grants:\n  - {id: open, template: grant}\n")}); err == nil && n.State != "waiting" {
		t.Errorf("a grant to everybody: %+v", n)
	}
	var robot client.NewToken
	r.send(http.MethodPost, "/v1/tokens", client.CreateToken{Name: "robot", Roles: []client.Role{{Role: "admin"}}}, &robot)
	_, program := r.administrator("mara")
	for who, c := range map[string]*client.Client{"a token that nobody made as themselves": r.as(robot.Key), "the first administrator": r.api, "a program with a token that mara made": program} {
		if _, err := c.ConfirmSnapshot(t.Context(), n.Digest); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "only people confirm") {
			t.Errorf("%s confirms: %v", who, err)
		}
	}
	if _, err := ada.ConfirmSnapshot(t.Context(), n.Digest); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "only people confirm") {
		t.Errorf("the author confirms with a token: %v", err)
	}
	if _, err := r.browsing("ada").ConfirmSnapshot(t.Context(), n.Digest); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "another administrator") {
		t.Errorf("the author confirms: %v", err)
	}
	if _, err := r.api.ActivateSnapshot(t.Context(), n.Digest, client.ActOn{}); status(err) != http.StatusConflict {
		t.Errorf("put into force around the confirmation: %v", err)
	}
	if err := r.api.GetSnapshotBundle(t.Context(), n.Digest, &bytes.Buffer{}); status(err) != http.StatusConflict {
		t.Errorf("what nobody confirmed is signed: %v", err)
	}
	done, err := r.browsing("mara").ConfirmSnapshot(t.Context(), n.Digest)
	if err != nil || done.State != "active" || len(done.Confirmed) != 1 || done.Confirmed[0].Name != "mara" {
		t.Fatalf("a second administrator confirms: %+v, %v", done, err)
	}
	if _, err := r.browsing("mara").ConfirmSnapshot(t.Context(), n.Digest); status(err) != http.StatusConflict {
		t.Errorf("confirmed twice: %v", err)
	}
	if told := r.notices("policy.waiting"); len(told) != 4 || !strings.Contains(told[0], "second administrator") {
		t.Errorf("people were told %q", told)
	}
	if acts := r.acts(); acts["policy.propose"] != 4 || acts["policy.confirm"] != 1 {
		t.Errorf("acts: %v", acts)
	}
	// What two people let in needs no third for the next change beside it.
	if n, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("policies/open.cedar", open("open"), "policies/a.cedar", narrow("a"))}); err != nil || n.State != "active" {
		t.Errorf("a change beside it: %+v, %v", n, err)
	}
	// What waited for another state of things is outdated, not in force later.
	for n, err := range r.api.Snapshots(t.Context(), client.ListQuery{}) {
		if err != nil || n.State == "waiting" {
			t.Errorf("still waiting: %+v, %v", n, err)
		}
	}
}

func TestATokenThatSeveralHoldIsNobodysFirstYes(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	r.administrator("ada")
	r.administrator("mara")
	n, err := r.api.PutSnapshot(t.Context(), client.PutSnapshot{Files: files("policies/open.cedar", open("open"))})
	if err != nil || n.State != "waiting" {
		t.Fatalf("%+v, %v", n, err)
	}
	mara := r.browsing("mara")
	if n, err = mara.ConfirmSnapshot(t.Context(), n.Digest); err != nil || n.State != "waiting" || len(n.Confirmed) != 1 {
		t.Errorf("whoever sent it may be mara: %+v, %v", n, err)
	}
	for _, c := range []*client.Client{mara, r.browsing("mara")} {
		if _, err := c.ConfirmSnapshot(t.Context(), n.Digest); status(err) != http.StatusConflict {
			t.Errorf("mara again: %v", err)
		}
	}
	if n, err = r.browsing("ada").ConfirmSnapshot(t.Context(), n.Digest); err != nil || n.State != "active" {
		t.Errorf("two people: %+v, %v", n, err)
	}
}

func TestTakingBackDoesNotBringBackWhatNobodyConfirms(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	digest := r.waitingSnapshot()
	if _, err := r.browsing("mara").ConfirmSnapshot(t.Context(), digest); err != nil {
		t.Fatal(err)
	}
	r.push("policies/a.cedar", narrow("a"))
	n, err := r.api.ActivateSnapshot(t.Context(), digest, client.ActOn{})
	if err != nil || n.State != "waiting" {
		t.Errorf("an old open set comes back: %+v, %v", n, err)
	}
}

func TestWhatWaitsTooLongIsClosed(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	digest := r.waitingSnapshot()
	kept := snapshot.New(r.db)
	n, err := kept.Get(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kept.Change(t.Context(), n.Sequence, func(e *snapshot.Entry) error {
		e.Expires = time.Now().Add(-time.Second)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.browsing("mara").ConfirmSnapshot(t.Context(), digest); status(err) != http.StatusConflict {
		t.Errorf("confirmed too late: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // Run looks once
	if err := r.library.Run(ctx); err != nil {
		t.Fatal(err)
	}
	r.halt()
}

func TestWhatWaitsIsWithdrawn(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	digest := r.waitingSnapshot()
	before := r.inForce()
	n, err := r.browsing("mara").WithdrawSnapshot(t.Context(), digest, client.ActOn{Reason: "not what was meant"})
	if err != nil || n.State != "withdrawn" || n.EndedWhy != "not what was meant" || !strings.HasPrefix(n.EndedBy, "person:") || n.Ended == nil {
		t.Fatalf("%+v, %v", n, err)
	}
	if n.AuthorName != "ada" || n.AuthorPerson == "" {
		t.Errorf("its author is %q (%s), want ada", n.AuthorName, n.AuthorPerson)
	}
	if _, err := r.browsing("mara").ConfirmSnapshot(t.Context(), digest); status(err) != http.StatusConflict {
		t.Errorf("confirmed after it was withdrawn: %v", err)
	}
	if _, err := r.api.WithdrawSnapshot(t.Context(), digest, client.ActOn{}); status(err) != http.StatusConflict {
		t.Errorf("withdrawn twice: %v", err)
	}
	if _, err := r.api.WithdrawSnapshot(t.Context(), before.Digest, client.ActOn{}); status(err) != http.StatusConflict {
		t.Errorf("what is in force is withdrawn: %v", err)
	}
	if now := r.inForce(); now.Sequence != before.Sequence {
		t.Errorf("something changed: %+v", now)
	}
	if acts := r.acts(); acts["policy.withdraw"] != 1 {
		t.Errorf("acts: %v", acts)
	}
	// Sent again it waits again; nothing of the one before counts for it.
	if again := r.waitingSnapshot(); again != digest {
		t.Errorf("sent again: %s", again)
	}
	if _, err := r.api.WithdrawSnapshot(t.Context(), digest, client.ActOn{Reason: "two\nlines"}); status(err) != http.StatusUnprocessableEntity {
		t.Errorf("a reason of two lines: %v", err)
	}
	if n, err := r.browsing("mara").ConfirmSnapshot(t.Context(), digest); err != nil || n.State != "active" {
		t.Errorf("confirmed: %+v, %v", n, err)
	}
}

func TestASnapshotSaysHowMuchIsDifferent(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	r.push("policies/a.cedar", narrow("a"), "policies/b.cedar", narrow("b"), "policies/c.cedar", narrow("c"))
	n := r.push("policies/a.cedar", narrow("a"), "policies/b.cedar", strings.Replace(narrow("b"), "nowhere", "elsewhere", 1), "policies/d.cedar", narrow("d")+narrow("e"))
	if diff := cmp.Diff(&client.SnapshotChange{Files: 3, Added: 2, Removed: 1, Changed: 1}, n.Change); diff != "" {
		t.Errorf("change (-want +got):\n%s", diff)
	}
	if back, err := r.api.ActivateSnapshot(t.Context(), n.Parent, client.ActOn{}); err != nil || back.Change == nil || back.Change.Added != 1 || back.Change.Removed != 2 {
		t.Errorf("taken back: %+v, %v", back, err)
	}
}

func TestTheBundleIsWhatIsInForce(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), func(c *config.Config) { c.Guards.RiskDeny = 70 })
	was := r.push("policies/a.cedar", narrow("a"), "grants/g.yaml", "grants:\n  - id: ledger\n    template: grant\n    with: {principal: 'environment:production', resource: ledger}\n")
	key, err := r.api.GetPolicyKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := bundle.ParseKeys([]byte(key.PEM))
	if err != nil || bundle.KeyID(keys[0]) != key.ID {
		t.Fatalf("key: %+v, %v", key, err)
	}
	trust := bundle.Trust{Keys: keys, Leeway: time.Minute}
	fetch := func(digest string) (*bundle.Bundle, error) {
		var data bytes.Buffer
		if err := r.api.GetSnapshotBundle(t.Context(), digest, &data); err != nil {
			return nil, err
		}
		return bundle.Open(data.Bytes(), trust)
	}
	b, err := fetch(was.Digest)
	if err != nil {
		t.Fatal(err)
	}
	set, err := b.Load()
	if err != nil || set.Digest() != was.Effective || set.Settings().RiskDeny != 70 || b.Manifest.Sequence != was.Sequence {
		t.Errorf("loaded: %+v, %v", b.Manifest, err)
	}
	if _, there := b.Files["generated/g.cedar"]; !there || len(library.Source(b.Files)) != 2 {
		t.Errorf("files: %v", b.Files)
	}
	now := r.push("policies/b.cedar", narrow("b"))
	trust.Leeway = 0
	if _, err := fetch(was.Digest); !errors.Is(err, bundle.ErrExpired) {
		t.Errorf("what is no longer in force: %v, want %v", err, bundle.ErrExpired)
	}
	trust.Leeway = time.Minute
	if b, err = fetch(now.Digest); err != nil || b.Manifest.Parent != was.Digest {
		t.Fatalf("what is: %+v, %v", b, err)
	}
	trust.Seen = b.Seen()
	// Other numbers in the guards are another set, signed anew under the same sequence.
	guards := r.library.Holder().Set().Settings()
	guards.RiskDeny = 60
	if err := r.library.Holder().Configure(guards); err != nil {
		t.Fatal(err)
	}
	again, err := fetch(now.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if set, err := again.Load(); err != nil || set.Settings().RiskDeny != 60 || !again.Manifest.Created.After(b.Manifest.Created) {
		t.Errorf("after a change of the guards: %+v, %v", again.Manifest, err)
	}
	if _, err := bundle.Inspect(nil, []ed25519.PublicKey{keys[0]}); err == nil {
		t.Error("nothing is a bundle")
	}
}

func TestASnapshotIsFoundByItsBeginning(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir())
	n := r.push("policies/a.cedar", narrow("a"))
	for _, digest := range []string{n.Digest, n.Digest[:8]} {
		if got, err := r.api.GetSnapshot(t.Context(), digest); err != nil || got.Sequence != n.Sequence {
			t.Errorf("%s: %+v, %v", digest, got, err)
		}
	}
	for _, digest := range []string{n.Digest[:7], "00000000", "' OR 1=1 --", strings.ToUpper(n.Digest), "../key", strings.Repeat("0", 64)} {
		if _, err := r.api.GetSnapshot(t.Context(), digest); !client.IsNotFound(err) {
			t.Errorf("%q: %v", digest, err)
		}
	}
}
