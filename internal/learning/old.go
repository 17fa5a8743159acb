package learning

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
)

// The image of the previous release: a folder with one file a part. It was
// swapped by two renames, so it may lie under the second name.
const (
	oldPages    = "pages"
	oldDetector = "detector"
	oldSeen     = "seen"
	oldPlace    = "position"
	oldOrigin   = "origin"
)

func oldFolders(dir string) []string {
	return []string{filepath.Join(dir, OldFolder), filepath.Join(dir, OldFolder+".old")}
}

// takeOver reads what the previous release learned, if there is anything, saves
// it as this one does, and then removes it. A crash in between begins again.
func (l *Learner) takeOver(ctx context.Context) error {
	for _, dir := range oldFolders(l.Dir) {
		err := l.readOld(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		slog.InfoContext(ctx, "what the previous release learned is taken over", "folder", dir, "pages", l.Mind.Normal.Stats().Pages)
		if err := l.Save(); err != nil {
			slog.WarnContext(ctx, "what the previous release learned is not saved anew yet; it will be tried again", "error", err)
			return nil
		}
		break
	}
	return removeOld(l.Dir)
}

// removeOld removes what is of no use any more.
func removeOld(dir string) error {
	for _, old := range append(oldFolders(dir), filepath.Join(dir, OldFolder+".next")) {
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("remove what the previous release learned: %w", err)
		}
	}
	return nil
}

func (l *Learner) readOld(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	at, err := os.ReadFile(filepath.Join(dir, oldPlace))
	if err != nil {
		return fmt.Errorf("read what was learned: %v", err) // the folder appeared whole, so nothing may be missing
	}
	if _, err := l.Mind.Normal.Adopt(filepath.Join(dir, oldPages), l.spill); err != nil {
		return fmt.Errorf("read what was learned: %v", err)
	}
	for name, into := range map[string]interface{ UnmarshalBinary([]byte) error }{oldDetector: l.Mind.Detector, oldSeen: l.Mind.seen} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return fmt.Errorf("read what was learned: %v", err)
		}
		if err := into.UnmarshalBinary(data); err != nil {
			return fmt.Errorf("read what was learned from %s: %w", filepath.Join(dir, name), err)
		}
	}
	origin, err := os.ReadFile(filepath.Join(dir, oldOrigin)) // not every release wrote it
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read what was learned: %v", err)
	}
	if err := l.setPlace(at, origin); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, oldPlace), err)
	}
	return nil
}

// spill writes pages to the folder before its first commit. Where that fails
// they stay in memory, and the first commit has them.
func (l *Learner) spill() {
	s := l.Mind.Normal.Snapshot(nil)
	for _, d := range s.Pages.Deltas(l.folder) {
		if err := l.folder.Spill(d); err != nil {
			slog.Warn("pages stay in memory until they can be saved", "error", err)
			l.Mind.Normal.Return(s)
			return
		}
	}
	l.Mind.Normal.Settle(s)
}
