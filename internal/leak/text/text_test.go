package text

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/key"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

func newScanner(t testing.TB) *leak.Scanner {
	t.Helper()
	s, err := leak.NewScanner()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func found(s *leak.Scanner, p *Post) []string {
	ids := []string{}
	p.Scan(s, func(m *leak.Match) bool {
		ids = append(ids, m.PublicID)
		m.Wipe()
		return true
	})
	return ids
}

func TestAPostIsReadFromJSONAndFromPlainText(t *testing.T) {
	m := key.Mint(key.API)
	body, err := json.Marshal(map[string]any{
		"text": "look what I found: " + m.Reveal(), "source": "forum", "url": "https://forum.example/t/1",
		"author": "mallory", "posted_at": "2026-01-02T03:04:05Z",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := newScanner(t)
	p, err := Parse("application/json; charset=utf-8", body)
	if err != nil {
		t.Fatal(err)
	}
	if p.Source != "forum" || p.Author != "mallory" || !p.PostedAt.Equal(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("post %q %q %v", p.Source, p.Author, p.PostedAt)
	}
	if diff := cmp.Diff(nhi.Place{Kind: "message", Name: "https://forum.example/t/1"}, p.Place(s)); diff != "" {
		t.Error(diff)
	}
	for _, media := range []string{"text/plain", "text/plain; charset=utf-8", ""} {
		plain, err := Parse(media, []byte("key: "+m.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*Post{p, plain} {
			if diff := cmp.Diff([]string{m.ID}, found(s, p)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", media, diff)
			}
		}
	}
}

func TestWhatForumSoftwareDoesToAKeyDoesNotHideIt(t *testing.T) {
	s := newScanner(t)
	m := key.Mint(key.API)
	value := m.Reveal()
	for name, posted := range map[string]string{
		"Markdown escapes":      strings.ReplaceAll(value, "_", `\_`),
		"a zero-width space":    value[:20] + "\u200b" + value[20:],
		"soft hyphens":          value[:9] + "\u00ad" + value[9:30] + "\u00ad" + value[30:],
		"a word break tag":      value[:33] + "<wbr>" + value[33:],
		"syntax colouring":      `<span class="s">` + value[:11] + `</span><b>` + value[11:] + "</b>",
		"HTML entities":         strings.ReplaceAll(value, "_", "&#95;"),
		"hexadecimal entities":  strings.ReplaceAll(value, "_", "&#x5f;"),
		"a fenced block":        "```\n" + value + "\n```",
		"a quotation":           "> " + value,
		"a chat link":           "<https://example.com/?k=" + value + "|here>",
		"right-to-left marks":   "\u202e" + value + "\u202c",
		"base64 of the message": "bXVzdGVy", // nothing: only to show that noise is quiet
	} {
		want := []string{m.ID}
		if name == "base64 of the message" {
			want = []string{}
		}
		p, err := Parse("text/plain", []byte("before "+posted+" after "+posted))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, found(s, p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestABadBodyIsRefusedWithItsFieldAndWithoutItsContent(t *testing.T) {
	secret := key.Mint(key.API).Reveal()
	for _, tt := range []struct {
		name, media, body, reason string
		want                      error
	}{
		{"too large", "text/plain", strings.Repeat("x", MaxBody+1), "more than 1048576 bytes", nhi.ErrTooLarge},
		{"another media type", "text/html", "<p>", "content type", nhi.ErrInvalid},
		{"a broken media type", "text/plain; =" + secret, "x", "content type", nhi.ErrInvalid},
		{"empty", "text/plain", " \n", "text is empty", nhi.ErrInvalid},
		{"no text", "application/json", `{"source":"x"}`, "text is empty", nhi.ErrInvalid},
		{"null text", "application/json", `{"text":null}`, "text is not a string", nhi.ErrInvalid},
		{"a list", "application/json", `["` + secret + `"]`, "not a JSON object", nhi.ErrInvalid},
		{"a number for text", "application/json", `{"text":5}`, "text is not a string", nhi.ErrInvalid},
		{"a misspelt member", "application/json", `{"` + secret + `":"x"}`, "member 1 is unknown", nhi.ErrInvalid},
		{"the same member twice", "application/json", `{"text":"a","text":"` + secret + `"}`, "text is there twice", nhi.ErrInvalid},
		{"a bad time", "application/json", `{"text":"a","posted_at":"` + secret + `"}`, "posted_at", nhi.ErrInvalid},
		{"cut off", "application/json", `{"text":"` + secret, "at byte", nhi.ErrInvalid},
		{"two values", "application/json", `{"text":"a"} {}`, "more than one", nhi.ErrInvalid},
		{"deep nesting", "application/json", `{"text":` + strings.Repeat("[", 100000), "", nhi.ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := Parse(tt.media, []byte(tt.body))
			if p != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.reason) {
				t.Fatalf("Parse = %v, %v", p, err)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the error quotes the body")
			}
		})
	}
}

// Names and addresses are written by whoever posts.
func TestHostileNamesAreBoundedPrintableAndFreeOfSecrets(t *testing.T) {
	s := newScanner(t)
	secret := key.Mint(key.API).Reveal()
	body, err := json.Marshal(map[string]string{
		"text": "hello", "source": "a\x1b[31m\u202eb\nc" + strings.Repeat("é", 500), "author": "eve\x00",
		"url": "https://x:" + secret + "@example.com/",
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse("application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Source) > maxName || strings.ContainsAny(p.Source+p.Author, "\x1b\x00\n\u202e") {
		t.Errorf("source %q, author %q", p.Source, p.Author)
	}
	if place := p.Place(s); strings.Contains(place.Name, secret) || !strings.Contains(place.Name, "example.com") {
		t.Error("the place shows the secret, or not the host")
	}
}

// Each secret costs the server a public-key operation to prove.
func TestAPostFullOfForgedKeysIsCutOff(t *testing.T) {
	var body strings.Builder
	for range MaxSecrets + 50 {
		body.WriteString(key.Mint(key.API).Reveal() + "\n")
	}
	p, err := Parse("text/plain", []byte(body.String()))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(found(newScanner(t), p)); got != MaxSecrets {
		t.Errorf("reported %d secrets, want %d", got, MaxSecrets)
	}
}

func TestNothingOfThePostIsPrintedOrKept(t *testing.T) {
	s := newScanner(t)
	secret := key.Mint(key.API).Reveal()
	body := []byte(secret)
	p, err := Parse("", body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	if got := found(s, p); len(got) != 1 {
		t.Errorf("the post depends on the caller's body: found %v", got)
	}
	for _, shown := range []string{fmt.Sprint(p), fmt.Sprintf("%#v", *p), fmt.Sprintf("%+v", p), fmt.Sprintf("%x", p)} {
		if strings.Contains(shown, secret) || len(shown) > 40 {
			t.Errorf("printed as %q", shown)
		}
	}
	if out, err := json.Marshal(p); err != nil || strings.Contains(string(out), secret) {
		t.Errorf("marshalled as %s, %v", out, err)
	}
	kept := p.text
	p.Wipe()
	if strings.Contains(string(kept), secret) || len(found(s, p)) != 0 {
		t.Error("Wipe left the text")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("application/json", []byte(`{"text":"a","source":"b","url":"c","author":null,"posted_at":"2026-01-02T03:04:05Z"}`))
	f.Add("text/plain", []byte("<b>x</b> \\_ &#95; \u200b\xff"))
	s, err := leak.NewScanner()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, media string, body []byte) {
		p, err := Parse(media, body)
		if err != nil {
			if !errors.Is(err, nhi.ErrInvalid) && !errors.Is(err, nhi.ErrTooLarge) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		p.Scan(s, func(m *leak.Match) bool { m.Wipe(); return true })
		p.Place(s)
	})
}
