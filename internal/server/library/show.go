package library

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
	"github.com/muster-id/muster/internal/policy/bundle"
	"github.com/muster-id/muster/internal/policy/library"
	kept "github.com/muster-id/muster/internal/store/snapshot"
)

// Life is how long a signed bundle is good for. It is signed anew when half of that
// has passed, so whoever fetches one has at least the other half.
const Life = 24 * time.Hour

// signed is the bundle of what is in force, as it was signed last.
type signed struct {
	sequence uint64
	created  time.Time
	manifest bundle.Manifest
	data     []byte
}

// Bundle returns the signed bundle of what is in force, good for at least half of
// [Life]. The bytes must not be changed.
func (l *Library) Bundle(context.Context) ([]byte, bundle.Manifest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current(time.Now())
}

func (l *Library) current(now time.Time) ([]byte, bundle.Manifest, error) {
	set := l.holder.Set()
	s := &l.signed
	if s.sequence == l.active.Sequence && s.manifest.Effective == set.Digest() && now.Before(s.created.Add(Life/2)) {
		return s.data, s.manifest, nil
	}
	// Never earlier than the last one, or those who have that one take it for older.
	created := now
	if s.sequence == l.active.Sequence && created.Before(s.created.Add(time.Second)) {
		created = s.created.Add(time.Second)
	}
	m := bundle.Manifest{
		Sequence: l.active.Sequence, Parent: l.active.Parent, Created: created, Expires: created.Add(Life), Settings: set.Settings(), Effective: set.Digest(),
	}
	data, err := bundle.Build(m, l.files, l.c.Key)
	if err != nil {
		return nil, m, err
	}
	b, err := bundle.Inspect(data, []ed25519.PublicKey{l.Key()})
	if err != nil {
		return nil, m, err
	}
	l.signed = signed{l.active.Sequence, created, b.Manifest, data}
	return data, b.Manifest, nil
}

// Key is the public key of whoever signs bundles.
func (l *Library) Key() ed25519.PublicKey { return l.c.Key.Public().(ed25519.PublicKey) }

// BundleOf returns the signed bundle of a snapshot. That of one that is no longer in
// force says that it ended when another one took its place; one that waits, or never
// was in force, is not signed at all, because a point would take it.
func (l *Library) BundleOf(ctx context.Context, digest string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.c.Store.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	switch n.State {
	case nhi.SnapshotActive:
		data, _, err := l.current(time.Now())
		return data, err
	case nhi.SnapshotPast:
	default:
		return nil, fmt.Errorf("snapshot %s was never in force (it is %s), and is not signed: %w", kept.Short(n.Digest), n.State, nhi.ErrConflict)
	}
	// The guards are those of now, so that whoever looks into it can load it.
	c, err := l.again(ctx, &n)
	if err != nil {
		return nil, err
	}
	created := n.Activated
	if n.Ended.Sub(created) > Life {
		created = n.Ended.Add(-Life)
	}
	m := bundle.Manifest{
		Sequence: n.Sequence, Parent: n.Parent, Created: created, Expires: n.Ended, Settings: c.set.Settings(), Effective: c.set.Digest(),
	}
	if m.Expires.Sub(m.Created) < time.Second {
		m.Created = m.Expires.Add(-time.Second)
	}
	return bundle.Build(m, c.files, l.c.Key)
}

// SigningKey implements frame.Library.
func (l *Library) SigningKey() (client.SigningKey, error) {
	text, err := bundle.MarshalKey(l.Key())
	return client.SigningKey{ID: bundle.KeyID(l.Key()), PEM: string(text)}, err
}

// Snapshots returns the history, the newest first.
func (l *Library) Snapshots(ctx context.Context) ([]nhi.Snapshot, error) {
	return l.c.Store.History(ctx)
}

// Waiting returns what waits for a second administrator, the oldest first.
func (l *Library) Waiting(ctx context.Context) ([]nhi.Snapshot, error) { return l.c.Store.Waiting(ctx) }

