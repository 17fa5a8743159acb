package client

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEventsAreReadUntilTheStreamEnds(t *testing.T) {
	const text = "event: hello\ndata: {}\n\n" + ": a comment\n\n" + "event: finding\nid: 7\ndata: {\"id\":\ndata: 1}\n\n" + "event: cut\ndata: 1"
	var got []Event
	err := readEvents(strings.NewReader(text), func(e Event) error { got = append(got, e); return nil })
	want := []Event{{Name: "hello", Data: []byte("{}")}, {Name: "finding", ID: "7", Data: []byte("{\"id\":\n1}")}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("err = %v, want an unexpected end", err)
	}
}

func TestAnEndlessEventIsRefused(t *testing.T) {
	err := readEvents(io.MultiReader(strings.NewReader("data: "), strings.NewReader(strings.Repeat("x", maxEvent+1))), func(Event) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "over 4 MB") {
		t.Errorf("err = %v", err)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("event: hello\ndata: {}\n\n")
	f.Add("data\n:\n\r\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if err := readEvents(strings.NewReader(text), func(Event) error { return nil }); err == nil {
			t.Error("a stream ended without an error")
		}
	})
}

func TestTheStreamCarriesTheTokenAndStopsWhenTheReaderHasEnough(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" || r.URL.Query().Get("topics") != "decision,action" {
			http.Error(w, `{"title":"Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "event: decision\ndata: 1\n\nevent: decision\ndata: 2\n\n")
	}))
	defer srv.Close()
	c, err := New(srv.URL, "t")
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	n := 0
	if err := c.Stream(t.Context(), StreamQuery{Topics: []string{"decision", "action"}}, func(Event) error { n++; return enough }); !errors.Is(err, enough) || n != 1 {
		t.Errorf("err = %v after %d events", err, n)
	}
	c.token = "wrong"
	var refused *Error
	if err := c.Stream(t.Context(), StreamQuery{Topics: []string{"decision"}}, func(Event) error { return nil }); !errors.As(err, &refused) || refused.Status != 401 {
		t.Errorf("err = %v, want a 401", err)
	}
}

func TestImportFilesArriveAsParts(t *testing.T) {
	got := map[string]string{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		parts := multipart.NewReader(r.Body, params["boundary"])
		for {
			p, err := parts.NextPart()
			if err != nil {
				break
			}
			b, _ := io.ReadAll(p)
			got[p.FormName()] = string(b)
		}
		_, _ = io.WriteString(w, `{"identities":2}`)
	}))
	defer srv.Close()
	c, err := New(srv.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.ImportAWS(t.Context(), map[string]io.Reader{"a": strings.NewReader("1"), "b": strings.NewReader("2")})
	if err != nil || res.Identities != 2 {
		t.Fatalf("res = %+v, err = %v", res, err)
	}
	if diff := cmp.Diff(map[string]string{"a": "1", "b": "2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAFileThatCannotBeReadEndsTheImport(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer srv.Close()
	c, err := New(srv.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the disk broke")
	_, err = c.ImportAWS(context.WithoutCancel(t.Context()), map[string]io.Reader{"a": failing{broken}})
	if !errors.Is(err, broken) {
		t.Errorf("err = %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestLogsAreStreamedAndTheReaderStaysOpen(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/receive/logs/cloudtrail" || string(b) != "{}" {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		_, _ = io.WriteString(w, `{"events":1,"duplicate":true}`)
	}))
	defer srv.Close()
	c, err := New(srv.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	body := &closing{Reader: strings.NewReader("{}")}
	got, err := c.ReceiveLogs(t.Context(), "cloudtrail", body)
	if diff := cmp.Diff(Received{Events: 1, Duplicate: true}, got); err != nil || diff != "" || body.closed {
		t.Errorf("err = %v, closed = %v (-want +got):\n%s", err, body.closed, diff)
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }
