package learning

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/baseline"
	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/detect"
	"github.com/muster-id/muster/internal/surprise/pages"
)

// What was learned lies in one folder, see package checkpoint: the tables of
// pages and a few parts. The previous release kept all of it as one image, in a
// folder that was written anew and swapped each time.
const (
	// Folder is its name in the data folder.
	Folder = "normal"
	// OldFolder is that of the previous release.
	OldFolder = "learned"

	placePart, originPart, seenPart = "position", "origin", "seen"
)

// Specs are the tables of the folder.
var Specs = append(slices.Clone(pages.Specs), detect.Spec)

// A Save is how the last save went.
type Save struct {
	Pages  int           // that had changed
	Locked time.Duration // learning waited
	Took   time.Duration // altogether
}

// LastSave tells how the last save went that there was something to save for.
func (l *Learner) LastSave() Save {
	if s := l.lastSave.Load(); s != nil {
		return *s
	}
	return Save{}
}

// Save saves what was learned; Run does so every minute. While something that
// the Mind has taken is not stored, or when nothing was learned since the last
// time, nothing happens.
func (l *Learner) Save() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	return l.save()
}

// save is Save for who holds l.saving.
func (l *Learner) save() error {
	began := time.Now()
	room, seen := l.Mind.Normal.Room(), make([]byte, 0, l.seenSize)
	for memory := seen[:cap(seen)]; len(memory) > 0; memory = memory[min(len(memory), 4096):] {
		memory[0] = 0 // now the system gives it, and nobody waits for it below
	}
	s, err := l.snapshot(room, seen)
	if s == nil || err != nil {
		return err
	}
	l.seenSize = len(s.seen) + len(s.seen)/8
	done := Save{Pages: s.normal.Pages.Len(), Locked: s.locked}
	if err := s.commit(l.folder); err != nil {
		l.Mind.Normal.Return(s.normal)
		l.mu.Lock()
		l.Mind.Detector.Return(s.detector)
		l.snapped = place{}
		l.mu.Unlock()
		return fmt.Errorf("save what was learned: %w", err)
	}
	l.mu.Lock()
	l.saved = s.place.decisions
	l.mu.Unlock()
	l.Mind.Normal.Settle(s.normal)
	for at := 0; at < s.detector.Len(); {
		l.mu.Lock()
		at = l.Mind.Detector.Settle(s.detector, at)
		l.mu.Unlock()
	}
	done.Took = time.Since(began)
	l.lastSave.Store(&done)
	return nil
}

// A place is how far was learned.
type place struct {
	origin              string
	activity, decisions uint64
}

// A snapshot is what a save writes, taken at one moment.
type snapshot struct {
	place    place
	normal   *baseline.Snapshot
	detector *detect.Image
	seen     []byte
	locked   time.Duration
}

// snapshot takes what there is to save, or returns nil.
// What it copies goes into room and seen, as far as there is place.
func (l *Learner) snapshot(room *pages.Snapshot, seen []byte) (*snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	began := time.Now()
	now := place{l.origin, l.activity, l.decisions}
	if l.waiting > 0 || l.folder == nil || now == l.snapped && l.Mind.Normal.Dirty() == 0 {
		return nil, nil
	}
	seen, err := l.Mind.seen.AppendBinary(seen)
	if err != nil {
		return nil, fmt.Errorf("save the events seen: %w", err)
	}
	detector, err := l.Mind.Detector.Image()
	if err != nil {
		return nil, fmt.Errorf("save the detector: %w", err)
	}
	l.snapped = now
	out := &snapshot{place: now, normal: l.Mind.Normal.Snapshot(room), detector: detector, seen: seen}
	out.locked = time.Since(began)
	return out, nil
}

