package key

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var kinds = []Kind{API, Point, Source, Token}

// withChecksum appends the checksum that belongs to body, as a forger would.
func withChecksum(body string) string {
	sum := encodeCRC(crc32.ChecksumIEEE([]byte(body)))
	return body + "_" + string(sum[:])
}

func TestMintedCredentialsParseAndMatchTheirOwnVerifier(t *testing.T) {
	seen := map[string]bool{}
	for _, kind := range kinds {
		for range 200 {
			m := Mint(kind)
			value := m.Reveal()
			if len(value) != Length {
				t.Fatalf("length = %d, want %d", len(value), Length)
			}
			got, err := Parse(value)
			if err != nil {
				t.Fatalf("Parse of a minted %s: %v", kind, err)
			}
			if diff := cmp.Diff(Parsed{Kind: kind, ID: m.ID}, got); diff != "" {
				t.Errorf("Parse (-want +got):\n%s", diff)
			}
			if !m.Verifier.Matches(value) {
				t.Errorf("verifier of %s does not match its value", m)
			}
			if seen[m.ID] || seen[value] {
				t.Fatalf("%s was minted twice", m)
			}
			seen[m.ID], seen[value] = true, true
		}
	}
}

func TestAFixedCredentialKeepsItsTextForm(t *testing.T) {
	// The text form is a published format: scanners elsewhere rely on it.
	const body = "muster_key_0123456789AB_abcdefghijklmnopqrstuvwxyzABCDEF"
	const value = body + "_" + "2L6uZC"
	if got := withChecksum(body); got != value {
		t.Fatalf("checksum part of %q changed to %q", value, got[len(body)+1:])
	}
	got, err := Parse(value)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Parsed{Kind: API, ID: "0123456789AB"}); got != want {
		t.Errorf("Parse = %+v, want %+v", got, want)
	}
}

func TestParseRefusesWhatIsNotOurs(t *testing.T) {
	good := Mint(API).Reveal()
	for _, tt := range []struct {
		name string
		in   string
		want error
	}{
		{"empty", "", ErrShape},
		{"prefix of another product", "hamster" + good[7:], ErrShape},
		{"upper-case prefix", "MUSTER_" + good[7:], ErrShape},
		{"unknown kind with its checksum", withChecksum("muster_adm_" + strings.Repeat("a", 12) + "_" + strings.Repeat("b", 32)), ErrShape},
		{"upper-case kind", withChecksum("muster_KEY_" + strings.Repeat("a", 12) + "_" + strings.Repeat("b", 32)), ErrShape},
		{"dash for underscore", strings.Replace(good, "_", "-", 2), ErrShape},
		{"one byte short", good[:Length-1], ErrShape},
		{"one byte long", good + "0", ErrShape},
		{"trailing newline", good[:Length-1] + "\n", ErrShape},
		{"letter outside the alphabet", withChecksum("muster_key_" + strings.Repeat("é", 6) + "_" + strings.Repeat("b", 32)), ErrShape},
		{"separator inside the secret", withChecksum("muster_key_" + strings.Repeat("a", 12) + "_" + strings.Repeat("b", 31) + "_"), ErrShape},
		{"zero byte", good[:20] + "\x00" + good[21:], ErrShape},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Parse(tt.in)
			if !errors.Is(err, tt.want) || got != (Parsed{}) {
				t.Errorf("Parse = %+v, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestAnyChangedDigitBreaksTheChecksum(t *testing.T) {
	good := Mint(Token).Reveal()
	for i := idAt; i < Length; i++ {
		if good[i] == '_' {
			continue
		}
		for _, digit := range []byte("0Zz9") {
			changed := []byte(good)
			changed[i] = digit
			_, err := Parse(string(changed))
			if string(changed) != good && !errors.Is(err, ErrChecksum) {
				t.Fatalf("byte %d changed: %v, want %v", i, err, ErrChecksum)
			}
		}
	}
}

// A sighting may name a real key id with an invented secret and a computed
// checksum. It parses, and it proves nothing.
func TestForgedCredentialWithAComputedChecksumProvesNothing(t *testing.T) {
	victim := Mint(API)
	forged := withChecksum("muster_key_" + victim.ID + "_" + strings.Repeat("A", 32))
	got, err := Parse(forged)
	if err != nil || got.ID != victim.ID {
		t.Fatalf("Parse = %+v, %v; the forgery is meant to be well formed", got, err)
	}
	if victim.Verifier.Matches(forged) {
		t.Error("a forged secret matched the victim's verifier")
	}
}

func TestVerifierMatchesNothingElse(t *testing.T) {
	m := Mint(API)
	var zero Verifier
	for _, tt := range []struct {
		name      string
		v         Verifier
		presented string
	}{
		{"the zero verifier and a real key", zero, m.Reveal()},
		{"the zero verifier and nothing", zero, ""},
		{"nothing presented", m.Verifier, ""},
		{"another key", m.Verifier, Mint(API).Reveal()},
		{"the key with a newline", m.Verifier, m.Reveal() + "\n"},
		{"the verifier itself", m.Verifier, m.Verifier.String()},
		{"a huge presentation", VerifierOf(strings.Repeat("a", maxPresented+1)), strings.Repeat("a", maxPresented+1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.v.Matches(tt.presented) {
				t.Error("matched")
			}
		})
	}
}

func TestVerifierTextRoundTripsAndIsUnique(t *testing.T) {
	want := Mint(Source).Verifier
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Verifier
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Fatalf("round trip = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "00", strings.ToUpper(want.String()[:63]) + "F", want.String() + "00", strings.Repeat("g", 64)} {
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("UnmarshalText(%q) succeeded", bad)
		}
	}
}

func TestASecretNeverPrints(t *testing.T) {
	m := Mint(API)
	secret := m.Reveal()[secretAt : crcAt-1]
	type inside struct {
		Exported   Minted
		unexported Minted
		pointer    *Minted
	}
	holder := inside{m, m, &m}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", m)
		fmt.Fprintf(&out, verb+"\n", &m)
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", []Minted{m})
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("minted", "key", m, "holder", holder, "parsed", Parsed{m.Kind, m.ID})
	}
	for _, v := range []any{m, &m, holder, map[string]any{"m": m}} {
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret was printed in:\n%s", out.String())
		}
	}
	if !strings.Contains(out.String(), m.ID) {
		t.Error("the public key id is missing from the output")
	}
}

