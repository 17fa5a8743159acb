package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/nhi"
)

func TestNoWayOfPrintingAMatchShowsTheSecret(t *testing.T) {
	s := newTestScanner(t)
	for _, p := range plants() {
		m := scanAll(s, []byte(p.text))[0]
		secret := string(m.Secret())
		var logged bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
			slog.New(h).Info("found", "match", m, "value", *m, "any", []any{*m})
		}
		marshalled, err := json.Marshal(map[string]any{"p": m, "v": *m})
		if err != nil {
			t.Fatal(err)
		}
		record, err := json.Marshal(m.Record("f"))
		if err != nil {
			t.Fatal(err)
		}
		shown := logged.String() + string(marshalled) + string(record)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			shown += fmt.Sprintf(verb, m) + fmt.Sprintf(verb, *m) + fmt.Sprintf(verb, struct{ M Match }{*m})
		}
		for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%d", []byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if strings.Contains(shown, form) {
				t.Errorf("%s: shown", p.rule)
			}
		}
		kept := m.Secret()
		m.Wipe()
		if m.Secret() != nil || bytes.Count(kept, []byte{0}) != len(kept) {
			t.Errorf("%s: Wipe left the secret", p.rule)
		}
	}
}

func TestARecordHasTheAgreedNamesAndALocalFingerprint(t *testing.T) {
	s := newTestScanner(t)
	id, secret := newAWSID("AKIA"), newAWSSecret()
	m := scanAll(s, []byte("id="+id+"\nsecret="+secret+"\n"))[0]
	got, err := json.Marshal(m.Record("a/b.env"))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"rule":"aws-access-key","provider":"aws","kind":"aws-access-key","public_id":%q,"fingerprint":%q,`+
		`"file":"a/b.env","line":1,"column":4,"end_line":2,"end_column":48,"commit":"","confidence":"high"}`,
		id, fingerprint.Local([]byte(secret)))
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if m.Account != awsAccount(id) || m.Class != fingerprint.AWS {
		t.Errorf("account %q, class %q", m.Account, m.Class)
	}
}

func TestEqualSecretsAreFingerprintedOnce(t *testing.T) {
	s := newTestScanner(t)
	token := newGitHub("ghp")
	var f Fingerprints
	var got []Record
	for _, m := range scanAll(s, []byte(strings.Repeat(token+"\n", 500)+newGitHub("ghp"))) {
		got = append(got, f.Record(m, "f"))
	}
	if len(f.known) != 2 || len(got) != 501 || got[0].Fingerprint != got[499].Fingerprint || got[0].Fingerprint == got[500].Fingerprint {
		t.Errorf("%d records, %d fingerprints computed", len(got), len(f.known))
	}
}

func TestAPrivateKeyHasOneFingerprintHoweverItIsWrapped(t *testing.T) {
	s := newTestScanner(t)
	key := keys()["rsa"]
	want := scanAll(s, []byte(key))[0].Record("").Fingerprint
	for _, c := range contexts {
		text := key
		if c.esc != nil {
			text = c.esc(text)
		}
		got := scanAll(s, []byte(fmt.Sprintf(c.form, text)))[0]
		if fp := got.Record("").Fingerprint; fp != want || !strings.HasPrefix(fp, "l1:") {
			t.Errorf("%s: fingerprint %s, want %s", c.name, fp, want)
		}
	}
}

func TestRedactLeavesNoPlantedSecretAndKeepsTheRest(t *testing.T) {
	s := newTestScanner(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		var text strings.Builder
		var secrets []string
		for _, p := range plants() {
			c := contexts[rng.IntN(len(contexts))]
			body := p.text
			if c.esc != nil {
				body = c.esc(body)
			}
			fmt.Fprintf(&text, "<<keep>>\n"+c.form+"\n", body)
			if p.secret != nil {
				secrets = append(secrets, string(p.secret))
			} else {
				secrets = append(secrets, strings.Split(p.text, "\n")[1])
			}
		}
		got := s.RedactString(text.String())
		for _, secret := range secrets {
			if strings.Contains(got, secret) {
				t.Fatalf("left %s in\n%s", secret, got)
			}
		}
		if n := strings.Count(got, "[secret "); n != len(secrets) {
			t.Errorf("%d markers for %d secrets in\n%s", n, len(secrets), got)
		}
		if n := strings.Count(got, "<<keep>>"); n != len(secrets) {
			t.Errorf("%d of %d lines between were kept", n, len(secrets))
		}
		if again := s.RedactString(got); again != got {
			t.Error("a redacted text changes when redacted again")
		}
		if b := s.Redact([]byte("x"), []byte(text.String())); string(b) != "x"+got {
			t.Error("Redact and RedactString differ")
		}
	}
}

func TestAMarkerNamesTheKindAndTheEndOfThePublicID(t *testing.T) {
	s := newTestScanner(t)
	id, secret := newAWSID("AKIA"), newAWSSecret()
	muster := newMuster("key")
	got := s.RedactString("a=" + id + " b=" + secret + " c=" + muster + " d=" + newGitHub("ghp") + ".")
	want := "a=" + id + " b=[secret aws-access-key …" + id[16:] + "] c=[secret muster-key …" + muster[19:23] + "] d=[secret github-personal-token]."
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCleanTextIsNotCopied(t *testing.T) {
	s := newTestScanner(t)
	clean := "GET /v1/identities zone=Asia/Tokyo note=GHP_ -----begin akia"
	if n := testing.AllocsPerRun(100, func() { _ = s.RedactString(clean) }); n != 0 {
		t.Errorf("%v allocations for a clean line", n)
	}
	dst, src := make([]byte, 0, 200), []byte("time=1 level=INFO msg=hello region=Asia-Pacific")
	if n := testing.AllocsPerRun(100, func() { _ = s.Redact(dst, src) }); n != 0 {
		t.Errorf("%v allocations for clean bytes", n)
	}
	// Keywords without a secret, the last one at the very end.
	line := "ghp_ -----BEGIN muster_key_ github_pat_ AKIA"
	if got := s.RedactString(line); got != line {
		t.Errorf("clean line became %q", got)
	}
}

func TestScanReaderFindsWhatScanFindsHoweverTheBytesArrive(t *testing.T) {
	s := newTestScanner(t)
	var text bytes.Buffer
	for i := range 40 {
		for _, p := range plants() {
			fmt.Fprintf(&text, "line %d é🙂 %s\n", i, p.text)
		}
	}
	type place struct {
		Rule, ID                                     string
		Start, End, Line, Column, EndLine, EndColumn int
	}
	places := func(ms []*Match) []place {
		var out []place
		for _, m := range ms {
			out = append(out, place{m.Rule, m.PublicID, m.Start, m.End, m.Line, m.Column, m.EndLine, m.EndColumn})
		}
		return out
	}
	wide := append([]byte{0xff, 0xfe}, encode16(text.String())...)
	for name, data := range map[string][]byte{"UTF-8": text.Bytes(), "UTF-16": wide} {
		want := places(scanAll(s, data))
		var buf Buffer
		for kind, r := range map[string]io.Reader{
			"whole": bytes.NewReader(data), "halves": iotest.HalfReader(bytes.NewReader(data)),
			"last bytes with EOF": iotest.DataErrReader(bytes.NewReader(data)), "odd": &oddReader{data: data},
		} {
			var got []*Match
			n, err := s.ScanReader(r, &buf, func(m *Match) bool { got = append(got, m); return true })
			if err != nil || n != int64(len(data)) {
				t.Fatalf("%s, %s: read %d of %d, %v", name, kind, n, len(data), err)
			}
			if diff := cmp.Diff(want, places(got)); diff != "" {
				t.Errorf("%s, %s (-scan +reader):\n%s", name, kind, diff)
			}
		}
	}
}

func encode16(s string) []byte {
	var out []byte
	for _, r := range s {
		if r > 0xffff {
			r -= 0x10000
			hi, lo := 0xd800+r>>10, 0xdc00+r&0x3ff
			out = append(out, byte(hi), byte(hi>>8), byte(lo), byte(lo>>8))
			continue
		}
		out = append(out, byte(r), byte(r>>8))
	}
	return out
}

// An oddReader gives three bytes at a time.
type oddReader struct{ data []byte }

func (r *oddReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(3, len(p))], r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestScanReaderFindsSecretsOnEveryBorderOnce(t *testing.T) {
	s := newTestScanner(t)
	pem := keys()["rsa"]
	id, secret := newAWSID("AKIA"), newAWSSecret()
	block := pem + "id " + id + strings.Repeat(" ", 300) + "secret " + secret + "\n" + base64.StdEncoding.EncodeToString([]byte(pem)) + "\n"
	var text bytes.Buffer
	want := 0
	for text.Len() < chunkSize+4*overlap {
		if text.Len() < chunkSize-3*overlap {
			text.WriteString(strings.Repeat("filler text ", 1000) + "\n")
			continue
		}
		text.WriteString(block)
		want += 3
	}
	lines := bytes.Count(text.Bytes(), newline)
	got, last := 0, 0
	_, err := s.ScanReader(&text, nil, func(m *Match) bool {
		got++
		if m.Line < last || m.Confidence != High {
			t.Errorf("match %d: %v after line %d", got, m, last)
		}
		last = m.Line
		return true
	})
	if err != nil || got != want || last != lines {
		t.Errorf("found %d, want %d; last on line %d of %d; %v", got, want, last, lines, err)
	}
}

func TestScanReaderReportsTheErrorOfTheReader(t *testing.T) {
	s := newTestScanner(t)
	broken := errors.New("broken")
	_, err := s.ScanReader(io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(broken)), nil, func(*Match) bool { return true })
	if !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
	if _, err := s.ScanReader(stuck{}, nil, func(*Match) bool { return true }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error of a stuck reader = %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestScanStopsWhenTheCallerHasEnough(t *testing.T) {
	s := newTestScanner(t)
	text := strings.Repeat(newGitHub("ghp")+" "+base64.StdEncoding.EncodeToString([]byte(newGitHub("gho")))+"\n", 10)
	for stop := 1; stop < 5; stop++ {
		n := 0
		s.Scan([]byte(text), func(*Match) bool { n++; return n < stop })
		if n != stop {
			t.Errorf("yield was called %d times, want %d", n, stop)
		}
	}
}

func TestAScannerServesManyGoroutines(t *testing.T) {
	s := newTestScanner(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				p := plants()[0]
				if got := scanAll(s, []byte(p.text)); len(got) != 1 {
					t.Errorf("found %v", got)
				}
			}
		})
	}
	wg.Wait()
}

// cpu returns the processor time that f takes.
func cpu(f func()) time.Duration {
	var before, after syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	f()
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}

// Whoever posts text that was made to be slow must not get more than his share.
func TestTextMadeToBeSlowIsScannedInTime(t *testing.T) {
	s := newTestScanner(t)
	id, secret := newAWSID("AKIA"), newAWSSecret()
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	long := strings.Repeat("A", 15<<10)
	const size = 256 << 10
	ordinary := []byte(strings.Repeat("if err != nil { return fmt.Errorf(\"read %s: %w\", name, err) }\n", size/64))
	usual := cpu(func() {
		for range 20 {
			s.Scan(ordinary, func(*Match) bool { return true })
		}
	}) / 20
	for name, unit := range map[string]string{
		"one id again and again":          id + " ",
		"many pairs":                      id + " " + secret + " ",
		"names of secrets":                "aws_secret ",
		"named secrets between ids":       "aws_secret " + secret + " " + id + " ",
		"starts of keys":                  "-----BEGIN RSA PRIVATE KEY-----",
		"large damaged keys":              "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIE" + long + "\n-----END RSA PRIVATE KEY-----",
		"keys without an end":             "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIE" + long[:3000],
		"whole keys":                      keys()["rsa"],
		"encoded prefixes":                b64("ghp_ghp_ghp_"),
		"encoded prefixes without a gap":  strings.TrimRight(b64(strings.Repeat("ghp_", 999)), "="),
		"twice encoded prefixes":          b64(b64(strings.Repeat("ghp_", 999))),
		"encoded prefixes in hexadecimal": fmt.Sprintf("%x", strings.Repeat("ghp_", 999)),
		"percent signs":                   "%67%68%70%5f",
		"escapes":                         `\\\\\\\\-----BEGIN RSA PRIVATE KEY-----\\\\\\\\n`,
	} {
		text := []byte(strings.Repeat(unit, size/len(unit)))
		took := cpu(func() { s.Scan(text, func(m *Match) bool { m.Wipe(); return true }) })
		if ratio := float64(took) / float64(usual); ratio > 1000 {
			t.Errorf("%s: %.0f times the usual", name, ratio)
		} else {
			t.Logf("%s: %.0f times the usual", name, ratio)
		}
	}
}

func TestRulesAreReadStrictly(t *testing.T) {
	good := `{id: a, provider: p, kind: k, keywords: [abcd], verifier: github, severity: high, description: d, samples: {positive: [], negative: []}}`
	if _, err := ParseRules("f.yaml", []byte("- "+good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"an unknown field":   "- " + strings.Replace(good, "kind:", "kynd:", 1),
		"no description":     "- " + strings.Replace(good, "description: d", "description: ''", 1),
		"a short keyword":    "- " + strings.Replace(good, "abcd", "abc", 1),
		"no keyword":         "- " + strings.Replace(good, "[abcd]", "[]", 1),
		"an unknown check":   "- " + strings.Replace(good, "github", "regexp", 1),
		"an unknown ranking": "- " + strings.Replace(good, "high", "huge", 1),
		"not a list":         good,
		"too much":           strings.Repeat("#\n", maxRules),
	} {
		if _, err := ParseRules("f.yaml", []byte(text)); !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), "f.yaml") {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	rules, err := ParseRules("f.yaml", []byte("- "+good+"\n- "+good))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewScanner(rules...); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("two rules of one name: error = %v", err)
	}
}

func TestTheAutomatonFindsEveryNeedleAndNothingElse(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	letters := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = "abAB-"[rng.IntN(5)]
		}
		return out
	}
	for range 300 {
		var needles [][]byte
		for range 1 + rng.IntN(6) {
			needles = append(needles, letters(1+rng.IntN(5)))
		}
		text := letters(200)
		a := newAutomaton(needles)
		type hit struct{ Needle, End int }
		got, want := map[hit]bool{}, map[hit]bool{}
		for at, state := a.find(text, 0, 0); state >= a.accept; at, state = a.find(text, at, state) {
			for _, i := range a.ending(state) {
				got[hit{i, at}] = true
			}
		}
		lower := bytes.ToLower(text)
		for i, n := range needles {
			for at := range text {
				if bytes.HasPrefix(lower[at:], bytes.ToLower(n)) {
					want[hit{i, at + len(n)}] = true
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("needles %q in %q (-want +got):\n%s", needles, text, diff)
		}
	}
}

func FuzzScan(f *testing.F) {
	s, err := NewScanner()
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range plants() {
		f.Add([]byte(p.text))
		f.Add([]byte(base64.StdEncoding.EncodeToString([]byte(p.text))))
		f.Add([]byte(fmt.Sprintf("%x", p.text)))
		f.Add(append([]byte{0xff, 0xfe}, encode16(p.text)...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kept := bytes.Clone(data)
		for _, m := range scanAll(s, data) {
			if m.Start < 0 || m.Start >= m.End || m.End > len(data) {
				t.Errorf("%v: offsets %d to %d of %d", m, m.Start, m.End, len(data))
			}
			if m.inner != (span{}) && (m.inner.start < m.Start || m.inner.end > m.End || m.inner.start >= m.inner.end) {
				t.Errorf("%v: secret at %v outside of %d to %d", m, m.inner, m.Start, m.End)
			}
			if m.Line < 1 || m.Column < 1 || m.EndLine < m.Line || m.EndLine == m.Line && m.EndColumn <= m.Column {
				t.Errorf("%v: ends at %d:%d", m, m.EndLine, m.EndColumn)
			}
			if !IsUTF16(data) && m.Line != 1+bytes.Count(data[:m.Start], newline) {
				t.Errorf("%v: wrong line", m)
			}
		}
		s.RedactString(string(data))
		if !bytes.Equal(kept, data) {
			t.Error("the input was changed")
		}
		whole := len(scanAll(s, data))
		parts := 0
		if _, err := s.ScanReader(&oddReader{data: data}, nil, func(*Match) bool { parts++; return true }); err != nil || parts != whole {
			t.Errorf("ScanReader finds %d, Scan %d; %v", parts, whole, err)
		}
	})
}

func ExampleScanner_RedactString() {
	s, err := NewScanner()
	if err != nil {
		panic(err)
	}
	fmt.Println(s.RedactString("the key AKIAIOSFODNN7EXAMPLE with wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY was posted"))
	// Output: the key AKIAIOSFODNN7EXAMPLE with [secret aws-access-key …MPLE] was posted
}

func ExampleScanner_Scan() {
	s, err := NewScanner()
	if err != nil {
		panic(err)
	}
	file := "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
	s.Scan([]byte(file), func(m *Match) bool {
		defer m.Wipe()
		fmt.Println(m.Rule, m.PublicID, m.Line, m.EndLine, m.Confidence, m.Note)
		return true
	})
	// Output: aws-access-key AKIAIOSFODNN7EXAMPLE 2 3 low an example from a manual
}
