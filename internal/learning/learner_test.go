package learning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/stream/mem"
)

// known says that one credential has leaked, so that every use of it is a
// finding at once.
type known struct{}

func (known) Identity(nhi.ID) (detect.IdentityFacts, bool) {
	return detect.IdentityFacts{Name: "settler"}, true
}
func (known) Credential(id nhi.CredentialID) (detect.CredentialFacts, bool) {
	return detect.CredentialFacts{State: nhi.CredentialActive, Leaked: id != ""}, true
}

// A bench is everything around a Learner. Its store, stream and journal live
// on when the Learner does not.
type bench struct {
	t       *testing.T
	dir     string
	db      *store.DB
	stream  stream.Stream
	journal *journal.Journal
	inv     *inventory.Service
	notices func(nhi.Finding) []nhi.Notice
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), stream: mem.New(stream.Settings{}), notices: func(nhi.Finding) []nhi.Notice { return nil }}
	var err error
	if b.db, err = enginetest.Open(t, filepath.Join(b.dir, "db")); err != nil {
		t.Fatal(err)
	}
	if b.journal, err = journal.Open(filepath.Join(b.dir, "journal"), journal.Settings{}); err != nil {
		t.Fatal(err)
	}
	oprf, err := fingerprint.NewEvaluator(make([]byte, 32), 1)
	if err != nil {
		t.Fatal(err)
	}
	if b.inv, err = inventory.New(storeinventory.New(b.db), oprf, inventory.DefaultSettings()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(b.stream.Close(), b.journal.Close(), b.db.Close()); err != nil {
			t.Error(err)
		}
	})
	return b
}

// start runs a Learner as after a start; stop ends it as a stop does, and a
// Learner that is not stopped but abandoned has crashed.
func (b *bench) start() (l *Learner, stop func()) {
	b.t.Helper()
	l = &Learner{
		Mind: NewMind(baseline.Settings{}, known{}), Dir: b.dir, DB: b.db, Stream: b.stream, Decisions: b.journal, Inventory: b.inv,
		Notices: b.notices, Wake: func() {}, Decided: make(chan struct{}), Counter: testCounter,
	}
	if err := l.Load(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	b.t.Cleanup(func() { // not at the stop: tests look and save again after it
		if err := l.Close(); err != nil {
			b.t.Error(err)
		}
	})
	return l, func() {
		b.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("stop: %v", err)
		}
	}
}

