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
	"sync"

	"github.com/muster-id/muster/internal/nhi"
)

// A body is what was sent with a key: read to its end before anything is done,
// so that it can be compared with what was sent before.
type body struct {
	io.Reader
	digest string   // what tells it from another: itself, or a keyed hash
	file   *os.File // holds what is too much for memory; may be nil
	end    func()   // gives the place of the file up; nil with file
}

// Close forgets the body.
func (b *body) Close() error {
	if b.file == nil {
		return nil
	}
	f := b.file
	b.file = nil // whoever closes again closes nothing
	b.end()
	err := errors.Join(f.Close(), os.Remove(f.Name()))
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
		end, err := s.large.begin(CallerOf(r.Context()).Self())
		if err != nil {
			return b, err
		}
		if err := b.spill(start, from, end); err != nil {
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

// maxWaiting bounds the requests of one caller that wait in files at a time: the
// disk they fill is everybody's.
const maxWaiting = 8

// waiting counts the requests of each caller that wait in files.
type waiting struct {
	mu sync.Mutex     // guards of
	of map[string]int // by caller
}

// begin takes a place until end. The error wraps nhi.ErrBusy when the caller has
// no more.
func (w *waiting) begin(who string) (end func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of[who] >= maxWaiting {
		return nil, fmt.Errorf("%d requests of yours with an Idempotency-Key and more than %d MB are on their way; wait until one is answered, or send without a key: %w", maxWaiting, MaxBody>>20, nhi.ErrBusy)
	}
	if w.of == nil {
		w.of = map[string]int{}
	}
	w.of[who]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.of[who]--; w.of[who] == 0 {
			delete(w.of, who)
		}
	}, nil
}

// spill puts a body into a file. end is called when the file is closed, or there
// is none.
func (b *body) spill(start []byte, rest io.Reader, end func()) error {
	f, err := os.CreateTemp("", "muster-request-")
	if err != nil {
		end()
		return fmt.Errorf("keep a request until it has arrived: %w", err)
	}
	b.file, b.Reader, b.end = f, f, end
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
