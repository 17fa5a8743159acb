// Package snapshot keeps the history of the policies: which files were put into
// force, by whom and when, and which wait for a second administrator.
//
// An entry is added in one transaction with everything that follows from it: the
// one in force before becomes past, those that wait are outdated, the change is in
// the one sequence, people are told and the audit log has it due. So there is one
// in force at any moment, a crash included. The files lie apart, by their digest:
// putting an older set into force again moves no text.
package snapshot

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/notify"
	"github.com/muster-id/muster/internal/store/respond"
)

// maxFiles bounds the text of one library when it is read back.
const maxFiles = 64 << 20

// Key is that of the change which says that other policies are in force.
const Key = "library"

// A Changed is the payload of that change.
type Changed struct {
	Sequence uint64 `json:"sequence"`
	Digest   string `json:"digest"`
}

// Store keeps the history in db. It is safe for concurrent use.
type Store struct{ db *store.DB }

// New returns the Store in db.
func New(db *store.DB) *Store { return &Store{db: db} }

// An Entry is what is added or changed, with what is written beside it.
type Entry struct {
	nhi.Snapshot
	// Files are the library that the digest names; nil: it is kept already.
	Files map[string]string
	// Document, if not nil, replaces the document of this name.
	Name     string
	Document []byte
	Acts     []nhi.Act
	Notices  []nhi.Notice
	// Promotion, if not nil, is stored in the same transaction.
	Promotion *Promotion
}

// Add adds an entry after all others and returns it with its sequence. prepare is
// asked in the transaction for the rest of it, now that the sequence is known. The
// error wraps nhi.ErrConflict when its parent is not what is in force.
func (s *Store) Add(ctx context.Context, e Entry, prepare func(*Entry)) (nhi.Snapshot, error) {
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		before, err := active(ctx, tx)
		if err != nil && !errors.Is(err, nhi.ErrNotFound) {
			return err
		}
		if before.Digest != e.Parent {
			return fmt.Errorf("what is in force is no longer %s, of which this is a change, but %s: %w", Short(e.Parent), Short(before.Digest), nhi.ErrConflict)
		}
		if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(sequence), 0) + 1 FROM snapshot`).Scan(&e.Sequence); err != nil {
			return err
		}
		if prepare != nil {
			prepare(&e)
		}
		if e.Files != nil {
			if err := keep(ctx, tx, e.Digest, e.Files); err != nil {
				return err
			}
		}
		if e.State == nhi.SnapshotActive {
			before.TakenBack = e.Promotion != nil && (e.Promotion.Gate == nhi.PromotionRolledBack || e.Promotion.Gate == nhi.PromotionAborted)
			if err := replace(ctx, tx, &before, e.At); err != nil {
				return err
			}
		}
		if err := put(ctx, tx, &e.Snapshot); err != nil {
			return err
		}
		return beside(ctx, tx, &e)
	})
	if err != nil {
		return nhi.Snapshot{}, fmt.Errorf("keep the policies: %w", err)
	}
	return e.Snapshot, nil
}

// Change changes the entry with this sequence in a transaction. change may make it
// the one in force, if its parent is.
func (s *Store) Change(ctx context.Context, sequence uint64, change func(*Entry) error) (nhi.Snapshot, error) {
	var e Entry
	_, err := s.db.Write(ctx, func(tx *store.Tx) error {
		var err error
		if e.Snapshot, err = one(tx.QueryRow(ctx, `SELECT body FROM snapshot WHERE sequence = $1`, int64(sequence))); err != nil {
			return err
		}
		was := e.State
		if err := change(&e); err != nil {
			return err
		}
		if e.State == nhi.SnapshotActive && was != e.State {
			before, err := active(ctx, tx)
			if err != nil && !errors.Is(err, nhi.ErrNotFound) {
				return err
			}
			if before.Digest != e.Parent {
				return fmt.Errorf("what is in force is no longer %s, of which this is a change: %w", Short(e.Parent), nhi.ErrConflict)
			}
			if err := replace(ctx, tx, &before, e.Activated); err != nil {
				return err
			}
		}
		if err := put(ctx, tx, &e.Snapshot); err != nil {
			return err
		}
		return beside(ctx, tx, &e)
	})
	return e.Snapshot, err
}

// beside writes what belongs to an entry.
func beside(ctx context.Context, tx *store.Tx, e *Entry) error {
	if e.Document != nil {
		if _, err := tx.PutDocument(ctx, e.Name, e.Document); err != nil {
			return err
		}
	}
	for _, act := range e.Acts {
		if err := respond.DueAct(ctx, tx, act); err != nil {
			return err
		}
	}
	if err := notify.Queue(ctx, tx, e.Notices); err != nil {
		return err
	}
	if e.Promotion != nil {
		if err := promote(ctx, tx, e.Promotion); err != nil {
			return err
		}
	}
	if e.State != nhi.SnapshotActive {
		return nil
	}
	return tx.Change(nhi.SubjectPolicy, Key, Changed{e.Sequence, e.Digest})
}

// replace takes before out of force at a time, and lets those that wait know that
// they are changes of what no longer is.
func replace(ctx context.Context, tx *store.Tx, before *nhi.Snapshot, at time.Time) error {
	rows, err := list(tx.Query(ctx, `
		SELECT   body
		FROM     snapshot
		WHERE    state IN ('active', 'waiting', 'staged')
		ORDER BY sequence`))
	if err != nil {
		return err
	}
	for _, r := range rows {
		r.Ended = at
		if r.State = nhi.SnapshotOutdated; r.Sequence == before.Sequence {
			r.State, r.TakenBack = nhi.SnapshotPast, before.TakenBack
		}
		if err := put(ctx, tx, &r); err != nil {
			return err
		}
	}
	return nil
}

func put(ctx context.Context, tx *store.Tx, n *nhi.Snapshot) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO snapshot (sequence, digest, state, body)
		VALUES      ($1, $2, $3, $4)
		ON CONFLICT (sequence) DO UPDATE
		SET    state = excluded.state, body = excluded.body`, int64(n.Sequence), n.Digest, string(n.State), string(body))
	return err
}

