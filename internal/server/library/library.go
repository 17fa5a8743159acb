// Package library keeps the policies of an installation and their history.
//
// Every change makes a snapshot, whichever way it comes: a folder that is pushed,
// the document policies.cedar, or an older snapshot that is put into force again.
// Before anything is stored everything is tried: names, syntax, schema, the rules
// of the house, the templates of grants, the tests in the folder. What is wrong is
// refused with file and line, and nothing has changed. What is right is compiled
// first, then stored, then in force by one pointer: a decision meets the old set or
// the new one, never a mixture.
//
// A permit that names neither a principal nor a resource lets everybody do
// everything that its conditions do not think of. One that was not in force already
// waits until two different people stand behind it: its author, if that is somebody
// who signed in, and administrators who confirm it. A token that several may hold is
// nobody's yes. Where there are no two administrators it is refused, and the refusal
// says what to do.
//
// What is sent to go through gates becomes a promotion (package decision/promotion):
// tried in the shadow, then deciding for a growing share of the principals, then for
// everybody and watched. It goes on by itself, survives a restart, and is taken back
// at once when attested identities are denied what they were allowed: also when the
// server dies between that and the row that says so, because whoever starts it again
// judges what is on record first. Anything else that is put into force meanwhile ends
// it.
//
// The set in force is signed as a bundle (package policy/bundle) for whoever decides
// elsewhere, again and again, so that it never ends while this server lives.
package library

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/access"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/decision/promotion"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/bundle"
	"github.com/muster-id/muster/internal/policy/force"
	"github.com/muster-id/muster/internal/store"
	kept "github.com/muster-id/muster/internal/store/snapshot"
)

// File is the document that is one file of the library.
const File = "policies.cedar"

// WaitLife is how long a snapshot waits for a second administrator.
const WaitLife = 72 * time.Hour

// maxNote bounds a note, in bytes.
const maxNote = 500

// Config is what a Library needs.
type Config struct {
	DB    *store.DB
	Store *kept.Store
	// Guards are the settings of the built-in guards at the start.
	Guards policy.Settings
	// Key signs bundles.
	Key ed25519.PrivateKey
	// People are those who have signed in, and Grants what one of them holds.
	People func(ctx context.Context) ([]access.Person, error)
	Grants func(access.Person) []access.Grant
	// Record takes what is due into the audit log.
	Record func(ctx context.Context) error
	// Clean takes secrets out of text. Text that it would change is refused.
	Clean func(string) string
	// Gates are the gates of promotions, as they are configured now.
	Gates func() promotion.Settings
	// MaxFactsAge is the setting of decisions by that name, now.
	MaxFactsAge func() time.Duration
	// Tap has offer called with every decision that is put on record; nil ends that.
	Tap func(offer func(*nhi.Decision))
	// Recorded yields the decisions that are on record since a time; an error is
	// the last.
	Recorded func(ctx context.Context, since time.Time) iter.Seq2[nhi.Decision, error]
}

// A Library keeps the policies in force and their history. It implements
// frame.Library, and is safe for concurrent use.
type Library struct {
	c      Config
	holder *force.Holder

	rollout atomic.Pointer[rollout] // the promotion under way; changed with mu held
	queue   chan *nhi.Decision
	dropped atomic.Int64
	tripped chan struct{}

	opened, rolledBack atomic.Int64 // gates, promotions; since the process started

	mu       sync.Mutex // one change at a time; guards what follows
	active   nhi.Snapshot
	files    map[string]string // of active
	compiled []compiled        // the most recent first
	signed   signed
	doubts   doubts
}

// compiled is a set that was in force or is tried.
type compiled struct {
	digest string // of the files
	set    *policy.Set
}

// maxCompiled is how many sets are kept, so that going back compiles nothing.
const maxCompiled = 4

