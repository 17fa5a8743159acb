package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server/offline"
	"github.com/muster-id/muster/internal/store"
	kept "github.com/muster-id/muster/internal/store/activity"
	"github.com/muster-id/muster/internal/store/sqlite"
	"github.com/muster-id/muster/internal/world"
)

// aDay is what a server does meanwhile, in words.
const aDay = "killed (SIGKILL) at random moments while it imports, takes in logs, decides and contains; after each restart everything that was acknowledged must be there."

// A portion is one delivery of the log: records and one piece that is none.
type portion struct {
	body   []byte
	events int
}

const portionSize = 250

// records is how long the history is that the log is drawn from; there must be
// something left to send in the last round.
const records = 48_000 * rounds / 10

// portions cuts the history of the workloads up, and counts what each of them
// did.
func portions(co *company, records int) (out []portion, did map[nhi.ID]int) {
	did = map[nhi.ID]int{}
	var body bytes.Buffer
	n := 0
	flush := func() {
		fmt.Fprintf(&body, "this is no record, it is piece %d\n", len(out))
		out = append(out, portion{bytes.Clone(body.Bytes()), n})
		body.Reset()
		n = 0
	}
	byName := map[string]nhi.ID{}
	for _, wl := range co.Workloads {
		byName[wl.Name] = wl.Identity
	}
	for line := range co.Gateway(records, nil) {
		var rec struct {
			Who struct {
				Name string `json:"userName"`
			} `json:"userIdentity"`
		}
		if json.Unmarshal(line, &rec) == nil {
			did[byName[rec.Who.Name]]++
		}
		body.Write(append(line, '\n'))
		if n++; n == portionSize {
			flush()
		}
	}
	flush()
	return out, did
}

// A contained is a leak whose containment was acknowledged.
type contained struct {
	key    client.NewCredential
	action string
	whose  *world.Workload
}

// Acknowledged is what the server said is done. It must be there after every
// restart.
type acknowledged struct {
	mu        sync.Mutex // guards what follows
	imports   [][]nhi.ID // identities of each import
	portions  int        // of the log, in order
	sensitive []string   // decisions that had to be on record first
	contained []contained
	repeats   int // portions sent again on purpose
}

// A chaos is one company's day with a server that keeps dying.
type chaos struct {
	*company
	rnd      *rand.Rand
	portions []portion
	imports  []elsewhere
	done     acknowledged
	open     func(*testing.T) *store.DB
	records  int // of the log
}

// An elsewhere is the account of another organisation, imported on the way.
type elsewhere struct {
	details []byte
	ids     []nhi.ID
}

// otherAccounts makes accounts that no other import touches.
func otherAccounts(t *testing.T, co *company, n int) []elsewhere {
	t.Helper()
	var out []elsewhere
	for i := range n {
		account := fmt.Sprintf("7%011d", i)
		var doc struct{ UserDetailList, GroupDetailList, RoleDetailList, Policies []map[string]any }
		var e elsewhere
		for u := range 60 {
			native := fmt.Sprintf("AIDA%013d%04d", i, u)
			name := fmt.Sprintf("worker-%d-%d", i, u)
			doc.UserDetailList = append(doc.UserDetailList, map[string]any{
				"Path": "/", "UserName": name, "UserId": native, "Arn": "arn:aws:iam::" + account + ":user/" + name, "CreateDate": "2026-01-02T03:04:05Z",
			})
			e.ids = append(e.ids, nhi.IdentityID("aws", account, native))
		}
		var err error
		if e.details, err = json.Marshal(doc); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestNothingAcknowledgedIsLostByKillingTheServer(t *testing.T) {
	c := newChild(t)
	c.start(t)
	co := newCompany(t, c)
	began := time.Now()
	parts, did := portions(co, records)
	k := &chaos{company: co, rnd: rand.New(rand.NewPCG(seed, uint64(began.UnixNano()))), portions: parts, imports: otherAccounts(t, co, 40*rounds), records: records, open: func(t *testing.T) *store.DB {
		db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: c.data, Settings: store.Settings{Program: "test"}})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}}
	for round := range rounds {
		k.live(t, time.Duration(50+k.rnd.IntN(1200))*time.Millisecond, func() { c.kill(t) })
		c.start(t)
		k.check(t, round)
		if t.Failed() {
			t.Fatalf("round %d; the server said:\n%.4000s", round, c.out)
		}
	}
	k.rest(t)
	c.stop(t)
	k.audit(t)
	k.folder(t, did)
	a := &k.done
	figures := fmt.Sprintf("%d kills in %s: %d imports, %d portions of %d records (%d sent again), %d sensitive decisions and %d containments acknowledged, all there, none twice",
		rounds, time.Since(began).Round(time.Second), len(a.imports), a.portions, portionSize, a.repeats, len(a.sensitive), len(a.contained))
	t.Log(figures)
	if len(a.imports) == 0 || a.portions == 0 || len(a.sensitive) == 0 || len(a.contained) == 0 {
		t.Error("somebody got nothing done; the test proves nothing")
	}
	record(t, "kill.md", "Killing the server", "The server is "+aDay, figures)
}

