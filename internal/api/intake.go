package api

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

func (s *server) intake(h huma.API) {
	o := frame.Operation(http.MethodPost, "/v1/sightings", "report-sighting", "leaks", "Report that a secret was seen; only a proven one acts by itself")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, in *frame.Body[client.ReportSighting]) (*frame.Body[client.SightingReply], error) {
		r, err := s.Intake.Sighting(ctx, frame.CallerOf(ctx).Source, in.Body)
		if err != nil {
			return nil, frame.Fail(err)
		}
		return &frame.Body[client.SightingReply]{Body: r}, nil
	})
	o = frame.Operation(http.MethodPost, "/v1/fingerprints/evaluate", "evaluate-fingerprints", "leaks", "Evaluate blinded elements (RFC 9497), at most 100 a call")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, func(ctx context.Context, in *frame.Body[client.EvaluateFingerprints]) (*frame.Body[client.EvaluatedFingerprints], error) {
		r, err := s.Intake.Evaluate(ctx, frame.CallerOf(ctx).Source, in.Body.Blinded)
		if err != nil {
			return nil, frame.Fail(err)
		}
		return &frame.Body[client.EvaluatedFingerprints]{Body: r}, nil
	})
}

// importFiles are the parts that an import may have.
var importFiles = []string{"authorization-details", "access-keys", "credential-report"}

// importAWS answers when all of the files are applied, or none.
func (s *server) importAWS(w http.ResponseWriter, r *http.Request) {
	s.upload(w, r, func(files map[string]io.Reader) (any, error) {
		return s.Intake.Import(r.Context(), frame.CallerOf(r.Context()).Actor(), files)
	})
}

// previewAWS answers what importAWS would change. It is a route of its own and
// no parameter: a server that does not know it refuses, where it would overlook
// the parameter and import.
func (s *server) previewAWS(w http.ResponseWriter, r *http.Request) {
	s.upload(w, r, func(files map[string]io.Reader) (any, error) { return s.Intake.Preview(r.Context(), files) })
}

// upload takes IAM's export files as multipart/form-data, one part each, in any
// order.
func (s *server) upload(w http.ResponseWriter, r *http.Request, use func(map[string]io.Reader) (any, error)) {
	frame.Patience(w, frame.UploadTime)
	r.Body = http.MaxBytesReader(w, r.Body, frame.MaxImport)
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		s.Refuse(w, frame.Problem(nhi.Invalidf("send the files as multipart/form-data, in parts named %s", strings.Join(importFiles, ", ")), 0))
		return
	}
	// Parts beyond 32 MB wait in temporary files, not in memory.
	if err := r.ParseMultipartForm(32 << 20); err != nil {
		var tooLarge *http.MaxBytesError
		if !errors.As(err, &tooLarge) {
			err = nhi.Invalidf("read the upload: %v", err)
		}
		s.Refuse(w, frame.Problem(err, 0))
		return
	}
	defer r.MultipartForm.RemoveAll()
	files, closeAll, err := openParts(r.MultipartForm)
	defer closeAll()
	if err != nil {
		s.Refuse(w, frame.Problem(err, 0))
		return
	}
	result, err := use(files)
	if err != nil {
		s.Refuse(w, frame.Problem(err, http.StatusForbidden))
		return
	}
	frame.WriteJSON(w, result)
}

func openParts(form *multipart.Form) (map[string]io.Reader, func(), error) {
	files, opened := map[string]io.Reader{}, []io.Closer{}
	closeAll := func() {
		for _, c := range opened {
			_ = c.Close() // only read from
		}
	}
	for name, parts := range form.File {
		known := false
		for _, k := range importFiles {
			known = known || k == name
		}
		if !known || len(parts) != 1 {
			return nil, closeAll, nhi.Invalidf("part %q: want each of %s at most once", name, strings.Join(importFiles, ", "))
		}
		f, err := parts[0].Open()
		if err != nil {
			return nil, closeAll, err
		}
		opened = append(opened, f)
		files[name] = f
	}
	if files["authorization-details"] == nil {
		return nil, closeAll, nhi.Invalidf("the part authorization-details is missing")
	}
	return files, closeAll, nil
}

// receiveLogs answers when every event that it counts is durable.
func (s *server) receiveLogs(w http.ResponseWriter, r *http.Request) {
	source := frame.CallerOf(r.Context()).Source
	format := r.PathValue("format")
	if source.Format != format {
		s.Refuse(w, frame.Problem(nhi.Invalidf("the source %s sends %s, not %s", source.Name, source.Format, format), 0))
		return
	}
	frame.Patience(w, frame.UploadTime)
	result, err := s.Intake.Logs(r.Context(), source, format, http.MaxBytesReader(w, r.Body, frame.MaxLogs))
	if err != nil {
		s.Refuse(w, frame.Problem(err, http.StatusForbidden))
		return
	}
	frame.WriteJSON(w, result)
}

// receiveText answers with what the text's secrets turned out to be. Nothing
// of the text is kept.
func (s *server) receiveText(w http.ResponseWriter, r *http.Request) {
	replies, err := s.Intake.Text(r.Context(), frame.CallerOf(r.Context()).Source, r.Header.Get("Content-Type"), http.MaxBytesReader(w, r.Body, frame.MaxText))
	if err != nil {
		s.Refuse(w, frame.Problem(err, http.StatusForbidden))
		return
	}
	if replies == nil {
		replies = []client.SightingReply{}
	}
	frame.WriteJSON(w, client.Page[client.SightingReply]{Items: replies, Total: len(replies)})
}
