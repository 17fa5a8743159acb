package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestABoxOpensForItsPurposeOnly(t *testing.T) {
	k := New()
	for _, plaintext := range [][]byte{nil, {0}, []byte("hunter2"), bytes.Repeat([]byte("x"), 1<<20)} {
		box := k.Seal("connector/okta", plaintext)
		if got, want := len(box), len(plaintext)+Overhead; got != want {
			t.Errorf("box of %d bytes has %d, want %d", len(plaintext), got, want)
		}
		got, err := k.Unseal("connector/okta", box)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("Unseal of %d bytes = %d bytes, %v", len(plaintext), len(got), err)
		}
		for _, other := range []string{"connector/oktb", "connector/okta/", "connector", "x"} {
			if _, err := k.Unseal(other, box); !errors.Is(err, ErrBox) {
				t.Errorf("Unseal for %q: %v, want ErrBox", other, err)
			}
		}
		if _, err := New().Unseal("connector/okta", box); !errors.Is(err, ErrBox) {
			t.Errorf("Unseal with other keys: %v, want ErrBox", err)
		}
	}
}

func TestAnyChangedByteKeepsABoxShut(t *testing.T) {
	k := New()
	box := k.Seal("test", []byte("plaintext"))
	for i := range box {
		for bit := range 8 {
			changed := bytes.Clone(box)
			changed[i] ^= 1 << bit
			if got, err := k.Unseal("test", changed); err == nil {
				t.Fatalf("byte %d bit %d changed, yet it opened as %q", i, bit, got)
			}
		}
	}
	for n := range box {
		if _, err := k.Unseal("test", box[:n]); !errors.Is(err, ErrBox) {
			t.Fatalf("cut to %d bytes: %v, want ErrBox", n, err)
		}
	}
	if _, err := k.Unseal("test", append(bytes.Clone(box), 0)); !errors.Is(err, ErrBox) {
		t.Errorf("one byte longer: %v, want ErrBox", err)
	}
}

func TestEqualPlaintextsHaveUnequalBoxes(t *testing.T) {
	k := New()
	if bytes.Equal(k.Seal("test", []byte("same")), k.Seal("test", []byte("same"))) {
		t.Error("a box tells that two secrets are equal")
	}
}

func TestUnsealNeitherKeepsNorChangesTheBox(t *testing.T) {
	k := New()
	box := k.Seal("test", []byte("plaintext"))
	before := bytes.Clone(box)
	got, err := k.Unseal("test", box)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(box, before) {
		t.Error("Unseal changed the box")
	}
	clear(box)
	if string(got) != "plaintext" {
		t.Error("the plaintext shares memory with the box")
	}
}

func TestOldBoxesOpenAfterRotation(t *testing.T) {
	k := New()
	old := k.Seal("test", []byte("old"))
	seed := k.Derive("seed", 32)
	for range 3 {
		if err := k.Rotate(); err != nil {
			t.Fatal(err)
		}
	}
	fresh := k.Seal("test", []byte("new"))
	if cmp.Equal(old[:headerSize], fresh[:headerSize]) {
		t.Error("the header does not tell the key version")
	}
	for _, box := range [][]byte{old, fresh} {
		if _, err := k.Unseal("test", box); err != nil {
			t.Error(err)
		}
	}
	if !bytes.Equal(seed, k.Derive("seed", 32)) {
		t.Error("rotation changed derived bytes")
	}
}

func TestABoxOfAnUnknownKeyVersionIsNamed(t *testing.T) {
	k := New()
	box := k.Seal("test", []byte("x"))
	box[4] = 9
	if _, err := k.Unseal("test", box); !errors.Is(err, ErrKeyVersion) || !strings.Contains(err.Error(), "9") {
		t.Errorf("Unseal = %v, want ErrKeyVersion naming 9", err)
	}
}