// live lets everybody work until something is killed, after a while.
func (k *chaos) live(t *testing.T, while time.Duration, kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, work := range []func(context.Context) error{k.importing, k.replaying, k.deciding, k.containing} {
		wg.Go(func() {
			for ctx.Err() == nil && work(ctx) == nil {
			}
		})
	}
	<-time.After(while)
	kill()
	cancel()
	wg.Wait()
}

// importing imports the next account. It returns an error when the server is
// gone; the same account is then sent again.
func (k *chaos) importing(ctx context.Context) error {
	k.done.mu.Lock()
	next := k.imports[len(k.done.imports)%len(k.imports)]
	k.done.mu.Unlock()
	if _, err := k.api.ImportAWS(ctx, map[string]io.Reader{"authorization-details": bytes.NewReader(next.details)}); err != nil {
		return err
	}
	k.done.mu.Lock()
	defer k.done.mu.Unlock()
	k.done.imports = append(k.done.imports, next.ids)
	return nil
}

// replaying sends the next portion of the log, now and then one that was
// acknowledged already.
func (k *chaos) replaying(ctx context.Context) error {
	k.done.mu.Lock()
	at := k.done.portions
	again := at > 0 && (at == len(k.portions) || at%7 == 3 && k.done.repeats < at)
	if again {
		at = (at * 31) % k.done.portions
		k.done.repeats++
	}
	k.done.mu.Unlock()
	if err := k.deliver(ctx, at); err != nil || again {
		return err
	}
	k.done.mu.Lock()
	defer k.done.mu.Unlock()
	k.done.portions++
	return nil
}

func (k *chaos) deliver(ctx context.Context, at int) error {
	p := k.portions[at]
	got, err := k.logs.ReceiveLogs(ctx, "cloudtrail", bytes.NewReader(p.body))
	if err != nil {
		return err
	}
	if got.Events != p.events || got.Unparsable != 1 {
		return fmt.Errorf("portion %d: %+v", at, got)
	}
	return nil
}

// deciding makes decisions that must be on record before they are given.
func (k *chaos) deciding(ctx context.Context) error {
	wl := k.Workloads[0]
	tok, err := k.exchange(ctx, wl)
	if err != nil {
		return err
	}
	route := world.Route{Method: "POST", Host: "platform.harborpine.example", Path: "/keys"}
	for range 20 {
		status, id, err := k.askBound(ctx, wl, tok, route, route.Path)
		if err != nil {
			return err
		}
		if status != 200 {
			return fmt.Errorf("a bound caller is answered %d (decision %s)", status, id)
		}
		k.done.mu.Lock()
		k.done.sensitive = append(k.done.sensitive, id)
		k.done.mu.Unlock()
	}
	return nil
}

