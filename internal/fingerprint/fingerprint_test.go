package fingerprint

import (
	"bytes"
	"crypto/elliptic"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/oprf"
	"github.com/google/go-cmp/cmp"
)

var testSeed = bytes.Repeat([]byte{0xa3}, 32)

func newEvaluator(t testing.TB, version int) *Evaluator {
	t.Helper()
	e, err := NewEvaluator(testSeed, version)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The two vectors of RFC 9497, appendix A.3.1 (P256-SHA256, mode OPRF). They
// hold for the suite and mode that this package uses, with the appendix's key.
func TestRFC9497Vectors(t *testing.T) {
	key, err := oprf.DeriveKey(oprf.SuiteP256, oprf.BaseMode, testSeed, []byte("test key"))
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := key.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(scalar), "159749d750713afe245d2d39ccfaae8381c53ce92d098a9375ee70739c7ac0bf"; got != want {
		t.Fatalf("derived key = %s, want %s", got, want)
	}
	e := &Evaluator{version: 1, server: oprf.NewServer(oprf.SuiteP256, key)}
	for _, tt := range []struct{ input, blinded, evaluated, output string }{
		{
			"00",
			"03723a1e5c09b8b9c18d1dcbca29e8007e95f14f4732d9346d490ffc195110368d",
			"030de02ffec47a1fd53efcdd1c6faf5bdc270912b8749e783c7ca75bb412958832",
			"a0b34de5fa4c5b6da07e72af73cc507cceeb48981b97b7285fc375345fe495dd",
		},
		{
			strings.Repeat("5a", 17),
			"03cc1df781f1c2240a64d1c297b3f3d16262ef5d4cf102734882675c26231b0838",
			"03a0395fe3828f2476ffcd1f4fe540e5a8489322d398be3c4e5a869db7fcb7c52c",
			"c748ca6dd327f0ce85f4ae3a8cd6d4d5390bbb804c9e12dcf94f853fece3dcce",
		},
	} {
		in := unhex(t, tt.input)
		blind := group.P256.NewScalar()
		if err := blind.UnmarshalBinary(unhex(t, "3338fa65ec36e0290022b48eb562889d89dbfa691d1cde91517fa222ed7ad364")); err != nil {
			t.Fatal(err)
		}
		data, request, err := oprf.NewClient(oprf.SuiteP256).DeterministicBlind([][]byte{in}, []oprf.Blind{blind})
		if err != nil {
			t.Fatal(err)
		}
		blinded, err := request.Elements[0].MarshalBinaryCompress()
		if err != nil || hex.EncodeToString(blinded) != tt.blinded {
			t.Errorf("blinded = %x, %v; want %s", blinded, err, tt.blinded)
		}
		evaluated, err := e.Evaluate([][]byte{blinded})
		if err != nil || hex.EncodeToString(evaluated[0]) != tt.evaluated {
			t.Errorf("evaluated = %x, %v; want %s", evaluated, err, tt.evaluated)
		}
		got, err := (&Blinding{finalize: data}).Finalize(1, evaluated[0])
		if want := format(1, unhex(t, tt.output)); err != nil || got != want {
			t.Errorf("Finalize = %s, %v; want %s", got, err, want)
		}
	}
}

func TestBlindAndLocalComputationAgree(t *testing.T) {
	e := newEvaluator(t, 3)
	draw := rand.New(rand.NewPCG(1, 2))
	var blindings []*Blinding
	var batch [][]byte
	var want []string
	for i := range MaxBatch {
		secret := make([]byte, 1+draw.IntN(200))
		for j := range secret {
			secret[j] = byte(draw.Uint32())
		}
		class := []Class{Muster, AWS, GitHub, PEM, "custom.class-1"}[i%5]
		direct, err := e.Of(class, secret)
		if err != nil {
			t.Fatal(err)
		}
		b, element, err := Blind(class, secret)
		if err != nil {
			t.Fatal(err)
		}
		blindings, batch, want = append(blindings, b), append(batch, element), append(want, direct)
	}
	evaluated, err := e.Evaluate(batch)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, b := range blindings {
		text, err := b.Finalize(e.Version(), evaluated[i])
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fingerprints (-direct +blind):\n%s", diff)
	}
}

func TestTheFirstFingerprintKeepsItsText(t *testing.T) {
	// Stored fingerprints must match for ever: a change here is a new version.
	got, err := newEvaluator(t, 1).Of(AWS, []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"))
	if want := "f1:ofvyx6aq7spihyfojowklvmyvmzcgkiu"; err != nil || got != want {
		t.Errorf("Of = %s, %v; want %s", got, err, want)
	}
	if got, want := Local([]byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")), "l1:fbyoku6tjv63hhip"; got != want {
		t.Errorf("Local = %s, want %s", got, want)
	}
}

func TestFingerprintsDifferBySecretClassVersionAndSeed(t *testing.T) {
	first := newEvaluator(t, 1)
	otherSeed, err := NewEvaluator(bytes.Repeat([]byte{1}, 32), 1)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, tt := range []struct {
		name  string
		e     *Evaluator
		class Class
		value string
	}{
		{"the secret", first, AWS, "secret"},
		{"another secret", first, AWS, "secret "},
		{"another class", first, GitHub, "secret"},
		{"the border between class and secret moved", first, "aw", "s\x00secret"},
		{"another seed", otherSeed, AWS, "secret"},
	} {
		got, err := tt.e.Of(tt.class, []byte(tt.value))
		if err != nil {
			t.Fatal(err)
		}
		if twin, ok := seen[got]; ok {
			t.Errorf("%s and %s share %s", tt.name, twin, got)
		}
		seen[got] = tt.name
	}
	one, _ := first.Of(AWS, []byte("secret"))
	two, _ := newEvaluator(t, 2).Of(AWS, []byte("secret"))
	if one[2:] == two[2:] {
		t.Error("two key versions of one seed give the same digest")
	}
}

func TestBlindingHidesThatTwoSecretsAreEqual(t *testing.T) {
	_, a, err := Blind(AWS, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := Blind(AWS, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a, b) {
		t.Error("two blindings of one secret are equal: the server can link them")
	}
}

func TestEvaluateRefusesElementsThatWouldBreakTheKey(t *testing.T) {
	e := newEvaluator(t, 1)
	_, good, err := Blind(AWS, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	x, y := elliptic.UnmarshalCompressed(elliptic.P256(), good)
	offCurve := bytes.Clone(good)
	for offCurve[0] = 2; ; offCurve[32]++ {
		if x, _ := elliptic.UnmarshalCompressed(elliptic.P256(), offCurve); x == nil {
			break
		}
	}
	fieldPrime := append([]byte{2}, elliptic.P256().Params().P.Bytes()...)
	for _, tt := range []struct {
		name string
		bad  []byte
	}{
		{"empty", nil},
		{"the identity", []byte{0}},
		{"the identity, padded", make([]byte, ElementLength)},
		{"a coordinate on no point", offCurve},
		{"a coordinate beyond the field", fieldPrime},
		{"all ones", bytes.Repeat([]byte{0xff}, ElementLength)},
		{"an uncompressed point", slices.Concat([]byte{4}, x.FillBytes(make([]byte, 32)), y.FillBytes(make([]byte, 32)))},
		{"an unknown prefix", append([]byte{5}, good[1:]...)},
		{"one byte short", good[:32]},
		{"one byte long", append(bytes.Clone(good), 0)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := e.Evaluate([][]byte{good, tt.bad})
			if !errors.Is(err, ErrElement) || got != nil {
				t.Fatalf("Evaluate = %x, %v; want ErrElement", got, err)
			}
			if !strings.Contains(err.Error(), "element 1") {
				t.Errorf("the error does not say which element: %v", err)
			}
			b, _, err := Blind(AWS, []byte("secret"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Finalize(1, tt.bad); !errors.Is(err, ErrElement) {
				t.Errorf("Finalize: %v, want ErrElement", err)
			}
		})
	}
}

func TestEvaluateBoundsTheBatch(t *testing.T) {
	e := newEvaluator(t, 1)
	_, element, err := Blind(AWS, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, MaxBatch + 1} {
		batch := make([][]byte, n)
		for i := range batch {
			batch[i] = element
		}
		if _, err := e.Evaluate(batch); !errors.Is(err, ErrInput) {
			t.Errorf("Evaluate of %d: %v, want ErrInput", n, err)
		}
	}
}

func TestInputsOutOfBoundsAreRefusedWithoutQuotingTheSecret(t *testing.T) {
	e := newEvaluator(t, 1)
	for _, tt := range []struct {
		name  string
		class Class
		value string
	}{
		{"empty class", "", "plaintext"},
		{"class with a zero byte", "aws\x00", "plaintext"},
		{"class in capitals", "AWS", "plaintext"},
		{"huge class", Class(strings.Repeat("a", 65)), "plaintext"},
		{"empty secret", AWS, ""},
		{"huge secret", AWS, strings.Repeat("plaintext", 4000)},
	} {
		_, ofErr := e.Of(tt.class, []byte(tt.value))
		_, _, blindErr := Blind(tt.class, []byte(tt.value))
		_, canonicalErr := Canonical(tt.class, []byte(tt.value))
		for _, err := range []error{ofErr, blindErr, canonicalErr} {
			if !errors.Is(err, ErrInput) || strings.Contains(err.Error(), "plaintext") {
				t.Errorf("%s: %v, want ErrInput without the secret", tt.name, err)
			}
		}
	}
	for _, seed := range [][]byte{nil, make([]byte, 31), make([]byte, 33)} {
		if _, err := NewEvaluator(seed, 1); !errors.Is(err, ErrInput) {
			t.Errorf("seed of %d bytes: %v, want ErrInput", len(seed), err)
		}
	}
	if _, err := NewEvaluator(testSeed, 0); !errors.Is(err, ErrInput) {
		t.Errorf("version 0: %v, want ErrInput", err)
	}
}

func TestVersionReadsOnlyWhatFormatWrites(t *testing.T) {
	digest := strings.Repeat("a", 32)
	for _, tt := range []struct {
		in   string
		want int
	}{
		{"f1:" + digest, 1},
		{"f42:" + digest, 42},
		{"f0:" + digest, 0},
		{"f01:" + digest, 0},
		{"f+1:" + digest, 0},
		{"f-1:" + digest, 0},
		{"1:" + digest, 0},
		{"ff1:" + digest, 0},
		{":" + digest, 0},
		{"f9999999999:" + digest, 0},
		{"l1:" + digest, 0},
		{"f1:" + digest[1:], 0},
		{"f1:" + digest + "a", 0},
		{"f1:" + strings.ToUpper(digest), 0},
		{"f1:" + digest[1:] + "\n", 0},
		{"f1:" + digest[1:] + "1", 0},
		{"", 0},
		{"f", 0},
	} {
		if got, ok := Version(tt.in); got != tt.want || ok != (tt.want > 0) {
			t.Errorf("Version(%q) = %d, %v; want %d", tt.in, got, ok, tt.want)
		}
	}
}

func TestAnEvaluatorServesManyAtOnce(t *testing.T) {
	e := newEvaluator(t, 1)
	want, err := e.Of(AWS, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			b, element, err := Blind(AWS, []byte("secret"))
			if err != nil {
				t.Error(err)
				return
			}
			evaluated, err := e.Evaluate([][]byte{element})
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := b.Finalize(1, evaluated[0]); err != nil || got != want {
				t.Errorf("Finalize = %s, %v; want %s", got, err, want)
			}
		})
	}
	wg.Wait()
}

func FuzzEvaluate(f *testing.F) {
	_, element, err := Blind(AWS, []byte("secret"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(element)
	f.Add([]byte{0})
	e := newEvaluator(f, 1)
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := e.Evaluate([][]byte{b})
		if err == nil && len(out[0]) != ElementLength {
			t.Errorf("answered with %x", out[0])
		}
	})
}

func FuzzVersion(f *testing.F) {
	f.Add("f1:" + strings.Repeat("a", 32))
	f.Add("f01:")
	f.Fuzz(func(t *testing.T, text string) {
		version, ok := Version(text)
		if !ok {
			return
		}
		raw, err := base32Lower.DecodeString(text[strings.Index(text, ":")+1:])
		if err != nil || format(version, raw) != text {
			t.Errorf("%q is not what format writes", text)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	e := newEvaluator(b, 1)
	secret := []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Of(AWS, secret); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluateOne(b *testing.B) {
	e := newEvaluator(b, 1)
	_, element, err := Blind(AWS, []byte("secret"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Evaluate([][]byte{element}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLocal(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Local([]byte("secret"))
	}
}

func ExampleBlind() {
	server, err := NewEvaluator(bytes.Repeat([]byte{0xa3}, 32), 1)
	if err != nil {
		panic(err)
	}
	// The scanner blinds, the server evaluates without seeing, the scanner reads.
	secret := []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	blinding, element, err := Blind(AWS, secret)
	if err != nil {
		panic(err)
	}
	evaluated, err := server.Evaluate([][]byte{element})
	if err != nil {
		panic(err)
	}
	found, err := blinding.Finalize(server.Version(), evaluated[0])
	if err != nil {
		panic(err)
	}
	known, err := server.Of(AWS, secret)
	fmt.Println(found == known, found[:3], len(found), err)
	// Output: true f1: 35 <nil>
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
