// Package archive writes the backup of an installation and brings it back. What
// a backup holds, in this order:
//
//	normal/      what is normal for each identity, as of its last save
//	keys.json    the key file, as it is: sealed, if it is sealed
//	store/       every row of the database, in words of no engine
//	audit/       the audit log with its public keys
//	decisions/   the journal of decisions
//
// The order makes it consistent while a server writes: what was learned is never
// ahead of the database, and the logs are never behind it. So a backup is an
// installation as a crash could have left it, and a start repairs it in the same
// way. Not in it are raw activity that waits in the stream (its senders have
// it, its effects are in the database), the token of the first administrator,
// and certificates.
//
// [Restore] fills an empty folder and an empty database, or nothing at all: what
// is in place was checked as a whole.
package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/backup"
	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/learning"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/store"
)

// A Source is the installation to be written.
type Source struct {
	Data    string    // folder
	Store   *store.DB // open
	Program string    // version of this muster
	// Hold runs a function while what was learned is not saved; nil where no
	// server runs.
	Hold func(func() error) error
}

// folders hold files that are copied. Only such names are: a lock or a reserve
// means nothing elsewhere.
var folders = map[string]*regexp.Regexp{
	normal:      regexp.MustCompile(`^(checkpoint|slots|actors|pages)(-[0-9]{4})?$`),
	old:         regexp.MustCompile(`^(pages|detector|seen|position|origin)$`),
	"audit":     regexp.MustCompile(`^([0-9]{20}\.[a-z]{1,8}|audit\.pub|checkpoint\.json)$`),
	"decisions": regexp.MustCompile(`^[0-9]{20}\.[a-z]{1,8}$`),
}

const keyFile = "keys.json"

// What was learned, and what the previous release learned: in its backups, and
// in a folder that was never opened by this one.
const normal, old = learning.Folder, learning.OldFolder

// A Written tells what went into a backup.
type Written struct {
	Rows       int    `json:"rows"`
	Generation uint64 `json:"generation"`
	Parts      int    `json:"parts"`
	Bytes      int64  `json:"bytes"` // before compression
}

// Write writes the backup of a running or stopped installation to w, for who
// fits lock. It blocks nobody else. On error what was written is no backup, and
// a reader notices.
func Write(ctx context.Context, to io.Writer, lock agefile.Lock, from Source) (Written, error) {
	w, err := backup.NewWriter(to, lock, from.Program)
	if err != nil {
		return Written{}, fmt.Errorf("back up: %w", err)
	}
	out := &output{ctx: ctx, w: w, from: from, piece: maxPiece}
	for _, step := range []func() error{out.learned, out.keys, out.store, func() error { return out.folder("audit", "audit") }, func() error { return out.folder("decisions", "decisions") }} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return out.done, fmt.Errorf("back up %s: %w", from.Data, err)
		}
	}
	if err := w.Close(); err != nil {
		return out.done, fmt.Errorf("back up %s: %w", from.Data, err)
	}
	return out.done, nil
}

type output struct {
	ctx   context.Context
	w     *backup.Writer
	from  Source
	piece int64 // of a file in one part
	done  Written
}

// learned copies what was learned. Its files belong together, so nobody may save
// meanwhile. Where there is no checkpoint nothing was saved yet.
func (o *output) learned() error {
	hold := o.from.Hold
	if hold == nil {
		hold = func(do func() error) error { return do() }
	}
	return hold(func() error {
		if _, err := os.Stat(filepath.Join(o.from.Data, normal, checkpoint.File)); err == nil {
			return o.folder(normal, normal)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, name := range []string{old, old + ".old"} {
			files, err := open(filepath.Join(o.from.Data, name), folders[old])
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return errors.Join(err, o.files(old, files))
		}
		return nil
	})
}

func (o *output) keys() error {
	f, err := os.Open(filepath.Join(o.from.Data, keyFile))
	if err != nil {
		return err
	}
	return o.files("", []*os.File{f})
}

func (o *output) store() error {
	s := o.w.Stream("store")
	head, err := o.from.Store.Export(o.ctx, counter{s, &o.done.Bytes})
	o.done.Rows, o.done.Generation = head.Rows, uint64(head.Generation)
	return errors.Join(err, s.Close())
}

type counter struct {
	io.Writer
	n *int64
}

func (c counter) Write(p []byte) (int, error) {
	*c.n += int64(len(p))
	return c.Writer.Write(p)
}

// folder copies the files of a log as long as they are now. What is being
// appended at this moment may be cut in the middle, as by a crash.
func (o *output) folder(name, as string) error {
	files, err := open(filepath.Join(o.from.Data, name), folders[name])
	if err != nil {
		return err
	}
	return o.files(as, files)
}

// open opens the files of a folder that fit, those of a log after what speaks
// about it: a checkpoint may be older than the log beside it, never newer. They
// are of one folder, even if another takes its name meanwhile.
func open(dir string, fits *regexp.Regexp) (files []*os.File, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(order(a.Name()), order(b.Name())) })
	for _, e := range entries {
		if !fits.MatchString(e.Name()) {
			continue
		}
		f, err := root.Open(e.Name())
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// order puts names without digits first.
func order(name string) string {
	if name[0] >= '0' && name[0] <= '9' {
		return "2" + name
	}
	return "1" + name
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // only read from
	}
}

func (o *output) files(folder string, files []*os.File) error {
	defer closeAll(files)
	for _, f := range files {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		name := filepath.Base(f.Name())
		if folder != "" {
			name = folder + "/" + name
		}
		if err := o.pieces(name, info.Size(), f); err != nil {
			return err
		}
	}
	return nil
}

// maxPiece is how much of a file goes into one part: no part of a backup may
// have over 2 GB.
const maxPiece = 1 << 30

// pieces adds a file as one part, or a large one as several: name, name-0001,
// name-0002, and so on.
func (o *output) pieces(name string, size int64, from io.Reader) error {
	for n := 0; n == 0 || size > 0; n++ {
		piece := min(size, o.piece)
		if err := errors.Join(o.ctx.Err(), o.w.Add(pieceName(name, n), piece, from)); err != nil {
			return err
		}
		size -= piece
		o.done.Parts++
		o.done.Bytes += piece
	}
	return nil
}

func pieceName(name string, n int) string {
	if n == 0 {
		return name
	}
	return fmt.Sprintf("%s-%04d", name, n)
}
