package client

import (
	"context"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// patient is the client without a timeout of its own, for calls whose length
// nobody knows. The context still ends them.
func (c *Client) patient() *Client {
	long, h := *c, *c.http
	h.Timeout = 0
	long.http = &h
	return &long
}

// ImportAWS sends IAM's export files: readers by form (authorization-details,
// access-keys, credential-report). They are streamed, never held in memory.
// The server applies all of them or none. It blocks until it has; the caller
// closes the readers.
func (c *Client) ImportAWS(ctx context.Context, files map[string]io.Reader, options ...Option) (out ImportResult, err error) {
	err = c.sendForm(ctx, "/v1/inventory/imports/aws", files, &out, options...)
	return out, err
}

// PreviewAWS says what [Client.ImportAWS] of the same files would change now,
// and changes nothing. Other writes wait for as long as the import would take.
func (c *Client) PreviewAWS(ctx context.Context, files map[string]io.Reader, options ...Option) (out ImportPreview, err error) {
	err = c.sendForm(ctx, "/v1/inventory/imports/aws/preview", files, &out, options...)
	return out, err
}

func (c *Client) sendForm(ctx context.Context, path string, files map[string]io.Reader, out any, options ...Option) error {
	read, write := io.Pipe()
	form := multipart.NewWriter(write)
	sent := make(chan struct{})
	go func() { // ends when all is written, or when read is closed below
		defer close(sent)
		write.CloseWithError(writeForm(form, files))
	}()
	err := c.patient().Do(ctx, http.MethodPost, path, form.FormDataContentType(), read, out, options...)
	read.Close()
	<-sent
	return err
}

func writeForm(form *multipart.Writer, files map[string]io.Reader) error {
	for _, name := range slices.Sorted(maps.Keys(files)) { // the same request is the same bytes
		part, err := form.CreateFormFile(name, name)
		if err != nil {
			return err
		}
		if _, err := io.Copy(part, files[name]); err != nil {
			return fmt.Errorf("send %s: %w", name, err)
		}
	}
	return form.Close()
}

// ReceiveLogs sends activity in the named format, as the source whose key the
// client holds. What the reply counts is durable; the same bytes sent again
// change nothing. It blocks until the server has read body, which the caller
// still owns. With an [IdempotencyKey] it takes at most 64 MB.
func (c *Client) ReceiveLogs(ctx context.Context, format string, body io.Reader, options ...Option) (Received, error) {
	var out Received
	lent := &loan{r: body}
	err := c.patient().Do(ctx, http.MethodPost, "/receive/logs/"+url.PathEscape(format), "application/octet-stream", lent, &out, options...)
	if ctx.Err() == nil {
		lent.Close()
	}
	return out, err
}

// ReceiveText has the server look for secrets in a text, as the source whose
// key the client holds: text/plain, or what the source's format says. Nothing
// of the text is kept. The reply says what each secret turned out to be.
func (c *Client) ReceiveText(ctx context.Context, contentType string, body io.Reader, options ...Option) (out Page[SightingReply], err error) {
	err = c.Do(ctx, http.MethodPost, "/receive/text", contentType, body, &out, options...)
	return out, err
}

// A loan is a reader that can be taken back: the transport may go on reading a
// body after the reply has come.
type loan struct {
	mu sync.Mutex // guards r, and is held while it is read
	r  io.Reader
}

// Read implements io.Reader.
func (l *loan) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, io.EOF
	}
	return l.r.Read(p)
}

// Close takes the reader back, when nobody reads it any more.
func (l *loan) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r = nil
	return nil
}

// ExportDecisions writes the decisions of a time to w, the newest first: as "jsonl"
// or "csv". next, if it is not empty, is the page token of those that follow behind
// the limit. After an error w may hold a part.
func (c *Client) ExportDecisions(ctx context.Context, format string, q DecisionQuery, w io.Writer) (next string, err error) {
	query := values(q)
	query.Set("format", format)
	res, err := c.patient().send(ctx, http.MethodGet, "/v1/decisions/export?"+query.Encode(), "", "application/jsonl, text/csv, application/problem+json", nil, callOf(nil))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return res.Trailer.Get("Muster-Next"), err
}
