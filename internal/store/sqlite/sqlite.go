// Package sqlite opens the embedded store: one SQLite file in the data folder,
// read and written by this process alone.
//
// The file is in write-ahead mode, so readers never wait for the writer, with
// synchronous FULL, so a commit that was acknowledged survives the loss of
// power. Everything that is SQLite's own is in this package; the queries are
// the same for every engine.
//
// The data folder belongs to one process. A lock on a file in it says so, and
// is given up by the system when the process dies in whatever way.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	driver "modernc.org/sqlite" // and it makes itself known as "sqlite"

	"github.com/muster-id/muster/internal/store"
)

// File is the name of the database in the data folder.
const File = "muster.db"

// Settings say where the store is and how it is used.
type Settings struct {
	// Dir is the data folder. It is made, for its owner only, if it is not
	// there.
	Dir string `yaml:"-"`
	// MaxBytes bounds the database file; a write beyond it fails as on a full
	// disk. 0: no bound.
	MaxBytes int64 `yaml:"max_bytes"`

	store.Settings `yaml:",inline"`
}

// pageSize is SQLite's default, stated because MaxBytes is kept in pages.
const pageSize = 4096

// Open opens the store in the data folder, makes it if it is not there, and
// brings it to this program's schema. A folder that another process uses, or
// that a newer program has written, is refused with an error wrapping
// nhi.ErrConflict.
func Open(ctx context.Context, s Settings) (*store.DB, error) {
	if s.Dir == "" {
		return nil, errors.New("open store: no data folder is set")
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	release, err := Lock(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	engine, err := connect(s)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open store in %s: %w", s.Dir, err), release())
	}
	engine.Release = release
	return store.Open(ctx, engine, s.Settings)
}

func connect(s Settings) (store.Engine, error) {
	file := filepath.Join(s.Dir, File)
	// SQLite would make the file readable by all; its side files copy the mode.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return store.Engine{}, err
	}
	if err := f.Close(); err != nil {
		return store.Engine{}, err
	}
	writer, err := sql.Open("sqlite", source(file, slices.Concat(pragmas, limits(s.MaxBytes))))
	if err != nil {
		return store.Engine{}, err
	}
	writer.SetMaxOpenConns(1)
	reader, err := sql.Open("sqlite", source(file, slices.Concat(pragmas, []string{"query_only(1)"})))
	if err != nil {
		return store.Engine{}, errors.Join(err, writer.Close())
	}
	return store.Engine{
		Name:      "sqlite",
		Place:     s.Dir,
		Writer:    writer,
		Reader:    reader,
		Begin:     "BEGIN IMMEDIATE", // the write lock at once, never an upgrade that can fail
		BeginRead: "BEGIN",
		Full:      full,
	}, nil
}

// full reports whether SQLite said SQLITE_FULL.
func full(err error) bool {
	var answer *driver.Error
	return errors.As(err, &answer) && answer.Code()&0xff == 13
}

// pragmas are set on every connection. Temporary tables stay in memory, so
// that no part of a row lands in a file that nobody knows of.
var pragmas = []string{
	"busy_timeout(10000)",
	"journal_mode(WAL)",
	"synchronous(FULL)",
	"foreign_keys(1)",
	"temp_store(MEMORY)",
	"cache_size(-16000)", // KiB
	"trusted_schema(0)",
}

func limits(maxBytes int64) []string {
	if maxBytes <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("max_page_count(%d)", max(1, maxBytes/pageSize))}
}

func source(file string, pragmas []string) string {
	u := url.URL{Scheme: "file", OmitHost: true, Path: file, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}