func TestDerivedBytesAreStableAndApart(t *testing.T) {
	k := New()
	if !bytes.Equal(k.Derive("a", 32), k.Derive("a", 32)) {
		t.Error("Derive is not stable")
	}
	if bytes.Equal(k.Derive("a", 32), k.Derive("b", 32)) || bytes.Equal(k.Derive("a", 32), New().Derive("a", 32)) {
		t.Error("two purposes or two installations share bytes")
	}
	for _, n := range []int{1, 16, 100, 8160} {
		if got := len(k.Derive("a", n)); got != n {
			t.Errorf("Derive(%d) gave %d bytes", n, got)
		}
	}
}

func TestBugsOfTheCallerPanic(t *testing.T) {
	k := New()
	for name, bug := range map[string]func(){
		"seal for nothing":   func() { k.Seal("", nil) },
		"derive for nothing": func() { k.Derive("", 32) },
		"derive no bytes":    func() { k.Derive("a", 0) },
		"derive too much":    func() { k.Derive("a", 8161) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("did not panic")
				}
			}()
			bug()
		})
	}
}

// The vectors of https://c2sp.org/XAES-256-GCM: one with the top bit of L
// clear, one with it set.
func TestXAESVectors(t *testing.T) {
	nonce := []byte("ABCDEFGHIJKLMNOPQRSTUVWX")
	for _, tt := range []struct {
		key  byte
		aad  string
		want string
	}{
		{0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		gcm := xaes(bytes.Repeat([]byte{tt.key}, keySize), nonce[:12])
		got := hex.EncodeToString(gcm.Seal(nil, nonce[12:], []byte("XAES-256-GCM"), []byte(tt.aad)))
		if got != tt.want {
			t.Errorf("key %02x…: %s, want %s", tt.key, got, tt.want)
		}
	}
}

// What the previous release sealed, this one opens: change these constants
// only together with a new format number.
func TestBoxesOfTheFirstFormatOpen(t *testing.T) {
	k, err := decode(t.Context(), []byte(firstFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	box, err := hex.DecodeString(firstBox)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Unseal("test/first", box)
	if err != nil || string(got) != "first format" {
		t.Errorf("Unseal = %q, %v", got, err)
	}
	if got := hex.EncodeToString(k.Derive("test/first", 16)); got != firstDerived {
		t.Errorf("Derive = %s, want %s", got, firstDerived)
	}
}

func TestKeysNeverPrint(t *testing.T) {
	k := New()
	var out bytes.Buffer
	holder := struct {
		Keys   *Keys
		hidden *Keys
	}{k, k}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb, k, holder)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("keys", "k", k, "h", holder)
	//lint:ignore SA9005 that nothing comes out is what is tested
	if err := json.NewEncoder(&out).Encode(k); err != nil {
		t.Fatal(err)
	}
	for _, key := range []secret{k.root, k.sealing[1]} {
		secret := key[:]
		for _, form := range []string{string(secret), hex.EncodeToString(secret), strings.Trim(fmt.Sprint(secret), "[]")} {
			if strings.Contains(strings.ToLower(out.String()), strings.ToLower(form)) {
				t.Errorf("a key was printed in %s", out.String())
			}
		}
	}
}

func FuzzUnseal(f *testing.F) {
	k := New()
	box := k.Seal("fuzz", []byte("plaintext"))
	f.Add(box)
	f.Add(box[:headerSize])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := k.Unseal("fuzz", b); err == nil && !bytes.Equal(b, box) {
			t.Errorf("a forged box opened as %q", got)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	k, text := New(), make([]byte, 1024)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		k.Seal("benchmark", text)
	}
}

func BenchmarkUnseal(b *testing.B) {
	k := New()
	box := k.Seal("benchmark", make([]byte, 1024))
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Unseal("benchmark", box); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleKeys_Seal() {
	k := New()
	box := k.Seal("webhook/oncall", []byte("entrusted secret"))
	text, err := k.Unseal("webhook/oncall", box)
	fmt.Println(string(text), err)
	_, err = k.Unseal("webhook/other", box)
	fmt.Println(err)
	// Output:
	// entrusted secret <nil>
	// sealed box does not open
}
