// Package offline composes the commands that need no server and no data folder:
// [Scan] finds leaked secrets in a folder and can report them to a server
// without sending one; [Replay] learns from logs as a live server would have,
// and says what would have been found.
package offline

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/leak/dir"
)

// A Reporter proves leaks to a server without sending a secret: it blinds each
// one, has the server evaluate the blinded elements, and reports the
// fingerprint that comes out.
type Reporter struct {
	Client *client.Client
	// Replied, if not nil, is called with every answer, in the order found.
	Replied func(leak.Record, client.SightingReply)

	waiting []sighted
}

// A sighted is a match on its way to the server.
type sighted struct {
	record   leak.Record
	place    client.Place
	blinding *fingerprint.Blinding
	element  []byte
}

// maxBlinded is how many elements one call evaluates.
const maxBlinded = 100

// add takes a match over. It blinds the secret and wipes it.
func (r *Reporter) add(ctx context.Context, file string, m *leak.Match) error {
	defer m.Wipe()
	rec := leak.Record{Rule: m.Rule, Provider: m.Provider, Kind: m.Kind, PublicID: m.PublicID, File: file, Line: m.Line, Column: m.Column, Confidence: m.Confidence}
	s := sighted{record: rec, place: client.Place{Kind: "file", Name: file, Line: m.Line}}
	if secret := m.Secret(); secret != nil {
		if canonical, err := fingerprint.Canonical(m.Class, secret); err == nil {
			b, element, err := fingerprint.Blind(m.Class, canonical)
			clear(canonical)
			if err != nil {
				return fmt.Errorf("blind the secret in %s: %w", file, err)
			}
			s.blinding, s.element = b, element
		}
	}
	if s.blinding == nil && rec.PublicID == "" {
		return nil // nothing that a server could recognise
	}
	r.waiting = append(r.waiting, s)
	if len(r.waiting) < maxBlinded {
		return nil
	}
	return r.flush(ctx)
}

// flush reports what waits.
func (r *Reporter) flush(ctx context.Context) error {
	if len(r.waiting) == 0 {
		return nil
	}
	waiting := r.waiting
	r.waiting = nil
	request := client.EvaluateFingerprints{}
	for _, s := range waiting {
		if s.blinding != nil {
			request.Blinded = append(request.Blinded, s.element)
		}
	}
	var evaluated client.EvaluatedFingerprints
	if len(request.Blinded) > 0 {
		if err := r.Client.Send(ctx, http.MethodPost, "/v1/fingerprints/evaluate", request, &evaluated); err != nil {
			return fmt.Errorf("prove the secrets that were found: %w", err)
		}
		if len(evaluated.Evaluated) != len(request.Blinded) {
			return fmt.Errorf("the server evaluated %d elements of %d", len(evaluated.Evaluated), len(request.Blinded))
		}
	}
	next := 0
	for _, s := range waiting {
		report := client.ReportSighting{Rule: s.record.Rule, Provider: s.record.Provider, Kind: s.record.Kind, PublicID: s.record.PublicID, Place: s.place}
		if s.blinding != nil {
			var err error
			if report.Fingerprint, err = s.blinding.Finalize(evaluated.Version, evaluated.Evaluated[next]); err != nil {
				return fmt.Errorf("unblind a fingerprint: %w", err)
			}
			next++
		}
		var reply client.SightingReply
		if err := r.Client.Send(ctx, http.MethodPost, "/v1/sightings", report, &reply); err != nil {
			return fmt.Errorf("report the secret in %s: %w", s.record.File, err)
		}
		if r.Replied != nil {
			r.Replied(s.record, reply)
		}
	}
	return nil
}

// ScanSettings say what is scanned and who is told.
type ScanSettings struct {
	Path string // a folder or a file
	// Found is called for every secret, in order; the record holds nothing
	// secret. May be nil.
	Found func(leak.Record) error
	// Reporter, if not nil, proves what is found to a server.
	Reporter *Reporter
	Progress func(files, bytes int64)
	Failed   func(error) // what could not be read; the scan goes on
}

// Scan finds secrets in a folder. It needs no server and sends nothing unless
// a Reporter is given. It blocks until the folder is read.
func Scan(ctx context.Context, s ScanSettings) (dir.Summary, error) {
	scanner, err := leak.NewScanner()
	if err != nil {
		return dir.Summary{}, fmt.Errorf("load the leak rules: %w", err)
	}
	var prints leak.Fingerprints // remembers each distinct value's
	sum, err := dir.Scan(ctx, scanner, filepath.Clean(s.Path), dir.Options{Progress: s.Progress, Failed: s.Failed}, func(file string, m *leak.Match) error {
		if s.Found != nil {
			if err := s.Found(prints.Record(m, file)); err != nil {
				m.Wipe()
				return err
			}
		}
		if s.Reporter == nil {
			m.Wipe()
			return nil
		}
		return s.Reporter.add(ctx, file, m)
	})
	if err != nil {
		return sum, err
	}
	if s.Reporter != nil {
		return sum, s.Reporter.flush(ctx)
	}
	return sum, nil
}