// Open returns the library in the store with what is in force, compiled. A store of
// an earlier release has no history: it begins with the policies that are there.
func Open(ctx context.Context, c Config) (*Library, error) {
	l := &Library{c: c, queue: make(chan *nhi.Decision, waitingDecisions), tripped: make(chan struct{}, 1)}
	document, err := l.document(ctx)
	if err != nil {
		return nil, err
	}
	l.active, err = c.Store.Active(ctx)
	switch {
	case errors.Is(err, nhi.ErrNotFound):
		l.files = with(nil, document)
		err = l.begin(ctx, "as it was when the history began")
	case err == nil:
		if l.files, err = c.Store.Files(ctx, l.active.Digest); err != nil {
			return nil, err
		}
		// An earlier release that ran in between knows the document alone.
		if l.files[File] != document {
			l.files = with(l.files, document)
			err = l.begin(ctx, "policies.cedar, as an earlier release left it")
		}
	}
	if err != nil {
		return nil, err
	}
	l.holder, err = force.New(c.Guards, bundle.Policies(l.files))
	if err != nil {
		return nil, err
	}
	return l, l.resume(ctx)
}

func (l *Library) document(ctx context.Context) (string, error) {
	var body []byte
	err := l.c.DB.Read(ctx, func(tx *store.Tx) error {
		d, err := tx.Document(ctx, File)
		if errors.Is(err, nhi.ErrNotFound) {
			return nil
		}
		body = d.Body
		return err
	})
	return string(body), err
}

// with is files with another document; an empty one is none.
func with(files map[string]string, document string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		out[name] = text
	}
	if delete(out, File); document != "" {
		out[File] = document
	}
	return out
}

// begin makes an entry of what is in force already.
func (l *Library) begin(ctx context.Context, note string) error {
	set, err := policy.Load(l.c.Guards, bundle.Policies(l.files))
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	l.active, err = l.c.Store.Add(ctx, kept.Entry{Files: l.files, Snapshot: nhi.Snapshot{
		Digest: bundle.Digest(l.files), Parent: l.active.Digest, State: nhi.SnapshotActive, Author: "server", Note: note,
		At: now, Activated: now, Files: len(l.files), Policies: own(set), Effective: set.Digest(),
	}}, nil)
	return err
}

// own counts the policies of a set that are no guards.
func own(set *policy.Set) (n int) {
	for _, p := range set.Policies() {
		if !p.Guard {
			n++
		}
	}
	return n
}

// Holder has the set in force.
func (l *Library) Holder() *force.Holder { return l.holder }