// containing leaks a new key and reports the proof.
func (k *chaos) containing(ctx context.Context) error {
	k.done.mu.Lock()
	n := len(k.done.contained)
	k.done.mu.Unlock()
	wl := k.Workloads[n%len(k.Workloads)]
	key, err := k.key(ctx, wl)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(k.child.data), "repository-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "settings.yaml"), []byte("key: "+key.Key+"\n"), 0o600); err != nil {
		return err
	}
	var replies []client.SightingReply
	_, err = offline.Scan(ctx, offline.ScanSettings{Path: dir, Reporter: &offline.Reporter{
		Client: k.scanner, Replied: func(_ leak.Record, r client.SightingReply) { replies = append(replies, r) },
	}})
	if err != nil {
		return err
	}
	for _, r := range replies {
		if r.Action != nil && r.Credential == key.ID {
			k.done.mu.Lock()
			k.done.contained = append(k.done.contained, contained{key, r.Action.ID, wl})
			k.done.mu.Unlock()
			return nil
		}
	}
	return fmt.Errorf("the leak of %s was not contained: %+v", key.ID, replies)
}

// check looks for everything that was acknowledged.
func (k *chaos) check(t *testing.T, round int) {
	t.Helper()
	ctx := t.Context()
	for i, ids := range k.done.imports {
		for _, id := range []nhi.ID{ids[0], ids[len(ids)/2], ids[len(ids)-1]} {
			var who client.IdentityDetail
			if err := k.api.Get(ctx, "/v1/identities/"+string(id), nil, &who); err != nil {
				t.Errorf("round %d: identity %s of the acknowledged import %d: %v", round, id, i, err)
			}
		}
	}
	k.whole(t, round)
	for _, c := range k.done.contained {
		var cred client.Credential
		if err := k.api.Get(ctx, "/v1/credentials/"+c.key.ID, nil, &cred); err != nil || cred.State != "narrowed" {
			t.Errorf("round %d: the contained key %s is %q (%v)", round, c.key.ID, cred.State, err)
		}
		route, target := c.whose.Usual(k.rnd)
		status, id, err := k.ask(ctx, c.whose.Home, c.whose.Agent, route, target, map[string]string{"Authorization": "Bearer " + c.key.Key})
		if err != nil || status/100 == 2 {
			t.Errorf("round %d: the contained key %s is answered %d (decision %s, %v)", round, c.key.ID, status, id, err)
		}
	}
	k.acts(t, round)
	k.audit(t)
}

// whole checks that the import that was under way is there as a whole or not
// at all.
func (k *chaos) whole(t *testing.T, round int) {
	t.Helper()
	pending := k.imports[len(k.done.imports)%len(k.imports)]
	there := 0
	for _, id := range pending.ids {
		var who client.IdentityDetail
		switch err := k.api.Get(t.Context(), "/v1/identities/"+string(id), nil, &who); {
		case err == nil:
			there++
		case !client.IsNotFound(err):
			t.Errorf("round %d: %v", round, err)
		}
	}
	if there != 0 && there != len(pending.ids) {
		t.Errorf("round %d: %d of %d identities of an import are there", round, there, len(pending.ids))
	}
}

// acts checks that each containment is in the audit log once, and is one
// finding.
func (k *chaos) acts(t *testing.T, round int) {
	t.Helper()
	count := map[string]int{}
	query := url.Values{"limit": {"500"}}
	for {
		var page client.Page[client.Entry]
		if err := k.api.Get(t.Context(), "/v1/audit", query, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			var detail struct {
				Action string `json:"action"`
			}
			if json.Unmarshal(e.Detail, &detail) == nil && detail.Action != "" {
				count[detail.Action]++
			}
		}
		if len(page.Items) == 0 {
			break
		}
		query.Set("before", strconv.FormatUint(page.Items[len(page.Items)-1].Seq, 10))
	}
	for _, c := range k.done.contained {
		if count[c.action] != 1 {
			t.Errorf("round %d: the act %s is %d times in the audit log", round, c.action, count[c.action])
		}
		var found client.Page[client.Finding]
		if err := k.api.Get(t.Context(), "/v1/findings", url.Values{"credential": {c.key.ID}}, &found); err != nil {
			t.Fatal(err)
		}
		leaks := 0
		for _, f := range found.Items {
			if f.Rule == "LEAK-01" {
				leaks += f.Count
			}
		}
		if leaks != 1 {
			t.Errorf("round %d: the leak of %s was found %d times", round, c.key.ID, leaks)
		}
	}
}

