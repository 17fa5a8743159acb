package server

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/decision"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	storerespond "github.com/muster-id/muster/internal/store/respond"
	"github.com/muster-id/muster/internal/stream"
	"github.com/muster-id/muster/internal/surprise"
)

// A mind learns what is normal and finds what is not. It takes events one by
// one and keeps everything in memory; who feeds it stores what it found. The
// live server and the offline replay share it.
type mind struct {
	seen     *activity.Seen
	normal   *baseline.Learner
	detector *detect.Detector
}

// seenEvents is how many ids of events are remembered to recognise repeats.
const seenEvents = 1 << 20

func newMind(s baseline.Settings, known detect.Inventory) *mind {
	m := &mind{seen: activity.NewSeen(seenEvents), normal: baseline.New(s)}
	m.detector = detect.New(detect.Settings{}, known, explainer{m.normal})
	return m
}

type explainer struct{ normal *baseline.Learner }

// Explain implements detect.Explainer.
func (e explainer) Explain(ev *nhi.Event, score *surprise.Score) []nhi.Feature {
	return e.normal.Explain(ev.Identity, *score)
}

// take learns from one event and returns the findings that it changed. The
// same event again changes nothing.
func (m *mind) take(ev *nhi.Event, found map[string]nhi.Finding) {
	if !m.seen.Add(ev) {
		return
	}
	score, judged := m.normal.Observe(ev, true)
	if !judged {
		return
	}
	for _, f := range m.detector.Observe(ev, &score).Findings {
		found[f.ID] = f
	}
}

// A learner feeds a mind from the stream of activity and from the journal of
// decisions, stores what follows, and saves the mind so that a restart goes on
// where it stopped. Effects and positions are stored in one transaction;
// after a crash some events are taken again, which changes nothing.
type learner struct {
	mind    *mind
	dir     string
	db      *store.DB
	stream  stream.Stream
	log     *journal.Journal
	seen    *inventory.Service
	found   func(nhi.Finding) []nhi.Notice
	wake    func()          // tells the router of notices
	decided <-chan struct{} // a decision was made

	mu        sync.Mutex // guards the mind and what follows
	activity  uint64     // position in the stream
	decisions uint64     // position in the journal
	credited  map[string]int
}

const saveEvery = time.Minute

// run learns until ctx ends, then saves once more.
func (l *learner) run(ctx context.Context) error {
	var wg sync.WaitGroup
	var failed [2]error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { defer cancel(); failed[0] = l.followActivity(ctx) })
	wg.Go(func() { defer cancel(); failed[1] = l.followDecisions(ctx) })
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			if err := l.save(); err != nil {
				slog.Warn("what was learned could not be saved; it will be tried again", "error", err)
			}
		}
	}
	wg.Wait()
	return errors.Join(failed[0], failed[1], l.save())
}

