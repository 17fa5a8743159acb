package store

import (
	"context"
	"fmt"
	"time"
)

// A Document is a file that was applied as a whole: routes, trust rules,
// resources, policies.
type Document struct {
	Name    string
	Body    []byte
	Version int64 // counts how often it was replaced, from 1
	Updated time.Time
}

// PutDocument replaces the document called name and returns its new version.
// It emits no change: the domain says what the new document means.
func (tx *Tx) PutDocument(ctx context.Context, name string, body []byte) (int64, error) {
	const query = `
		INSERT INTO document (name, body, version, updated)
		VALUES ($1, $2, 1, $3)
		ON CONFLICT (name) DO UPDATE
		SET    body = excluded.body, version = document.version + 1, updated = excluded.updated
		RETURNING version`
	var version int64
	if body == nil {
		body = []byte{} // no bytes, which is not the same as no value
	}
	if err := tx.QueryRow(ctx, query, name, body, Micros(time.Now())).Scan(&version); err != nil {
		return 0, fmt.Errorf("store document %s: %w", name, err)
	}
	return version, nil
}

// Document returns the document called name, or an error wrapping
// nhi.ErrNotFound.
func (tx *Tx) Document(ctx context.Context, name string) (Document, error) {
	const query = `
		SELECT body, version, updated
		FROM   document
		WHERE  name = $1`
	d := Document{Name: name}
	var updated int64
	if err := tx.QueryRow(ctx, query, name).Scan(&d.Body, &d.Version, &updated); err != nil {
		return Document{}, fmt.Errorf("document %s: %w", name, err)
	}
	d.Updated = Time(updated)
	return d, nil
}

// Position returns how far consumer has come, 0 when it has not begun.
func (tx *Tx) Position(ctx context.Context, consumer string) (uint64, error) {
	const query = `
		SELECT COALESCE(MAX(seq), 0)
		FROM   position
		WHERE  consumer = $1`
	var seq uint64
	if err := tx.QueryRow(ctx, query, consumer).Scan(&seq); err != nil {
		return 0, fmt.Errorf("position of %s: %w", consumer, err)
	}
	return seq, nil
}

// SetPosition records how far consumer has come. Write it in the transaction
// of the effects it stands for.
func (tx *Tx) SetPosition(ctx context.Context, consumer string, seq uint64) error {
	const query = `
		INSERT INTO position (consumer, seq)
		VALUES ($1, $2)
		ON CONFLICT (consumer) DO UPDATE
		SET    seq = excluded.seq`
	if _, err := tx.Exec(ctx, query, consumer, int64(seq)); err != nil {
		return fmt.Errorf("record position of %s: %w", consumer, err)
	}
	return nil
}
