package frame

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"os"

	"github.com/muster-id/muster/internal/nhi"
)

// A body is what was sent with a key: read to its end before anything is done,
// so that it can be compared with what was sent before.
type body struct {
	io.Reader
	digest string   // what tells it from another: itself, or a keyed hash
	file   *os.File // holds what is too much for memory; may be nil
}

// Close forgets the body.
func (b *body) Close() error {
	if b.file == nil {
		return nil
	}
	err := errors.Join(b.file.Close(), os.Remove(b.file.Name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went at once, and closing what was read cannot lose anything
	}
	return err
}

// MaxKeyedLogs bounds logs that are sent with a key. They wait in a file until
// they have arrived, and sources are many. More can be sent without one: the
// same bytes are counted once in any case.
const MaxKeyedLogs = 64 << 20

// sizes bounds what is sent with a key to routes that take more than others.
var sizes = map[string]int64{
	"PUT /v1/documents/{name}": MaxDocument, "POST /v1/inventory/imports/aws": MaxImport, "POST /receive/logs/{format}": MaxKeyedLogs,
}

// take reads a request's body. The caller closes it.
func (s *Frame) take(w http.ResponseWriter, r *http.Request, pattern string) (_ *body, err error) {
	most := int64(MaxBody)
	if n, ok := sizes[pattern]; ok {
		Patience(w, UploadTime)
		most = n
	}
	from := http.MaxBytesReader(w, r.Body, most)
	start, err := io.ReadAll(io.LimitReader(from, MaxBody))
	if err != nil {
		return nil, err
	}
	b := &body{Reader: bytes.NewReader(start), digest: string(start)}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if len(start) == MaxBody {
		if err := b.spill(start, from); err != nil {
			return b, err
		}
	}
	if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" {
		return b, s.digestParts(b, params["boundary"])
	}
	if b.file != nil {
		err = s.digestAll(b)
	}
	return b, err
}

// spill puts a body into a file.
func (b *body) spill(start []byte, rest io.Reader) error {
	f, err := os.CreateTemp("", "muster-request-")
	if err != nil {
		return fmt.Errorf("keep a request until it has arrived: %w", err)
	}
	b.file, b.Reader = f, f
	// An open file needs no name where the system allows that: whoever looks
	// into the folder finds nothing, a killed server leaves nothing behind.
	_ = os.Remove(f.Name()) // elsewhere Close removes it
	if _, err := io.Copy(f, io.MultiReader(bytes.NewReader(start), rest)); err != nil {
		return fmt.Errorf("keep a request until it has arrived: %w", err)
	}
	return b.rewind()
}

func (b *body) rewind() error {
	_, err := b.Reader.(io.Seeker).Seek(0, io.SeekStart)
	return err
}

func (s *Frame) digestAll(b *body) error {
	h := hmac.New(sha256.New, s.Key)
	if _, err := io.Copy(h, b); err != nil {
		return fmt.Errorf("compare a request: %w", err)
	}
	b.digest = hex.EncodeToString(h.Sum(nil))
	return b.rewind()
}

// digestParts compares a form by its parts: what parts them is made up anew by
// whoever sends it again.
func (s *Frame) digestParts(b *body, boundary string) error {
	h := hmac.New(sha256.New, s.Key)
	for form := multipart.NewReader(b, boundary); ; {
		p, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nhi.Invalidf("read the upload: %v", err)
		}
		content := hmac.New(sha256.New, s.Key)
		if _, err := io.Copy(content, p); err != nil {
			return nhi.Invalidf("read the upload: %v", err)
		}
		fmt.Fprintf(h, "%q%x", p.FormName(), content.Sum(nil))
	}
	b.digest = hex.EncodeToString(h.Sum(nil))
	return b.rewind()
}
