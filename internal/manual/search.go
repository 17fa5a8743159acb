package manual

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

const (
	maxQuery = 200 // bytes of a question
	maxHits  = 20
)

// A hit is one page of an answer.
type hit struct {
	Page    *page
	Excerpt string
	score   int
}

// answer shows which pages hold every word of the question. A word in the title
// counts most, then one in a heading, then how often it stands in the text.
func (m *Manual) answer(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query().Get("q")
	if len(query) > maxQuery {
		query = query[:maxQuery]
	}
	// The question is shown again, and the page may be read at a terminal.
	query = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(query, ""))
	v := view{Page: &page{Title: "Search"}, Query: query, Asked: true, Hits: m.search(query)}
	m.show(w, r, http.StatusOK, v)
}

func (m *Manual) search(query string) []hit {
	words := strings.Fields(strings.ToLower(query))
	if len(words) == 0 {
		return nil
	}
	var hits []hit
	for _, p := range m.pages {
		if s := p.score(words); s > 0 {
			hits = append(hits, hit{Page: p, score: s, Excerpt: p.excerpt(words[0])})
		}
	}
	slices.SortFunc(hits, func(a, b hit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), strings.Compare(a.Page.URL, b.Page.URL))
	})
	return hits[:min(len(hits), maxHits)]
}

// score is zero when a word is missing.
func (p *page) score(words []string) int {
	total := 0
	for _, word := range words {
		n := strings.Count(p.words, word)
		if n == 0 {
			return 0
		}
		total += min(n, 20)
		for _, h := range p.heads {
			if strings.Contains(h, word) {
				total += 10
			}
		}
		if strings.Contains(strings.ToLower(p.Title), word) {
			total += 50
		}
	}
	return total
}

// excerpt is the text around the first place of a word, from one space to
// another.
func (p *page) excerpt(word string) string {
	if len(p.words) != len(p.prose) { // lower case changed its length: places differ
		return ""
	}
	at := strings.Index(p.words, word)
	from, to := max(at-80, 0), min(at+160, len(p.prose))
	if from > 0 {
		from += strings.IndexByte(p.prose[from:], ' ') + 1
	}
	if last := strings.LastIndexByte(p.prose[from:to], ' '); last > 0 && to < len(p.prose) {
		to = from + last
	}
	return strings.ToValidUTF8(p.prose[from:to], "")
}
