package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The reserve is a file of zeros whose blocks are allocated. When the disk is
// full it is renamed and becomes a segment, and records overwrite its zeros
// in place: unlike space that is merely freed, nobody else can take it.

func (j *Journal) reservePath() string { return filepath.Join(j.dir, "reserve") }

// Rearm allocates the reserve anew if it was used and there is room now, and
// ends a refusal (ErrFull, ErrReadOnly) whose cause is gone. The owner calls it
// from time to time; Open and each new segment set the reserve up as well.
func (j *Journal) Rearm() error {
	err := j.rearm()
	if h := j.Health(); err == nil && (errors.Is(h.Err, ErrFull) || errors.Is(h.Err, ErrReadOnly)) {
		err = j.relieve()
	}
	if err != nil {
		return fmt.Errorf("set up journal reserve: %w", err)
	}
	return nil
}

// relieve forgets a refusal if a record would fit into the folder now.
func (j *Journal) relieve() error {
	path := filepath.Join(j.dir, "probe.tmp") // Open removes one that is left
	err := os.WriteFile(path, make([]byte, recordSize(MaxRecord)), 0o600)
	if gone := os.Remove(path); err == nil {
		err = gone
	}
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !errors.Is(j.health.Err, ErrBroken) {
		j.health.Err = nil
	}
	return nil
}

func (j *Journal) rearm() error {
	if j.set.Reserve == 0 {
		return nil
	}
	j.reserving.Lock()
	defer j.reserving.Unlock()
	switch info, err := os.Stat(j.reservePath()); {
	case err == nil && info.Size() == j.set.Reserve:
		j.setReserve(j.set.Reserve)
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	path := j.reservePath() + ".tmp"
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	err = allocate(f, j.set.Reserve)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(path, j.reservePath())
	}
	if err != nil {
		return errors.Join(err, os.Remove(path))
	}
	if err := syncFolder(j.dir); err != nil {
		return err
	}
	j.setReserve(j.set.Reserve)
	return nil
}

func (j *Journal) setReserve(n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.health.Reserve = n
}

// takeReserve makes the reserve the current segment, or returns ErrFull.
func (j *Journal) takeReserve(last Position) error {
	j.reserving.Lock()
	defer j.reserving.Unlock()
	f, err := os.OpenFile(j.reservePath(), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("append to journal %s: %w", j.dir, ErrFull)
	}
	if err != nil {
		return fmt.Errorf("open journal reserve: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open journal reserve: %w", err)
	}
	seg, err := startSegment(f, j.dir, segmentHeader{first: last.Seq + 1, prev: last.Hash, at: time.Now()})
	if err != nil {
		f.Close()
		return err
	}
	seg.fixed = info.Size()
	j.setReserve(0)
	return j.leave(seg)
}

// isFull reports whether err is the mild failure: no room, nothing damaged.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// errUntouched marks a failure that changed nothing in the folder.
var errUntouched = errors.New("nothing was written")

// isReadOnly reports whether err says that writing is not allowed here.
func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM)
}

// fill writes n zeros, where the file system cannot allocate without writing.
func fill(f *os.File, n int64) error {
	zeros := make([]byte, 1<<20)
	for off := int64(0); off < n; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(n-off, int64(len(zeros)))], off); err != nil {
			return err
		}
	}
	return nil
}