// audit runs `muster audit verify`, which needs no server.
func (k *chaos) audit(t *testing.T) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), muster, "audit", "verify", "--data", k.child.data, "-o", "json").CombinedOutput(); err != nil {
		t.Errorf("audit verify: %v\n%s", err, out)
	}
}

// rest sends what is left of the log and waits until all of it was learned.
func (k *chaos) rest(t *testing.T) {
	t.Helper()
	for k.done.portions < len(k.portions) {
		if err := k.deliver(t.Context(), k.done.portions); err != nil {
			t.Fatal(err)
		}
		k.done.portions++
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last := k.lastRecord(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var who client.IdentityDetail
		if err := k.api.Get(ctx, "/v1/identities/"+string(last.who), nil, &who); err != nil {
			t.Fatalf("wait until everything is learned: %v", err)
		}
		if who.LastSeen != nil && !who.LastSeen.Before(last.at) {
			return
		}
		<-tick.C
	}
}

type sight struct {
	who nhi.ID
	at  time.Time
}

// lastRecord is the last record of the history.
func (k *chaos) lastRecord(t *testing.T) sight {
	t.Helper()
	var s sight
	for line := range k.Gateway(k.records, nil) {
		var rec struct {
			At  time.Time `json:"eventTime"`
			Who struct {
				Name string `json:"userName"`
			} `json:"userIdentity"`
		}
		if err := json.Unmarshal(line, &rec); err != nil {
			t.Fatal(err)
		}
		s.at = rec.At
		for _, wl := range k.Workloads {
			if wl.Name == rec.Who.Name {
				s.who = wl.Identity
			}
		}
	}
	return s
}

// folder opens what the stopped server left behind: every record of the log
// was learned once, every piece kept once, every decision recorded once.
func (k *chaos) folder(t *testing.T, did map[nhi.ID]int) {
	t.Helper()
	recorded, allowed := k.decided(t)
	for _, id := range k.done.sensitive {
		if recorded[id] != 1 {
			t.Errorf("the sensitive decision %s is %d times on record", id, recorded[id])
		}
	}
	normal, state, err := checkpoint.OpenFolder(checkpoint.Dir(filepath.Join(k.child.data, learning.Folder)), learning.Specs...)
	if err != nil {
		t.Fatal(err)
	}
	defer normal.Close()
	learned := baseline.New(baseline.Settings{})
	if err := learned.Open(normal, state); err != nil {
		t.Fatal(err)
	}
	for _, wl := range k.Workloads {
		got, want := int(learned.Page(wl.Identity).Count()), did[wl.Identity]
		// Its own allowed requests are learned as well, unless they were news.
		if got < want || got > want+allowed[wl.Identity] {
			t.Errorf("%s: %d events were learned; the log has %d and %d requests were allowed", wl.Name, got, want, allowed[wl.Identity])
		}
	}
	db := k.open(t)
	defer db.Close()
	if n, err := kept.Count(t.Context(), db); err != nil || int(n) != len(k.portions) {
		t.Errorf("%d pieces that are no records are kept, want %d (%v)", n, len(k.portions), err)
	}
}

// decided reads the decision journal: how often each decision is there, and
// how often each identity was allowed something.
func (k *chaos) decided(t *testing.T) (ids map[string]int, allowed map[nhi.ID]int) {
	t.Helper()
	j, err := journal.Open(filepath.Join(k.child.data, "decisions"), journal.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ids, allowed = map[string]int{}, map[nhi.ID]int{}
	for r, err := range j.Read(j.First()) {
		if err != nil {
			t.Fatal(err)
		}
		d, err := logbook.Decode(r.Payload)
		if err != nil {
			t.Fatal(err)
		}
		ids[d.ID]++
		if d.Outcome == nhi.Allow {
			allowed[d.Identity]++
		}
	}
	return ids, allowed
}