func (b *bench) until(what string, there func() bool) {
	b.t.Helper()
	limit, tick := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !there() {
		select {
		case <-tick.C:
		case <-limit:
			b.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (b *bench) publish(events ...nhi.Event) {
	b.t.Helper()
	batch, err := stream.EncodeBatch(events)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, _, err := b.stream.Publish(b.t.Context(), stream.ActivityBatch, events[0].ID, batch); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) findings() []nhi.Finding {
	b.t.Helper()
	all, _, err := storerespond.New(b.db).Findings(b.t.Context(), "", "", "", nil, 0, 100)
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

const native = "AIDAQ3EGRZ4KAAAAAAAAA"

var (
	user    = nhi.IdentityID("aws", "1", native)
	userKey = nhi.NewCredentialID("aws", "1", "AKIAQ3EGRZ4KAAAAAAA1")
)

// used is one use of the user's key.
func used(id string, at time.Time) nhi.Event {
	return nhi.Event{
		ID: id, Source: "src", Format: "cloudtrail", Time: at, Provider: "aws", Account: "1", Service: "s3.amazonaws.com", Operation: "GetObject", Class: nhi.Read,
		Status: nhi.Success, Principal: nhi.Principal{Type: "IAMUser", Native: native, Name: "settler", Account: "1", KeyID: "AKIAQ3EGRZ4KAAAAAAA1"},
		Identity: user, Credential: userKey,
	}
}

func TestAFindingOutlivesAStoreThatFailsAndAStopInTheMiddle(t *testing.T) {
	b := newBench(t)
	var broken atomic.Bool
	broken.Store(true)
	b.notices = func(f nhi.Finding) []nhi.Notice {
		n := nhi.Notice{ID: f.ID, Severity: f.Severity, At: f.DetectedAt, Data: json.RawMessage(`{}`)}
		if broken.Load() {
			n.Data = json.RawMessage(`{`) // cannot be written
		}
		return []nhi.Notice{n}
	}
	l, stop := b.start()
	b.publish(used("1", time.Now()))
	b.until("the write to fail", func() bool { return l.Err() != nil })
	stop() // nothing of the batch is stored, so no image may contain it
	broken.Store(false)
	l, stop = b.start()
	b.until("the finding", func() bool { return len(b.findings()) == 1 })
	b.until("the fault to be over", func() bool { return l.Err() == nil })
	stop()
	_, stop = b.start() // and once more, from a good image
	b.publish(used("2", time.Now()))
	b.until("the second use", func() bool { return b.findings()[0].Count == 2 })
	stop()
	if n := len(b.findings()); n != 1 {
		t.Errorf("%d findings, want 1", n)
	}
}

func TestACrashRepeatsNothing(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	b.publish(used("1", time.Now()))
	b.until("the finding", func() bool { return len(b.findings()) == 1 })
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	b.publish(used("2", time.Now()))
	b.until("the second use", func() bool { return b.findings()[0].Count == 2 })
	before := b.findings()
	credential := b.credential()
	// The image lacks the second batch: as after a crash, it is taken again.
	image := filepath.Join(b.dir, Folder)
	keep := filepath.Join(b.dir, "kept")
	if err := copyFolder(image, keep); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := copyFolder(keep, image); err != nil {
		t.Fatal(err)
	}
	l, stop = b.start()
	b.until("the stream to be read again", func() bool { return l.position() == 2 })
	stop()
	if diff := cmp.Diff(before, b.findings()); diff != "" {
		t.Errorf("after the crash (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(credential, b.credential()); diff != "" {
		t.Errorf("after the crash (-before +after):\n%s", diff)
	}
}

func (b *bench) credential() nhi.Credential {
	b.t.Helper()
	c, err := b.inv.Credential(b.t.Context(), userKey)
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestWhatIsDismissedStaysSoHoweverOftenItRecurs(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	b.publish(used("1", time.Now()))
	b.until("the finding and its risk", func() bool { return len(b.findings()) == 1 && b.credential().Risk > 50 })
	f, err := storerespond.New(b.db).SetStatus(t.Context(), b.findings()[0].ID, nhi.Dismissed, nhi.Act{Key: "k", At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Judge(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if got := b.credential().Risk; got != 0 {
		t.Errorf("dismissed, and the risk is %d", got)
	}
	for i := range 4 {
		b.publish(used(fmt.Sprint("more ", i), time.Now()), used(fmt.Sprint("and more ", i), time.Now()))
	}
	b.until("the story to grow", func() bool { return b.findings()[0].Count >= 4 })
	stop()
	_, stop = b.start() // the risk is that of the store, whatever the image says
	b.publish(used("last", time.Now()), used("very last", time.Now()))
	stop()
	if got := b.findings(); len(got) != 1 || got[0].Status != nhi.Dismissed {
		t.Errorf("findings %+v", got)
	}
	if got := b.credential().Risk; got != 0 {
		t.Errorf("a dismissed story brings a risk of %d", got)
	}
}

func TestAReportOfALeakIsNoRiskWhateverPeopleSayOfIt(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	defer stop()
	b.publish(used("1", time.Now().Add(-240*time.Hour))) // so that both exist
	b.until("the credential", func() bool { _, err := b.inv.Credential(t.Context(), userKey); return err == nil })
	risk := b.credential().Risk
	for _, status := range []nhi.FindingStatus{nhi.Acknowledged, nhi.Open, nhi.Dismissed} {
		f := nhi.Finding{ID: "x", Rule: "LEAK-02", Severity: nhi.Critical, Score: 100, Status: status, Identity: user, Credential: userKey, LastSeen: time.Now()}
		if err := l.Judge(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		if got := b.credential().Risk; got != risk {
			t.Errorf("%s: risk %d became %d", status, risk, got)
		}
	}
}

func TestAStolenKeyDoesNotTurnAgainstItsOwner(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	b.publish(used("1", time.Now()))
	b.until("the risk of the key", func() bool { return len(b.findings()) == 1 && b.credential().Risk > 50 })
	// A small finding about the identity itself, such as by its own token.
	own := nhi.Finding{ID: "own", Rule: "DET-07", Severity: nhi.Low, Score: 43, Status: nhi.Open, Identity: user, LastSeen: time.Now(), DetectedAt: time.Now()}
	if err := storerespond.New(b.db).SaveFindings(t.Context(), []nhi.Finding{own}, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Judge(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		i, err := b.inv.Identity(t.Context(), user)
		if err != nil || i.Risk == 0 || i.Risk > 20 {
			t.Errorf("%s the identity has risk %d (%v), want that of its own finding", when, i.Risk, err)
		}
	}
	check("at once")
	stop()
	l, stop = b.start()
	if err := l.fade(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	stop()
	check("after a restart")
	if got := b.credential().Risk; got < 50 {
		t.Errorf("after a restart the key has risk %d", got)
	}
}

func TestDecisionsAreLearnedOnlyOnceTheyAreDurableAndOnlyOfWhoProvedHimself(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	at := time.Now().UTC()
	for i, d := range []nhi.Decision{
		{ID: "a", At: at, Outcome: nhi.Deny, KeyID: "someKeyOfOurs", Action: nhi.Read, Resource: "r"}, // proved nothing
		{ID: "b", At: at, Outcome: nhi.Allow, Identity: user, Asserted: true, Action: nhi.Read, Resource: "r"},
		{ID: "c", At: at, Outcome: nhi.Deny, Identity: user, Action: nhi.Read, Resource: "r"},
	} {
		if err := b.journal.AppendAsync(logbook.Append(nil, &d)); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, err := b.journal.Append([]byte(`{"this is":"no decision"}`)); err != nil {
		t.Fatal(err)
	}
	b.until("the decisions to be read", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.decisions == 4 })
	if l.Mind.Normal.Page(user) != nil {
		t.Error("what was asserted, or refused, is normal now")
	}
	stop()
	if _, err := b.inv.Identity(t.Context(), user); !errors.Is(err, nhi.ErrNotFound) {
		t.Errorf("it is in the inventory: %v", err)
	}
}

func TestAWorkloadThatProvesItselfBesideItsLeakedKeyIsNoFinding(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	d := nhi.Decision{ID: "a", At: time.Now().UTC(), Outcome: nhi.Allow, Identity: user, Credential: userKey, KeyID: "k", Consumer: true, Action: nhi.Read, Resource: "r"}
	if _, err := b.journal.Append(logbook.Append(nil, &d)); err != nil {
		t.Fatal(err)
	}
	d.ID, d.Consumer, d.Outcome = "b", false, nhi.StepUp // somebody else, with the key alone
	if _, err := b.journal.Append(logbook.Append(nil, &d)); err != nil {
		t.Fatal(err)
	}
	b.until("the decisions to be read", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.decisions == 2 })
	stop()
	found := b.findings()
	if len(found) != 1 || found[0].Count != 1 || !cmp.Equal(found[0].Events, []string{"b"}) {
		t.Errorf("findings %+v, want one about the second use only", found)
	}
	if c := b.credential(); c.LastUsed.IsZero() {
		t.Error("that the key was used is not known")
	}
}

func TestAnOlderJournalInItsPlaceIsNotPassedOver(t *testing.T) {
	b := newBench(t)
	l, stop := b.start()
	stop()
	l.activity, l.decisions = 1000, 1000
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	_, stop = b.start()
	defer stop()
	b.publish(used("1", time.Now()))
	b.until("what comes next", func() bool { return len(b.findings()) == 1 })
}

func TestAnotherStreamInItsPlaceIsLearnedFromItsBeginning(t *testing.T) {
	b := newBench(t)
	b.publish(used("1", time.Now()))
	l, stop := b.start()
	b.until("the first finding", func() bool { return len(b.findings()) == 1 })
	stop()
	if l.origin == "" || l.activity != 1 {
		t.Fatalf("the place is %d of %q", l.activity, l.origin)
	}
	b.stream = mem.New(stream.Settings{}) // longer than what was learned from the other
	b.publish(used("2", time.Now().Add(time.Second)))
	b.publish(used("3", time.Now().Add(2*time.Second)))
	l, stop = b.start()
	defer stop()
	b.until("both of the other stream", func() bool { return l.position() == 2 })
	if f := b.findings(); len(f) != 1 || !slices.Contains(f[0].Events, "2") {
		t.Errorf("findings %+v, want one that cites the first message of the other stream", f)
	}
}

func TestAStreamThatIsAwayKeepsNobodyFromStarting(t *testing.T) {
	b := newBench(t)
	away := mem.New(stream.Settings{})
	away.Close()
	there := b.stream
	b.stream = away
	l := &Learner{
		Mind: NewMind(baseline.Settings{}, known{}), Dir: b.dir, DB: b.db, Stream: away, Decisions: b.journal, Inventory: b.inv,
		Notices: b.notices, Wake: func() {}, Decided: make(chan struct{}),
	}
	if err := l.Load(t.Context()); err != nil {
		t.Errorf("Load = %v, want what was learned without a stream", err)
	}
	b.stream = there
}
