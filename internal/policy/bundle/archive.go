package bundle

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// signatureFile is the first entry of every bundle.
const signatureFile = "signature.json"

// maxEnvelope bounds the signed manifest with its signature.
const maxEnvelope = 2 << 20

// policyFile is the one file of policies that lies beside the folders.
const policyFile = "policies.cedar"

// The folders of a library, with how the names of their files end.
var folders = map[string]string{policyFolder: ".cedar", "grants": ".yaml", testFolder: testEnd, "generated": ".cedar"}

const (
	policyFolder = "policies"
	testFolder   = "tests"
	testEnd      = ".yaml"

	maxName  = 200
	maxDepth = 8
)

// CheckName returns why a file may not be in a bundle, an error wrapping
// nhi.ErrInvalid. Allowed are policies.cedar, policies/**/*.cedar,
// policies/**/tests/**/*.yaml, grants/**/*.yaml, tests/**/*.yaml and
// generated/**/*.cedar, each part of a path of letters, digits, '-', '_' and '.', and
// not beginning with '.'. So no name climbs out of a folder, is hidden, or means
// something else on another system.
func CheckName(name string) error {
	if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./", r)
	}) {
		return nhi.Invalidf("file name %.80q: use letters, digits, '-', '_' and '.', at most %d in all", name, maxName)
	}
	if name == policyFile {
		return nil
	}
	parts := strings.Split(name, "/")
	end, known := folders[parts[0]]
	beside := isBeside(parts)
	if beside {
		end = testEnd
	}
	switch {
	case !known || len(parts) < 2 || len(parts) > maxDepth:
		return nhi.Invalidf("file %q: a library has %s, policies/**/*.cedar, grants/**/*.yaml and tests/**/*.yaml, also below policies/, at most %d folders deep", name, policyFile, maxDepth)
	case !strings.HasSuffix(name, end) && parts[0] == policyFolder:
		return nhi.Invalidf("file %q: files under policies/ end in .cedar; tests end in .yaml and lie in a folder named tests", name)
	case !strings.HasSuffix(name, end):
		return nhi.Invalidf("file %q: files under %s/ end in %s", name, parts[0], end)
	}
	for _, p := range parts {
		if p == "" || p[0] == '.' || p == end {
			return nhi.Invalidf("file %q: no part of a path is empty or begins with '.'", name)
		}
	}
	return nil
}

// isBeside reports whether a path is that of tests beside policies.
func isBeside(parts []string) bool {
	last := len(parts) - 1
	return parts[0] == policyFolder && last > 1 && slices.Contains(parts[1:last], testFolder) && strings.HasSuffix(parts[last], testEnd)
}

// CheckFiles returns why files cannot be one bundle, an error wrapping
// nhi.ErrInvalid: too many, too large, a bad name, or two names that are one on a
// system that does not tell capitals apart.
func CheckFiles(files map[string]string) error {
	if len(files) > MaxFiles {
		return nhi.Invalidf("%d files, at most %d are allowed", len(files), MaxFiles)
	}
	total, lower := 0, make(map[string]string, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := CheckName(name); err != nil {
			return err
		}
		key := strings.ToLower(name)
		if other, taken := lower[key]; taken {
			return nhi.Invalidf("files %q and %q are one file where capitals do not count", other, name)
		}
		lower[key] = name
		if len(files[name]) > MaxFile {
			return nhi.Invalidf("file %q has %d bytes, at most %d are allowed", name, len(files[name]), MaxFile)
		}
		if total += len(files[name]); total > MaxTotal {
			return nhi.Invalidf("all files together are over %d bytes", MaxTotal)
		}
	}
	return nil
}

// Policies are those of files that Cedar reads, by name.
func Policies(files map[string]string) map[string]string {
	out := map[string]string{}
	for name, text := range files {
		if strings.HasSuffix(name, ".cedar") {
			out[name] = text
		}
	}
	return out
}

// write writes the tar: the envelope, then the files by name.
func write(to io.Writer, envelope []byte, files map[string]string) error {
	w := tar.NewWriter(to)
	if err := entry(w, signatureFile, envelope); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := entry(w, name, []byte(files[name])); err != nil {
			return err
		}
	}
	return w.Close()
}

func entry(w *tar.Writer, name string, body []byte) error {
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(body)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
	if err := w.WriteHeader(head); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// read takes a tar apart: the envelope and the files. It allows nothing but
// regular files with good names, each once, in the order that write gives them,
// and nothing after the end.
func read(data []byte) (envelope []byte, files map[string]string, err error) {
	if len(data) > MaxBundle {
		return nil, nil, fmt.Errorf("%w: over %d bytes", ErrFormat, MaxBundle)
	}
	r := tar.NewReader(bytes.NewReader(data))
	files = map[string]string{}
	total, last := 0, ""
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		limit := MaxFile
		if envelope == nil {
			limit = maxEnvelope
		}
		if err := admit(head, limit); err != nil {
			return nil, nil, err
		}
		body, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
		if err != nil || int64(len(body)) != head.Size {
			return nil, nil, fmt.Errorf("%w: %q is cut", ErrFormat, head.Name)
		}
		if envelope == nil {
			if head.Name != signatureFile {
				return nil, nil, fmt.Errorf("%w: it begins with %q and not with %s", ErrFormat, head.Name, signatureFile)
			}
			envelope = body
			continue
		}
		if total += len(body); total > MaxTotal || len(files) == MaxFiles {
			return nil, nil, fmt.Errorf("%w: over %d files or %d bytes", ErrFormat, MaxFiles, MaxTotal)
		}
		if err := CheckName(head.Name); err != nil {
			return nil, nil, fmt.Errorf("%w: %v", ErrFormat, err)
		}
		if head.Name <= last {
			return nil, nil, fmt.Errorf("%w: %q stands twice or out of order", ErrFormat, head.Name)
		}
		last, files[head.Name] = head.Name, string(body)
	}
	if envelope == nil {
		return nil, nil, fmt.Errorf("%w: it is empty", ErrFormat)
	}
	if err := CheckFiles(files); err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	// A tar may hold more behind its end, or in fields that are of no use here: what
	// was signed is one row of bytes, so only that row is taken.
	var again bytes.Buffer
	if err := write(&again, envelope, files); err != nil || !bytes.Equal(again.Bytes(), data) {
		return nil, nil, fmt.Errorf("%w: it holds more than files and their names", ErrFormat)
	}
	return envelope, files, nil
}

// admit refuses an entry for what its head says.
func admit(head *tar.Header, limit int) error {
	switch {
	case head.Typeflag != tar.TypeReg:
		return fmt.Errorf("%w: %q is no regular file", ErrFormat, head.Name)
	case head.Size < 0 || head.Size > int64(limit):
		return fmt.Errorf("%w: %q has %d bytes, at most %d are allowed", ErrFormat, head.Name, head.Size, limit)
	}
	return nil
}
