// Package text finds leaked secrets in what people post: forum threads, chat
// messages, pastes. It is behind the receiver /receive/text.
//
// A post arrives as text/plain, or as a JSON object
//
//	{"text": "...", "source": "...", "url": "...", "author": "...", "posted_at": "2026-01-02T03:04:05Z"}
//
// of which only text is needed. [Parse] reads it, [Post.Scan] finds the secrets
// and [Post.Place] says where they were seen. Then [Post.Wipe] overwrites the
// text: nothing of a body is ever stored, and no error quotes any of it.
//
// Software between people rewrites what they post. It escapes underscores for
// Markdown, breaks long words with invisible characters, turns slashes into
// HTML entities and colours code with tags. So a post is scanned twice, as it
// came and with all of that undone.
package text

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"mime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

// MaxBody is the largest body accepted, in bytes.
const MaxBody = 1 << 20

// MaxSecrets is how many secrets of one post are reported. Each of them costs
// whoever proves it a public-key operation.
const MaxSecrets = 1000

// The longest description kept of a post, in bytes.
const (
	maxName = 200
	maxURL  = 2000
)

// A Post is one message and where it came from. Source, URL and Author were
// written by strangers: they are bounded and printable, and otherwise hostile
// text. They may even hold a secret; Place hides it.
type Post struct {
	Source   string
	URL      string
	Author   string
	PostedAt time.Time // zero if not told

	text []byte
}

// Parse reads a body of the given media type: text/plain, application/json, or
// empty for plain text. The post keeps no reference to body. The error wraps
// nhi.ErrInvalid or nhi.ErrTooLarge and names the field; it quotes nothing.
func Parse(contentType string, body []byte) (*Post, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("posted text: %w: more than %d bytes", nhi.ErrTooLarge, MaxBody)
	}
	media := "text/plain"
	if contentType != "" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, fmt.Errorf("posted text: %w: malformed content type", nhi.ErrInvalid)
		}
	}
	switch media {
	case "text/plain":
		return newPost(bytes.Clone(body))
	case "application/json":
		return parseJSON(body)
	}
	return nil, fmt.Errorf("posted text: %w: content type is neither text/plain nor application/json", nhi.ErrInvalid)
}

func newPost(text []byte) (*Post, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, fmt.Errorf("posted text: %w: text is empty", nhi.ErrInvalid)
	}
	return &Post{text: text}, nil
}

// parseJSON reads the object strictly: a member that nobody knows is refused,
// because a misspelt "text" would pass for a clean post.
func parseJSON(body []byte) (*Post, error) {
	var s jsonscan.Scanner
	s.Reset(body, 4)
	if !s.Object() {
		return nil, fmt.Errorf("posted text: %w: body is not a JSON object", nhi.ErrInvalid)
	}
	members := map[string][]byte{}
	for s.Next() {
		name := memberName(s.KeySpan())
		if name == "" {
			return nil, fmt.Errorf("posted text: %w: member %d is unknown; known are text, source, url, author and posted_at", nhi.ErrInvalid, len(members)+1)
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("posted text: %w: %s is there twice", nhi.ErrInvalid, name)
		}
		if s.Kind() == jsonscan.Null && name != "text" {
			s.Skip()
			members[name] = nil
			continue
		}
		value, ok := s.Text()
		if !ok && s.Err() == nil {
			return nil, fmt.Errorf("posted text: %w: %s is not a string", nhi.ErrInvalid, name)
		}
		members[name] = value.Append(nil)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("posted text: %w: at byte %d: %w", nhi.ErrInvalid, s.Pos(), err)
	}
	if !s.End() {
		return nil, fmt.Errorf("posted text: %w: more than one JSON value", nhi.ErrInvalid)
	}
	return fromMembers(members)
}

// memberName returns the name of a known member, else "".
func memberName(key jsonscan.Span) string {
	switch name := string(key.Append(nil)); name {
	case "text", "source", "url", "author", "posted_at":
		return name
	}
	return ""
}

