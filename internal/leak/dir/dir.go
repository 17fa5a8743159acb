// Package dir finds leaked secrets in the files under a directory.
//
// [Scan] is the usual door: it reads every text file, with a few workers, and
// yields what it finds in one fixed order, whatever worker was faster. [Walk]
// hands out the bytes instead. Both need memory for one part of 8 MB for each
// worker and for the names in the largest directory, no matter how large the
// files are.
//
// What is not read is counted in the [Summary], so that nobody takes silence
// for cleanliness:
//
//   - binaries: files with a zero byte in their first 8 KiB, unless they begin
//     with the mark of UTF-16;
//   - symbolic links: what lies inside the tree is read under its own name, and
//     what lies outside was not asked for;
//   - devices, sockets and named pipes, which might block for ever;
//   - the object store of a git repository: history is compressed there and
//     takes another way of reading. The rest of .git is read, for its config
//     often holds a token.
//
// A file or folder that cannot be read is reported to Options.Failed with its
// name, and the walk goes on. The root itself is followed if it is a link, and
// read if it is a single file or a pipe, for the caller named it.
package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/leak"
)

// Options change how a tree is read. The zero value is fine.
type Options struct {
	// Workers is how many files are read at a time; 0 means 2.
	Workers int

	// Progress, if not nil, is called after every file with the totals so far.
	Progress func(files, bytes int64)

	// Failed, if not nil, is told of everything that could not be read. The
	// error names the file.
	Failed func(error)
}

// A Summary counts what a walk met.
type Summary struct {
	Files      int64 // read to the end
	Bytes      int64 // read, those of binaries up to the decision included
	Binaries   int64 // not text
	Links      int64 // symbolic links, not followed
	Special    int64 // devices, sockets, named pipes
	GitObjects int64 // object stores of git repositories
	Failed     int64 // files and folders that could not be read
}

// Scan calls found for every secret in the files under root: file by file in
// lexical order, within a file by place. The name is safe to print (see
// Printable). The match belongs to found, which should Wipe it. Calls come one
// at a time, from the goroutine of the caller. An error of found ends the scan
// and is returned.
func Scan(ctx context.Context, s *leak.Scanner, root string, o Options, found func(file string, m *leak.Match) error) (Summary, error) {
	read := func(w *worker, j *job, r *reader) error {
		n, err := s.ScanReader(r, &w.buf, func(m *leak.Match) bool {
			return w.send(j, item{match: m})
		})
		w.send(j, item{bytes: n})
		return err
	}
	return walk(ctx, root, o, read, func(file string, it item) error {
		if it.match == nil {
			return nil
		}
		return found(file, it.match)
	})
}

// Walk calls fn with the content of every text file under root, in lexical
// order, one at a time, from the goroutine of the caller. The name is safe to
// print. A file of up to PartSize bytes comes in one call; a larger one in
// several, each of which begins with the last Overlap bytes of the one before:
// a consumer that needs exact places uses Scan. Data is valid until fn returns.
// An error of fn ends the walk and is returned.
func Walk(ctx context.Context, root string, o Options, fn func(file string, data []byte) error) (Summary, error) {
	return walk(ctx, root, o, readParts, func(file string, it item) error {
		if it.data == nil {
			return nil
		}
		defer it.release()
		return fn(file, it.data)
	})
}

const (
	// PartSize is the most bytes of a file that are handed out at once.
	PartSize = 8 << 20

	// Overlap is how many bytes two parts of a file share.
	Overlap = 128 << 10

	headSize    = 64 << 10 // read at once to see what a file is
	binaryCheck = 8 << 10
)

// Printable returns a file name that is safe for terminals, logs and JSON:
// what is not valid UTF-8 or not printable is written as an escape.
func Printable(name string) string {
	safe := func(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
	if utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !safe(r) }) < 0 {
		return name
	}
	var out strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		switch {
		case safe(r):
			out.WriteRune(r)
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, name[i])
		default:
			out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		i += n
	}
	return out.String()
}

// A lister names the files under a root in order.
type lister struct {
	ctx  context.Context
	emit func(*job) bool
}

// list sends a job for every file under root. It reports false if the walk was
// ended.
func (l *lister) list(root string) bool {
	info, err := os.Stat(root)
	if err != nil {
		return l.fail(err)
	}
	if !info.IsDir() {
		j := newJob(root)
		j.named = true
		return l.emit(j)
	}
	return l.folder(root, filepath.Base(root) == ".git")
}

// folder lists one folder, depth first. A folder named objects in a repository
// is skipped.
func (l *lister) folder(path string, repository bool) bool {
	entries, err := os.ReadDir(path)
	if err != nil && !l.fail(err) {
		return false
	}
	repository = repository || bare(entries)
	for _, e := range entries {
		if l.ctx.Err() != nil {
			return false
		}
		if !l.entry(filepath.Join(path, e.Name()), e, repository) {
			return false
		}
	}
	return true
}

func (l *lister) entry(path string, e fs.DirEntry, repository bool) bool {
	switch kind := e.Type(); {
	case kind.IsDir() && repository && e.Name() == "objects":
		return l.skip(func(s *Summary) { s.GitObjects++ })
	case kind.IsDir():
		return l.folder(path, e.Name() == ".git")
	case kind&fs.ModeSymlink != 0:
		return l.skip(func(s *Summary) { s.Links++ })
	case !kind.IsRegular():
		return l.skip(func(s *Summary) { s.Special++ })
	}
	return l.emit(newJob(path))
}

// bare reports whether a folder is a git repository without a working tree.
func bare(entries []fs.DirEntry) bool {
	parts := 0
	for _, e := range entries {
		if n := e.Name(); n == "HEAD" || n == "objects" || n == "refs" {
			parts++
		}
	}
	return parts == 3
}

// skip sends a job that is done and only counts.
func (l *lister) skip(count func(*Summary)) bool {
	j := newJob("")
	j.finish(item{count: count})
	return l.emit(j)
}

// fail sends a job that is done and failed.
func (l *lister) fail(err error) bool {
	j := newJob("")
	j.finish(item{err: readError(err)})
	return l.emit(j)
}

// readError names the file in a form that is safe to print.
func readError(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("read %s: %w", Printable(at.Path), at.Err)
	}
	return err
}

// A reader gives a file whose head was read already.
type reader struct {
	head []byte
	rest io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	if r.rest == nil {
		return 0, io.EOF
	}
	return r.rest.Read(p)
}

// isBinary reports whether a file that begins with head is not text.
func isBinary(head []byte) bool {
	return !leak.IsUTF16(head) && bytes.IndexByte(head[:min(len(head), binaryCheck)], 0) >= 0
}
