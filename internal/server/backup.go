package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/server/archive"
	"github.com/muster-id/muster/internal/server/scribe"
	"github.com/muster-id/muster/internal/server/view"
)

// backups implements frame.Backups, one at a time.
type backups struct {
	server *Server
	busy   sync.Mutex
}

// Backup implements frame.Backups.
func (b *backups) Backup(ctx context.Context, to io.Writer, recipients []string) error {
	if !b.busy.TryLock() {
		return fmt.Errorf("another backup is being written: wait for it: %w", nhi.ErrBusy)
	}
	defer b.busy.Unlock()
	lock := agefile.Lock{Recipients: recipients}
	if err := lock.Check(); err != nil {
		return nhi.Invalidf("recipients: %v", err)
	}
	s := b.server
	if err := s.learner.Save(); err != nil { // what was saved before is as good, but older
		slog.Warn("what was learned could not be saved before the backup", "error", err)
	}
	_, err := archive.Write(ctx, to, lock, archive.Source{Data: s.settings.Data, Store: s.db, Program: s.settings.Version, Hold: s.learner.Hold})
	return err
}

// reviewFor is how long a restore stays in the state of the server, unless
// somebody removes its file.
const reviewFor = 7 * 24 * time.Hour

// unfinished refuses a folder that a restore was killed in.
func unfinished(data string) error {
	entries, err := os.ReadDir(data)
	if err != nil {
		return fmt.Errorf("read the data folder: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), archive.Unfinished) {
			return fmt.Errorf("data folder %s: a restore was not finished there: run muster restore again, it clears the folder first; a database elsewhere must be emptied by hand", data)
		}
	}
	return nil
}

// restored tells everybody when this installation came out of a backup: what
// was revoked, contained or changed after it was made is undone, and only
// people can know what that was.
func (s *Server) restored(ctx context.Context, acts *scribe.Recorder) error {
	r, err := archive.ReadRestored(s.settings.Data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	sentence := fmt.Sprintf("This installation was restored at %s from a backup of %s. What was revoked, contained or changed in between is as it was before: revoke and contain it again. The audit log, if it was shipped elsewhere, and your providers know what it was.",
		r.RestoredAt.Format(time.RFC3339), r.BackupAt.Format(time.RFC3339))
	slog.Warn(sentence)
	f := nhi.Finding{
		ID: nhi.FindingID("restored-from-backup", "", "", r.RestoredAt.Format(time.RFC3339)), Rule: "restored-from-backup", Title: "Restored from a backup: later revocations are undone",
		Severity: nhi.High, Score: 70, Status: nhi.Open, FirstSeen: r.RestoredAt, LastSeen: r.RestoredAt, DetectedAt: r.RestoredAt, Count: 1, Sentence: sentence,
	}
	if err := s.respond.Found(ctx, []nhi.Finding{f}); err != nil {
		return err
	}
	s.health.Add(health.Check{Name: "restore", State: func(context.Context) health.State {
		path := filepath.Join(s.settings.Data, archive.RestoredFile)
		if _, err := os.Stat(path); err != nil || time.Since(r.RestoredAt) > reviewFor {
			return health.OK()
		}
		return health.Degraded(sentence, "then close the finding and remove "+path)
	}})
	detail := view.Encode(r)
	return acts.Record(ctx, nhi.Act{Key: "restored:" + f.ID, At: time.Now(), Actor: "system", Act: "installation.restore", Target: "installation", Reason: "muster restore", Outcome: "done", Detail: detail})
}
