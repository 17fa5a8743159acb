package inventory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/nhi"
)

// A Recognised credential is one that a text speaks of.
type Recognised struct {
	nhi.Credential
	Proven bool // the text holds its value, not only its public id
}

// maxCandidates is how many words of a text are looked at.
const maxCandidates = 24

// Recognise returns the credentials whose value, public id or fingerprint the
// text holds: what somebody finds who pastes a key. Nothing of the text is
// kept. Computing fingerprints takes about 0.2 ms for each word.
func (s *Service) Recognise(ctx context.Context, text string) ([]Recognised, error) {
	var out []Recognised
	add := func(c nhi.Credential, proven bool) {
		for i := range out {
			if out[i].ID == c.ID {
				out[i].Proven = out[i].Proven || proven
				return
			}
		}
		out = append(out, Recognised{c, proven})
	}
	err := s.store.View(ctx, func(tx Tx) error {
		for _, word := range candidates(text) {
			if err := s.recognise(ctx, tx, word, add); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("recognise a credential: %w", err)
	}
	return out, nil
}

// candidates are the parts of a text that may be a credential: a private key
// as a whole, or else the words.
func candidates(text string) []string {
	text = strings.TrimSpace(text)
	if strings.Contains(text, "-----BEGIN ") {
		return []string{text}
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\r\n\"'`,;()[]{}<>", r) })
	var out []string
	for _, w := range words {
		out = append(out, w)
		// NAME=value and name:value, but not the = that ends base64.
		if i := strings.IndexAny(w, "=:"); i > 0 && i < len(w)-3 && !strings.HasPrefix(w, "f1:") {
			out = append(out, w[i+1:])
		}
	}
	return out[:min(len(out), maxCandidates)]
}

func (s *Service) recognise(ctx context.Context, tx Tx, word string, add func(nhi.Credential, bool)) error {
	id := word
	classes := []fingerprint.Class{fingerprint.Opaque, fingerprint.AWS}
	if parsed, err := key.Parse(word); err == nil {
		id, classes = parsed.ID, []fingerprint.Class{fingerprint.Muster}
	} else if strings.HasPrefix(word, "-----BEGIN ") {
		classes = []fingerprint.Class{fingerprint.PEM}
	}
	rows, err := tx.ByPublicID(ctx, id)
	if err != nil {
		return err
	}
	verifier := key.VerifierOf(word)
	for _, c := range rows {
		add(c, bytes.Equal(c.Verifier, verifier[:]))
	}
	prints := []string{word} // it may be a fingerprint itself
	if len(word) >= 16 {
		for _, class := range classes {
			if canonical, err := fingerprint.Canonical(class, []byte(word)); err == nil {
				print, err := s.fingerprints.Of(class, canonical)
				if err != nil {
					continue // not the form of that class
				}
				prints = append(prints, print)
			}
		}
	}
	for i, print := range prints {
		c, err := tx.ByFingerprint(ctx, print)
		switch {
		case errors.Is(err, nhi.ErrNotFound):
		case err != nil:
			return err
		default:
			add(c, i > 0)
		}
	}
	return nil
}
