package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

const (
	maxRecipients = 8
	// A piece of a backup must be taken within this time, all of it in any.
	backupPatience = time.Minute
)

// backup serves POST /v1/backup {recipients}: a stream that is encrypted before
// it leaves. What fails under way cuts the connection, and a reader of the file
// notices that it has no end.
func (s *server) backup(w http.ResponseWriter, r *http.Request) {
	var in client.BackupRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if d.Decode(&in) != nil || len(in.Recipients) == 0 || len(in.Recipients) > maxRecipients {
		s.Refuse(w, frame.Problem(nhi.Invalidf(`want {"recipients": ["age1..."]}, of at most %d: who can read the backup; age-keygen makes one`, maxRecipients), 0))
		return
	}
	if err := s.Act(r.Context(), "backup.create", "installation", ""); err != nil {
		s.Refuse(w, frame.Problem(err, 0))
		return
	}
	out := &slow{to: w, control: http.NewResponseController(w)}
	_ = out.control.SetReadDeadline(time.Time{}) // the request was read
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="muster.backup"`)
	err := s.Backups.Backup(r.Context(), out, in.Recipients)
	switch {
	case err == nil:
	case !out.begun:
		w.Header().Del("Content-Disposition")
		s.Refuse(w, frame.Problem(err, 0))
	default:
		slog.Error("a backup was cut off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// slow gives each piece its time, so that a large backup may take hours and a
// reader that went away may not.
type slow struct {
	to      io.Writer
	control *http.ResponseController
	begun   bool
}

// Write implements io.Writer.
func (s *slow) Write(p []byte) (int, error) {
	s.begun = true
	_ = s.control.SetWriteDeadline(time.Now().Add(backupPatience)) // a server that cannot keeps its own
	return s.to.Write(p)
}