func fromMembers(members map[string][]byte) (*Post, error) {
	p, err := newPost(members["text"])
	if err != nil {
		return nil, err
	}
	p.Source = printable(members["source"], maxName)
	p.URL = printable(members["url"], maxURL)
	p.Author = printable(members["author"], maxName)
	if at := members["posted_at"]; len(at) > 0 {
		if p.PostedAt, err = time.Parse(time.RFC3339, string(at)); err != nil {
			// The reason would quote the value.
			return nil, fmt.Errorf("posted text: %w: posted_at is not a time as in RFC 3339", nhi.ErrInvalid)
		}
	}
	return p, nil
}

// printable makes a stranger's words safe to show: valid UTF-8 of at most limit
// bytes, no control or invisible characters, no line breaks.
func printable(b []byte, limit int) string {
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		if !unicode.IsPrint(r) {
			r = ' '
		}
		if out.Len()+utf8.RuneLen(r) > limit {
			break
		}
		out.WriteRune(r)
	}
	return strings.TrimSpace(out.String())
}

// Scan calls yield for the secrets in the post, once for each distinct one and
// for MaxSecrets of them at most, until yield returns false. Places count in the text as it came, or, for what
// shows only after clean-up, in the cleaned text. The match belongs to yield,
// which should Wipe it.
func (p *Post) Scan(s *leak.Scanner, yield func(*leak.Match) bool) {
	known := map[[sha256.Size]byte]bool{}
	more := true
	each := func(m *leak.Match) bool {
		id := sha256.Sum256(append([]byte(m.Kind+"\x00"+m.PublicID+"\x00"), m.Secret()...))
		if known[id] {
			m.Wipe()
			return true
		}
		known[id] = true
		more = yield(m) && len(known) < MaxSecrets
		return more
	}
	s.Scan(p.text, each)
	if !more {
		return
	}
	if tidy := clean(p.text); !bytes.Equal(tidy, p.text) {
		s.Scan(tidy, each)
		clear(tidy)
	}
}

// Place says where the post is: its URL, else its source and author. What looks
// like a secret in them is hidden.
func (p *Post) Place(s *leak.Scanner) nhi.Place {
	name := p.URL
	if name == "" {
		name = strings.TrimSpace(p.Source + " " + p.Author)
	}
	return nhi.Place{Kind: "message", Name: s.RedactString(name)}
}

// Wipe overwrites the text. Scan finds nothing afterwards.
func (p *Post) Wipe() {
	clear(p.text)
	p.text = nil
}

// String names the post and shows nothing of its text.
func (p Post) String() string { return fmt.Sprintf("post of %d bytes", len(p.text)) }

// Format prints String whatever the verb, so that no verb walks the fields.
func (p Post) Format(f fmt.State, _ rune) { fmt.Fprint(f, p.String()) }

// clean undoes what forum and chat software does to text.
func clean(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && bytes.IndexByte([]byte("_-+/*.=~#"), text[i+1]) >= 0:
			i++ // Markdown's escape
		case c == '<':
			if n, word := tag(text[i:]); n > 0 {
				out = append(out, word...)
				i += n
				continue
			}
			out = append(out, c)
			i++
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(text[i:])
			if !invisible(r) {
				out = append(out, text[i:i+n]...)
			}
			i += n
		}
	}
	return []byte(html.UnescapeString(string(out)))
}

// invisible reports whether r takes no space: joiners, soft hyphens, marks of
// direction and variation.
func invisible(r rune) bool {
	return r == '\u00ad' || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Variation_Selector, r)
}

// tag measures the HTML tag at the start of text and says what replaces it: a
// line break for one that begins a block, else nothing.
func tag(text []byte) (n int, word string) {
	end := bytes.IndexByte(text[:min(len(text), 256)], '>')
	if end < 2 {
		return 0, ""
	}
	name := bytes.TrimPrefix(text[1:end], []byte("/"))
	if len(name) == 0 || !unicode.IsLetter(rune(name[0])) {
		return 0, ""
	}
	if k := bytes.IndexAny(name, " /\t\n"); k >= 0 {
		name = name[:k]
	}
	switch strings.ToLower(string(name)) {
	case "b", "i", "u", "s", "a", "em", "strong", "span", "code", "font", "mark", "wbr", "tt", "kbd", "small":
		return end + 1, ""
	}
	return end + 1, "\n"
}