// followActivity takes batches in the order of the stream.
func (l *learner) followActivity(ctx context.Context) error {
	err := l.stream.Consume(ctx, stream.Consumer{
		Subjects: []string{stream.ActivityBatch}, After: l.activity,
		Gone: func(upTo uint64) { slog.Warn("activity left the stream before it was learned", "up_to", upTo) },
	}, func(ctx context.Context, m stream.Message) error {
		events, err := stream.DecodeBatch(m.Payload)
		if err != nil {
			// A batch of ours that cannot be read is lost whatever we do; the
			// others must not be.
			slog.Error("a batch of activity cannot be read and is passed over", "seq", m.Seq, "error", err)
			return nil
		}
		return l.apply(ctx, events, "activity", m.Seq)
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("follow activity: %w", err)
	}
	return nil
}

// followDecisions takes our own decisions from their journal.
func (l *learner) followDecisions(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := l.readDecisions(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("follow decisions: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-l.decided:
		}
	}
	return nil
}

func (l *learner) readDecisions(ctx context.Context) error {
	if l.log.Last().Seq <= l.decisions {
		return nil
	}
	var events []nhi.Event
	last := l.decisions
	flush := func() error {
		if last == l.decisions {
			return nil
		}
		err := l.apply(ctx, events, "decisions", last)
		events = events[:0]
		return err
	}
	for r, err := range l.log.Read(l.decisions + 1) {
		if err != nil {
			return err
		}
		last = r.Seq
		d, err := decision.Decode(r.Payload)
		if err != nil {
			slog.Error("a decision on record cannot be read and is passed over", "seq", r.Seq, "error", err)
			continue
		}
		if d.Identity != "" {
			events = append(events, decisionEvent(&d))
		}
		if len(events) >= batchEvents {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// decisionEvent is a decision as an event: what somebody did, or tried.
func decisionEvent(d *nhi.Decision) nhi.Event {
	ev := nhi.Event{
		ID: d.ID, Source: d.Point, Format: "decision", Time: d.At, Arrived: d.At, Provider: "muster", Service: d.Resource, Operation: d.Operation,
		Class: d.Action, Resource: d.Resource, Address: d.Address, Agent: d.Agent, Status: nhi.Success, Identity: d.Identity, Credential: d.Credential,
		Outcome: d.Outcome, Asserted: d.Asserted, Principal: nhi.Principal{Type: "Muster", KeyID: d.KeyID, Temporary: d.Credential == ""},
	}
	if d.Outcome != nhi.Allow {
		ev.Status, ev.Error = nhi.Failure, string(d.Outcome)
		if len(d.Reasons) > 0 {
			ev.Error = d.Reasons[0].Policy
		}
	}
	return ev
}

// apply takes a batch and stores what follows from it together with the
// position behind it.
func (l *learner) apply(ctx context.Context, events []nhi.Event, from string, position uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[string]nhi.Finding{}
	sights := make([]inventory.Seen, 0, len(events))
	for i := range events {
		ev := &events[i]
		l.mind.take(ev, found)
		if s, ok := sight(ev); ok {
			sights = append(sights, s)
		}
	}
	findings := make([]nhi.Finding, 0, len(found))
	for _, f := range found {
		f.DetectedAt = time.Now()
		findings = append(findings, f)
	}
	_, err := l.db.Write(ctx, func(tx *store.Tx) error {
		if err := l.seen.EnsureSeenIn(ctx, storeinventory.Bind(tx), sights); err != nil {
			return err
		}
		if err := storerespond.SaveFindings(ctx, tx, findings, l.found); err != nil {
			return err
		}
		return tx.SetPosition(ctx, "learn."+from, position)
	})
	if err != nil {
		return fmt.Errorf("store what %d events mean: %w", len(events), err)
	}
	if len(findings) > 0 {
		l.wake()
	}
	if from == "activity" {
		l.activity = position
	} else {
		l.decisions = position
	}
	return nil
}

// sight is what an event tells the inventory: who acted, with what, when.
func sight(ev *nhi.Event) (inventory.Seen, bool) {
	if ev.Asserted || detect.Unproven(ev) {
		return inventory.Seen{}, false
	}
	if ev.Format == "decision" {
		if ev.Outcome != nhi.Allow || ev.Credential == "" {
			return inventory.Seen{}, false
		}
		return inventory.Seen{Identity: nhi.Identity{ID: ev.Identity}, Credential: nhi.Credential{ID: ev.Credential, Identity: ev.Identity}, At: ev.Time}, true
	}
	who, ok := activity.Shadow(ev)
	if !ok {
		return inventory.Seen{}, false
	}
	s := inventory.Seen{Identity: who, At: ev.Time}
	if ev.Principal.KeyID != "" && !ev.Principal.Temporary {
		s.Credential = nhi.Credential{Kind: nhi.CredentialAWSAccessKey, PublicID: ev.Principal.KeyID, Native: "Active"}
	}
	return s, true
}

// The image of a mind is a folder with one file a part; it appears by one
// rename, so it is whole or not there.
const (
	imageFolder = "learned"
	pagesFile   = "pages"
	detectFile  = "detector"
	seenFile    = "seen"
	placeFile   = "position"
)

// save writes the image beside the old one and swaps them.
func (l *learner) save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := filepath.Join(l.dir, imageFolder+".next")
	if err := os.RemoveAll(next); err != nil {
		return fmt.Errorf("save what was learned: %w", err)
	}
	if err := os.Mkdir(next, 0o700); err != nil {
		return fmt.Errorf("save what was learned: %w", err)
	}
	if err := l.mind.normal.Save(filepath.Join(next, pagesFile), l.activity); err != nil {
		return err
	}
	detector, err := l.mind.detector.MarshalBinary()
	if err != nil {
		return fmt.Errorf("save the detector: %w", err)
	}
	seen, err := l.mind.seen.MarshalBinary()
	if err != nil {
		return fmt.Errorf("save the events seen: %w", err)
	}
	place := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, l.activity), l.decisions)
	for name, data := range map[string][]byte{detectFile: detector, seenFile: seen, placeFile: place} {
		if err := writeSynced(filepath.Join(next, name), data); err != nil {
			return fmt.Errorf("save what was learned: %w", err)
		}
	}
	return swap(l.dir, next)
}

// swap puts next in the image's place. Between the two renames there is no
// image; load then finds the old one.
func swap(dir, next string) error {
	current, old := filepath.Join(dir, imageFolder), filepath.Join(dir, imageFolder+".old")
	if err := syncFolder(next); err != nil {
		return err
	}
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(current, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(next, current); err != nil {
		return err
	}
	if err := syncFolder(dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// load reads the newest whole image. Without one the mind begins with the
// oldest activity that is kept.
func (l *learner) load() error {
	for _, name := range []string{imageFolder, imageFolder + ".old"} {
		err := l.loadFrom(filepath.Join(l.dir, name))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (l *learner) loadFrom(dir string) error {
	place, err := os.ReadFile(filepath.Join(dir, placeFile))
	if err != nil {
		return err
	}
	if len(place) != 16 {
		return fmt.Errorf("%s: the position is damaged; remove the folder to learn again from the stream", dir)
	}
	if _, err := l.mind.normal.Load(filepath.Join(dir, pagesFile)); err != nil {
		return fmt.Errorf("read what was learned: %w", err)
	}
	for name, into := range map[string]interface{ UnmarshalBinary([]byte) error }{detectFile: l.mind.detector, seenFile: l.mind.seen} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read what was learned: %w", err)
		}
		if err := into.UnmarshalBinary(data); err != nil {
			return fmt.Errorf("read what was learned from %s: %w", filepath.Join(dir, name), err)
		}
	}
	l.activity, l.decisions = binary.BigEndian.Uint64(place), binary.BigEndian.Uint64(place[8:])
	return nil
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