func (s *snapshot) commit(folder *checkpoint.Folder) error {
	normal, err := s.normal.Part()
	if err != nil {
		return err
	}
	at := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, s.place.activity), s.place.decisions)
	return folder.Commit([]checkpoint.Part{
		{Name: placePart, Data: at}, {Name: originPart, Data: []byte(s.place.origin)}, {Name: seenPart, Data: s.seen}, s.detector.Part(), normal,
	}, append(s.normal.Pages.Deltas(folder), s.detector.Delta()))
}

// relieve saves when so much changed that the next save would take long. It is
// called before a batch is taken, and learning waits for it. When it fails,
// learning goes on: to see a thief is worth more than a short save.
func (l *Learner) relieve() {
	if l.few() || l.held.Load() || time.Now().UnixNano() < l.again.Load() {
		return
	}
	if err := l.Save(); err != nil {
		l.again.Store(time.Now().Add(saveEvery).UnixNano())
		slog.Warn("what was learned could not be saved; learning goes on, and it will be tried again", "error", err)
	}
}

// few reports whether little changed since the last save. A page is 2 KB and what
// detections remember is less than a tenth.
func (l *Learner) few() bool {
	most := cmp.Or(l.most, baseline.MaxDirty)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Mind.Normal.Dirty() < most && l.Mind.Detector.Dirty() < 4*most
}

// Hold runs do while nothing is saved, so that what it copies of the folder is
// of one save. Learning goes on meanwhile.
func (l *Learner) Hold(do func() error) error {
	l.saving.Lock()
	defer l.saving.Unlock()
	l.held.Store(true)
	defer l.held.Store(false)
	return do()
}

// Close closes the files, after Run has ended.
func (l *Learner) Close() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	if l.folder == nil {
		return nil
	}
	folder := l.folder
	l.folder = nil
	return folder.Close()
}

// Load opens what was learned and reads the risk on record. Where nothing was
// saved the mind begins with the oldest activity that is kept; what the previous
// release saved is taken over.
func (l *Learner) Load(ctx context.Context) error {
	if err := l.loadRisk(ctx); err != nil {
		return err
	}
	if err := l.open(ctx); errors.Is(err, checkpoint.ErrDamaged) {
		return fmt.Errorf("open what was learned: %w: bring the folder back from a backup, or move it away to learn again from what the stream still has", err)
	} else if err != nil {
		return fmt.Errorf("open what was learned: %w", err)
	}
	if err := l.rewindDecisions(ctx); err != nil {
		return err
	}
	if err := l.findPlace(ctx); err != nil {
		slog.Warn("the stream is away; learning goes on when it comes", "error", err)
	}
	return nil
}

func (l *Learner) open(ctx context.Context) error {
	dir := filepath.Join(l.Dir, Folder)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, state, err := checkpoint.OpenFolder(checkpoint.Dir(dir), Specs...)
	if err != nil {
		return err
	}
	l.folder = folder
	if err := l.Mind.Normal.Open(folder, state); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := l.Mind.Detector.Open(folder, state); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if state == nil {
		return l.takeOver(ctx)
	}
	if err := l.Mind.seen.UnmarshalBinary(state.Parts[seenPart]); err != nil {
		return fmt.Errorf("%s: %w: part %q: %w", filepath.Join(dir, checkpoint.File), checkpoint.ErrDamaged, seenPart, err)
	}
	if err := l.setPlace(state.Parts[placePart], state.Parts[originPart]); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, checkpoint.File), err)
	}
	l.snapped, l.saved = place{l.origin, l.activity, l.decisions}, l.decisions
	if err := l.Mind.Normal.Reconfigure(l.Save); err != nil {
		slog.Warn("what was learned could not be saved with the new settings; it will be tried again", "error", err)
	}
	return removeOld(l.Dir)
}

func (l *Learner) setPlace(at, origin []byte) error {
	if len(at) != 16 {
		return fmt.Errorf("%w: the position in the stream is missing", checkpoint.ErrDamaged)
	}
	l.origin = string(origin)
	l.activity, l.decisions = binary.BigEndian.Uint64(at), binary.BigEndian.Uint64(at[8:])
	return nil
}