func keep(ctx context.Context, tx *store.Tx, digest string, files map[string]string) error {
	text, err := json.Marshal(files)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	w := gzip.NewWriter(&body)
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO library (digest, body)
		VALUES      ($1, $2)
		ON CONFLICT (digest) DO NOTHING`, digest, body.Bytes())
	return err
}

// Files returns the files that a digest names.
func (s *Store) Files(ctx context.Context, digest string) (map[string]string, error) {
	var body []byte
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.QueryRow(ctx, `SELECT body FROM library WHERE digest = $1`, digest).Scan(&body)
	})
	if err != nil {
		return nil, fmt.Errorf("files of snapshot %s: %w", Short(digest), err)
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("files of snapshot %s: %w", Short(digest), err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFiles))
	if err != nil {
		return nil, fmt.Errorf("files of snapshot %s: %w", Short(digest), err)
	}
	files := map[string]string{}
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, fmt.Errorf("files of snapshot %s: %w", Short(digest), err)
	}
	return files, nil
}

// Active returns the entry that is in force. The error wraps nhi.ErrNotFound when
// nothing ever was.
func (s *Store) Active(ctx context.Context) (n nhi.Snapshot, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		n, err = active(ctx, tx)
		return err
	})
	return n, err
}

func active(ctx context.Context, tx *store.Tx) (nhi.Snapshot, error) {
	n, err := one(tx.QueryRow(ctx, `
		SELECT   body
		FROM     snapshot
		WHERE    state = 'active'
		ORDER BY sequence DESC
		LIMIT    1`))
	if err != nil {
		return n, fmt.Errorf("policies in force: %w", err)
	}
	return n, nil
}

// ShortLength is how many characters of a digest people are shown, and the fewest
// that name one.
const ShortLength = 12

// Short is the beginning of a digest, for people.
func Short(digest string) string {
	if digest == "" {
		return "nothing"
	}
	return digest[:min(len(digest), ShortLength)]
}

// Get returns the newest entry with a digest, which may be cut to 8 characters if
// that names one. The error wraps nhi.ErrNotFound when there is none and
// nhi.ErrConflict when there are several.
func (s *Store) Get(ctx context.Context, digest string) (n nhi.Snapshot, err error) {
	for _, c := range digest {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return n, fmt.Errorf("snapshot %.80q: %w", digest, nhi.ErrNotFound)
		}
	}
	if len(digest) < 8 || len(digest) > 64 {
		return n, fmt.Errorf("snapshot %.80q: give at least 8 characters of its digest: %w", digest, nhi.ErrNotFound)
	}
	var found []nhi.Snapshot
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var err error
		// "g" comes after every digit of a digest.
		found, err = list(tx.Query(ctx, `
			SELECT   body
			FROM     snapshot
			WHERE    digest >= $1
			AND      digest < $2
			ORDER BY sequence DESC
			LIMIT    1000`, digest, digest+"g"))
		return err
	})
	switch {
	case err != nil:
		return n, err
	case len(found) == 0:
		return n, fmt.Errorf("snapshot %s: %w", digest, nhi.ErrNotFound)
	case slices.ContainsFunc(found, func(f nhi.Snapshot) bool { return f.Digest != found[0].Digest }):
		return n, fmt.Errorf("several snapshots begin with %s; give more of the digest: %w", digest, nhi.ErrConflict)
	}
	return found[0], nil
}

// maxHistory bounds what is listed of the history.
const maxHistory = 10_000

// History returns the newest entries, the newest first.
func (s *Store) History(ctx context.Context) (out []nhi.Snapshot, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		out, err = list(tx.Query(ctx, `
			SELECT   body
			FROM     snapshot
			ORDER BY sequence DESC
			LIMIT    $1`, maxHistory))
		return err
	})
	return out, err
}

// Waiting returns the entries that wait for a second administrator, the oldest
// first.
func (s *Store) Waiting(ctx context.Context) (out []nhi.Snapshot, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		out, err = list(tx.Query(ctx, `
			SELECT   body
			FROM     snapshot
			WHERE    state = 'waiting'
			ORDER BY sequence
			LIMIT    $1`, maxHistory))
		return err
	})
	return out, err
}

// A scanner is a row.
type scanner interface{ Scan(into ...any) error }

func one(row scanner) (n nhi.Snapshot, err error) {
	var body string
	if err := row.Scan(&body); err != nil {
		return n, err
	}
	if err := json.Unmarshal([]byte(body), &n); err != nil {
		return n, fmt.Errorf("read snapshot: %w", err)
	}
	return n, nil
}

func list(rows *store.Rows, err error) ([]nhi.Snapshot, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []nhi.Snapshot
	for rows.Next() {
		n, err := one(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, rows.Err()
}