// Put puts files into force in place of all that are, or has them wait. The error
// wraps nhi.ErrInvalid and names file and line when something is wrong with them, and
// nhi.ErrConflict when parent, unless it is empty, is not what is in force.
func (l *Library) Put(ctx context.Context, by frame.Caller, p client.PutSnapshot) (client.Snapshot, error) {
	files := map[string]string{}
	for _, f := range p.Files {
		if _, twice := files[f.Name]; twice {
			return client.Snapshot{}, nhi.Invalidf("file %.200q stands twice", f.Name)
		}
		files[f.Name] = f.Text
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.Parent != "" && !strings.HasPrefix(l.active.Digest, p.Parent) {
		return client.Snapshot{}, fmt.Errorf("what is in force is not %s but %s: look at what changed and send it again: %w", kept.Short(p.Parent), kept.Short(l.active.Digest), nhi.ErrConflict)
	}
	checked, err := l.check(ctx, files)
	if err != nil {
		return client.Snapshot{}, err
	}
	n, err := l.draft(ctx, by, p.Note, checked)
	if err == nil {
		err = l.gate(&n, p.Staged)
	}
	if err != nil {
		return client.Snapshot{}, err
	}
	if !p.DryRun {
		if n, err = l.add(ctx, n, checked, "policy.activate"); err != nil {
			return client.Snapshot{}, err
		}
	}
	out := toSnapshot(&n)
	out.Warnings = problems(checked.warnings)
	return out, nil
}

// PutDocument replaces the one file that is the document policies.cedar. A document
// is in force or refused: what would have to wait is refused.
func (l *Library) PutDocument(ctx context.Context, actor string, body []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	checked, err := l.check(ctx, with(l.files, string(body)))
	if err != nil {
		return err
	}
	n, err := l.draft(ctx, frame.Caller{}, "policies.cedar was applied", checked)
	if len(n.Why) > 0 {
		return nhi.Invalidf("%s; a second administrator has to confirm that, which a document cannot wait for: send it with muster policy push", n.Why[0])
	}
	if err == nil {
		err = l.gate(&n, false)
	}
	if err != nil {
		return err
	}
	if n.Digest == l.active.Digest { // it says what is so, and was applied all the same
		_, err := l.c.DB.Write(ctx, func(tx *store.Tx) error {
			_, err := tx.PutDocument(ctx, File, body)
			return err
		})
		return err
	}
	n.Author = actor
	_, err = l.add(ctx, n, checked, "policy.activate")
	return err
}

// Activate puts an older snapshot into force again, which makes a new entry.
func (l *Library) Activate(ctx context.Context, by frame.Caller, digest, note string) (client.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, err := l.c.Store.Get(ctx, digest)
	if err != nil {
		return client.Snapshot{}, err
	}
	if old.State == nhi.SnapshotWaiting {
		return client.Snapshot{}, fmt.Errorf("snapshot %s waits for a second administrator, who confirms it in the console: %w", kept.Short(old.Digest), nhi.ErrConflict)
	}
	checked, err := l.again(ctx, &old)
	if err != nil {
		return client.Snapshot{}, err
	}
	n, err := l.draft(ctx, by, note, checked)
	if err != nil {
		return client.Snapshot{}, err
	}
	act := "policy.activate"
	if old.State == nhi.SnapshotPast && !old.TakenBack {
		act = "policy.rollback" // without gates: it was in force, and may be needed at once
	} else if err := l.gate(&n, false); err != nil {
		return client.Snapshot{}, err
	}
	if n, err = l.add(ctx, n, checked, act); err != nil {
		return client.Snapshot{}, err
	}
	return toSnapshot(&n), nil
}

// draft is the entry that checked would become.
func (l *Library) draft(ctx context.Context, by frame.Caller, note string, c *checked) (nhi.Snapshot, error) {
	if err := oneLine("note", note); err != nil {
		return nhi.Snapshot{}, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	n := nhi.Snapshot{
		Digest: c.digest, Parent: l.active.Digest, State: nhi.SnapshotActive, Author: by.Actor(), Person: by.Person, Note: l.c.Clean(note), At: now,
		Files: len(c.files), Policies: own(c.set), Effective: c.set.Digest(), Change: change(l.files, c.files, l.holder.Set(), c.set),
	}
	if n.Why = l.broad(c.set); len(n.Why) == 0 {
		n.Activated = now
		return n, nil
	}
	n.State, n.Expires = nhi.SnapshotWaiting, now.Add(WaitLife)
	return n, l.possible(ctx, &n)
}

// gate has an entry go through the gates of a promotion, if that is wanted and
// something follows from it; if it has to and does not, the error says how.
func (l *Library) gate(n *nhi.Snapshot, staged bool) error {
	if n.Effective == l.holder.Set().Digest() || n.Digest == l.active.Digest {
		return nil // no decision can come out otherwise
	}
	if !staged {
		if l.c.Gates().Required {
			return fmt.Errorf("policies come into force through gates here (promotion.required): send them with muster policy push --staged: %w", nhi.ErrConflict)
		}
		return nil
	}
	if n.Gated = true; n.State == nhi.SnapshotActive {
		n.State, n.Activated = nhi.SnapshotStaged, time.Time{}
	}
	return nil
}

// change counts what is different after another library takes the place of one.
func change(before, after map[string]string, was, is *policy.Set) *nhi.SnapshotChange {
	c := &nhi.SnapshotChange{}
	for name, text := range after {
		if old, there := before[name]; !there || old != text {
			c.Files++
		}
	}
	for name := range before {
		if _, there := after[name]; !there {
			c.Files++
		}
	}
	old := map[string]string{}
	for _, p := range was.Policies() {
		if !p.Guard {
			old[p.ID] = p.Source
		}
	}
	for _, p := range is.Policies() {
		source, there := old[p.ID]
		switch {
		case p.Guard:
			continue
		case !there:
			c.Added++
		case source != p.Source:
			c.Changed++
		}
		delete(old, p.ID)
	}
	c.Removed = len(old)
	return c
}

// possible returns an error that says what to do when there are no two people who
// could stand behind an entry.
func (l *Library) possible(ctx context.Context, n *nhi.Snapshot) error {
	people, err := l.administrators(ctx)
	if err != nil {
		return err
	}
	if n.Person != "" && !slices.Contains(people, n.Person) {
		people = append(people, n.Person)
	}
	if len(people) >= 2 {
		return nil
	}
	return fmt.Errorf("%s: two administrators have to stand behind that, and %d signed in as themselves so far; name a principal or a resource in it, or let somebody sign in with the organisation's provider and make them one (muster person set-role ADDRESS admin): %w", n.Why[0], len(people), nhi.ErrConflict)
}

// administrators are the ids of the people who may administer everything.
func (l *Library) administrators(ctx context.Context) ([]string, error) {
	people, err := l.c.People(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range people {
		if !p.Disabled && access.PermitsOf(l.c.Grants(p)).MayEverywhere(access.Administer) {
			out = append(out, p.ID)
		}
	}
	return out, nil
}

// broad says of each permit that names nobody and nothing, and that is not in force
// already, where it stands.
func (l *Library) broad(set *policy.Set) []string {
	known := map[string]bool{}
	for _, p := range l.holder.Set().Policies() {
		if p.Unscoped {
			known[p.Source] = true
		}
	}
	var why []string
	for _, p := range set.Policies() {
		if p.Unscoped && !p.Guard && p.Effect == "permit" && !known[p.Source] {
			why = append(why, fmt.Sprintf("%s: policy %q permits whatever its conditions do not exclude to everybody, on everything", p.Position, p.ID))
		}
	}
	return why
}

// add stores an entry, and puts it into force unless it waits. act is what the audit
// log calls it.
func (l *Library) add(ctx context.Context, n nhi.Snapshot, c *checked, act string) (nhi.Snapshot, error) {
	if n.Digest == l.active.Digest {
		return l.active, nil
	}
	if n.State == nhi.SnapshotWaiting {
		waiting, err := l.c.Store.Waiting(ctx)
		if err != nil {
			return n, err
		}
		if i := slices.IndexFunc(waiting, func(w nhi.Snapshot) bool { return w.Digest == n.Digest && w.Parent == n.Parent }); i >= 0 {
			return waiting[i], nil
		}
	}
	e := kept.Entry{Snapshot: n, Files: c.files}
	if err := l.beside(&e, c, n.Author, n.At); err != nil {
		return n, err
	}
	n, err := l.c.Store.Add(ctx, e, func(e *kept.Entry) {
		switch e.State {
		case nhi.SnapshotWaiting:
			act, e.Notices = "policy.propose", notices(&e.Snapshot)
		case nhi.SnapshotStaged:
			act, e.Promotion.Sequence = "policy.promote", e.Sequence
		}
		e.Acts = []nhi.Act{actOf(&e.Snapshot, act, e.Author, e.At)}
	})
	if err != nil {
		return n, err
	}
	if err := l.enter(n, c, e.Promotion); err != nil {
		return n, err
	}
	return n, l.c.Record(ctx)
}

// beside adds to an entry what follows from its state. It needs l.mu.
func (l *Library) beside(e *kept.Entry, c *checked, by string, at time.Time) (err error) {
	switch e.State {
	case nhi.SnapshotActive:
		l.replaceDocument(e, c.files)
		e.Promotion = l.outdated(by, at)
	case nhi.SnapshotStaged:
		e.Promotion, err = l.began(&e.Snapshot, at)
	}
	return err
}

// enter does what follows from an entry that was stored. It needs l.mu.
func (l *Library) enter(n nhi.Snapshot, c *checked, p *kept.Promotion) error {
	switch n.State {
	case nhi.SnapshotActive:
		l.stop()
		return l.follow(n, c)
	case nhi.SnapshotStaged:
		p.Sequence = n.Sequence
		return l.start(p.Promotion, nhi.PromotionFound{}, c, false)
	}
	return nil
}

// replaceDocument has the document follow the file that it is.
func (l *Library) replaceDocument(e *kept.Entry, files map[string]string) {
	if files[File] != l.files[File] {
		e.Name, e.Document = File, []byte(files[File])
	}
}

// follow puts what was stored into force. It needs l.mu.
func (l *Library) follow(n nhi.Snapshot, c *checked) error {
	l.active, l.files = n, c.files
	l.remember(c)
	if err := l.holder.Use(force.Side{Set: c.set, Files: bundle.Policies(c.files)}); err != nil {
		return fmt.Errorf("snapshot %s is stored and could not be put into force; restart the server: %w", kept.Short(n.Digest), err)
	}
	return nil
}

func (l *Library) remember(c *checked) {
	l.compiled = slices.DeleteFunc(l.compiled, func(x compiled) bool { return x.digest == c.digest })
	l.compiled = slices.Insert(l.compiled, 0, compiled{c.digest, c.set})
	l.compiled = l.compiled[:min(len(l.compiled), maxCompiled)]
}

// again is what an older snapshot was: its files as they were stored, compiled anew
// only if they are not remembered under the settings of now.
func (l *Library) again(ctx context.Context, old *nhi.Snapshot) (*checked, error) {
	files, err := l.c.Store.Files(ctx, old.Digest)
	if err != nil {
		return nil, err
	}
	settings := l.holder.Set().Settings()
	for _, c := range l.compiled {
		if c.digest == old.Digest && c.set.Settings() == settings {
			return &checked{digest: old.Digest, files: files, set: c.set}, nil
		}
	}
	set, err := l.holder.Prepare(bundle.Policies(files))
	if err != nil {
		return nil, fmt.Errorf("snapshot %s no longer loads: %w", kept.Short(old.Digest), err)
	}
	return &checked{digest: old.Digest, files: files, set: set}, nil
}

// Run closes what waited too long, signs anew, and has promotions go on, until ctx
// ends.
func (l *Library) Run(ctx context.Context) error {
	var working sync.WaitGroup
	working.Go(func() { l.judges(ctx) })
	working.Go(func() { l.promotes(ctx) })
	defer working.Wait()
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := l.expire(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Warn("snapshots that waited too long could not be closed; tried again in a minute", "error", err)
		}
		if _, _, err := l.Bundle(ctx); err != nil && ctx.Err() == nil {
			slog.Error("the policies in force could not be signed; points elsewhere go on with the bundle that they have until it ends", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// expire closes what waited too long.
func (l *Library) expire(ctx context.Context, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting, err := l.c.Store.Waiting(ctx)
	if err != nil {
		return err
	}
	some := false
	for _, n := range waiting {
		if now.Before(n.Expires) {
			continue
		}
		some = true
		_, err := l.c.Store.Change(ctx, n.Sequence, func(e *kept.Entry) error {
			e.State, e.Ended = nhi.SnapshotExpired, now.UTC().Truncate(time.Microsecond)
			e.Acts = []nhi.Act{actOf(&e.Snapshot, "policy.expire", "server", e.Ended)}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !some {
		return nil
	}
	return l.c.Record(ctx)
}