func TestMintPanicsOnAnUnknownKind(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Mint of an unknown kind did not panic")
		}
	}()
	Mint("adm")
}

func TestDigitsAreUnbiased(t *testing.T) {
	const draws = 62 * 4000
	var count [256]int
	for _, c := range []byte(randomBase62(draws)) {
		count[c]++
	}
	// 4000 expected, standard deviation about 63. Modulo bias would give the
	// first eight digits 4840; eight deviations leave a false alarm to fate.
	for _, c := range []byte(Alphabet) {
		if count[c] < 3500 || count[c] > 4500 {
			t.Errorf("digit %c drawn %d times in %d, want about 4000", c, count[c], draws)
		}
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	m := Mint(API)
	value := m.Reveal()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Parse(value); err != nil || !m.Verifier.Matches(value) {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("Parse and Matches allocate %v times, want 0", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Mint(API).Reveal())
	f.Add("muster_key_")
	f.Add(withChecksum("muster_tok_" + strings.Repeat("0", 12) + "_" + strings.Repeat("z", 32)))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := Parse(s)
		if err != nil {
			return
		}
		if withChecksum(s[:crcAt-1]) != s || !p.Kind.Valid() || len(p.ID) != IDLength {
			t.Errorf("accepted %q as %+v", s, p)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	value := Mint(API).Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	m := Mint(API)
	value := m.Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if !m.Verifier.Matches(value) {
			b.Fatal("refused")
		}
	}
}

func ExampleParse() {
	m := Mint(API)
	// Shown once to whoever asked for it, then forgotten.
	presented := m.Reveal()

	p, err := Parse(presented)
	fmt.Println(p.Kind, p.ID == m.ID, err)
	// The row of p.ID holds the verifier; only it proves anything.
	fmt.Println(m.Verifier.Matches(presented))
	// Output:
	// key true <nil>
	// true
}