// Snapshot returns one snapshot with its files.
func (l *Library) Snapshot(ctx context.Context, digest string) (client.SnapshotDetail, error) {
	n, err := l.c.Store.Get(ctx, digest)
	if err != nil {
		return client.SnapshotDetail{}, err
	}
	files, err := l.c.Store.Files(ctx, n.Digest)
	if err != nil {
		return client.SnapshotDetail{}, err
	}
	out := client.SnapshotDetail{Snapshot: toSnapshot(&n), Contents: []client.LibraryFile{}}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out.Contents = append(out.Contents, client.LibraryFile{Name: name, Text: files[name], Generated: strings.HasPrefix(name, library.Generated)})
	}
	return out, nil
}

// Policies describes each policy in force, the guards first.
func (l *Library) Policies(context.Context) ([]client.Policy, error) {
	set, warnings := l.doubted()
	var out []client.Policy
	for _, p := range set.Policies() {
		at := strings.LastIndexByte(p.Position, ':')
		line, err := strconv.Atoi(p.Position[at+1:])
		if err != nil {
			return nil, fmt.Errorf("position %q of policy %q: %w", p.Position, p.ID, err)
		}
		out = append(out, client.Policy{
			ID: p.ID, File: p.Position[:at], Line: line, Effect: p.Effect, StepUp: string(p.StepUp), Text: p.Text, Source: p.Source,
			Guard: p.Guard, Unscoped: p.Unscoped, Warnings: frame.OrEmpty(warnings[p.ID]),
		})
	}
	slices.SortStableFunc(out, func(a, b client.Policy) int {
		return cmp.Or(boolean(b.Guard)-boolean(a.Guard), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return out, nil
}

// doubts are what is doubtful about the policies of a digest, by policy.
type doubts struct {
	digest string
	of     map[string][]string
}

// doubted returns the set in force and what is doubtful about its policies, which is
// found once for each set.
func (l *Library) doubted() (*policy.Set, map[string][]string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doubts.of == nil || l.doubts.digest != l.active.Digest {
		l.doubts = doubts{l.active.Digest, map[string][]string{}}
		for _, p := range policy.Check(bundle.Policies(l.files)) {
			l.doubts.of[p.Policy] = append(l.doubts.of[p.Policy], p.Reason)
		}
	}
	return l.holder.Set(), l.doubts.of
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Show maps an entry of the history.
func (l *Library) Show(n nhi.Snapshot) client.Snapshot { return toSnapshot(&n) }

func toSnapshot(n *nhi.Snapshot) client.Snapshot {
	out := client.Snapshot{
		Digest: n.Digest, Sequence: n.Sequence, Parent: n.Parent, State: string(n.State), Author: n.Author, AuthorPerson: n.Person, Note: n.Note, At: n.At,
		Files: n.Files, Policies: n.Policies, Effective: n.Effective, Why: frame.OrEmpty(n.Why), Confirmed: []client.Confirmation{},
		Expires: frame.When(n.Expires), Activated: frame.When(n.Activated), Ended: frame.When(n.Ended), Warnings: []client.PolicyProblem{},
		EndedBy: n.EndedBy, EndedWhy: n.EndedWhy,
	}
	if c := n.Change; c != nil {
		out.Change = &client.SnapshotChange{Files: c.Files, Added: c.Added, Removed: c.Removed, Changed: c.Changed}
	}
	for _, c := range n.Confirmed {
		out.Confirmed = append(out.Confirmed, client.Confirmation{Person: c.Person, Name: c.Name, At: c.At})
	}
	return out
}

func problems(all []policy.Problem) []client.PolicyProblem {
	out := make([]client.PolicyProblem, 0, len(all))
	for _, p := range all {
		out = append(out, client.PolicyProblem{File: p.File, Line: p.Line, Column: p.Column, Policy: p.Policy, Reason: p.Reason})
	}
	return out
}
