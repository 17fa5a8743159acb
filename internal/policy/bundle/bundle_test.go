package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/policy"
)

var (
	key   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	other = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))
	begin = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
)

func public(k ed25519.PrivateKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{k.Public().(ed25519.PublicKey)}
}

func library() map[string]string {
	return map[string]string{
		"policies/payments/read.cedar": `@id("read") forbid (principal, action == Action::"delete", resource == Resource::"ledger");` + "\n",
		"grants/reports.yaml":          "[]\n",
		"tests/reports.yaml":           "[]\n",
		"policies.cedar":               "",
	}
}

func manifest(sequence uint64) Manifest {
	set, err := policy.Load(policy.DefaultSettings(), Policies(library()))
	if err != nil {
		panic(err)
	}
	return Manifest{Sequence: sequence, Created: begin, Expires: begin.Add(24 * time.Hour), Settings: policy.DefaultSettings(), Effective: set.Digest(), Parent: "before"}
}

func build(t *testing.T, m Manifest, files map[string]string) []byte {
	t.Helper()
	data, err := Build(m, files, key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func trusting() Trust { return Trust{Keys: public(key), Now: begin.Add(time.Hour)} }

func TestABundleArrivesAsItWasSent(t *testing.T) {
	b, err := Open(build(t, manifest(3), library()), trusting())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(library(), b.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	want := manifest(3)
	want.Format, want.Digest, want.Files = Format, Digest(library()), describe(library())
	if diff := cmp.Diff(want, b.Manifest); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	if _, err := b.Load(); err != nil {
		t.Errorf("Load: %v", err)
	}
	if b.Key != KeyID(public(key)[0]) {
		t.Errorf("key %s", b.Key)
	}
}

func TestTheSameFilesMakeTheSameBytes(t *testing.T) {
	first := build(t, manifest(3), library())
	for range 20 { // maps have another order each time
		if !bytes.Equal(first, build(t, manifest(3), library())) {
			t.Fatal("two bundles of the same files differ")
		}
	}
}

func TestTheDigestTellsFilesApart(t *testing.T) {
	seen := map[string]string{}
	for _, files := range []map[string]string{
		{}, {"policies.cedar": ""}, {"policies.cedar": "a"}, {"policies.cedara": ""}, {"policies.ceda": "ra"},
		{"policies.cedar": "a", "policies/b.cedar": ""}, {"policies.cedar": "", "policies/b.cedar": "a"},
	} {
		d := Digest(files)
		if was, twice := seen[d]; twice {
			t.Errorf("%v and %s have one digest", files, was)
		}
		seen[d] = fmt.Sprint(files)
	}
}

// reseal changes the envelope of a good bundle and leaves the files.
func reseal(t *testing.T, change func(*envelope)) []byte {
	t.Helper()
	body, files, err := read(build(t, manifest(3), library()))
	if err != nil {
		t.Fatal(err)
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		t.Fatal(err)
	}
	change(&e)
	if body, err = json.Marshal(e); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := write(&out, body, files); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// resigned signs a manifest of any kind well.
func resigned(t *testing.T, payload string) []byte {
	t.Helper()
	return reseal(t, func(e *envelope) {
		e.Payload = []byte(payload)
		e.Signatures[0].Sig = ed25519.Sign(key, encoding(e.PayloadType, e.Payload))
	})
}

func TestForgedSignature(t *testing.T) {
	foreign, err := Build(manifest(3), library(), other)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"another key":  foreign,
		"no signature": reseal(t, func(e *envelope) { e.Signatures = nil }),
		"an empty one": reseal(t, func(e *envelope) { e.Signatures[0].Sig = nil }),
		"a cut one":    reseal(t, func(e *envelope) { e.Signatures[0].Sig = e.Signatures[0].Sig[:63] }),
		"too many":     reseal(t, func(e *envelope) { e.Signatures = append(make([]signature, maxSignatures), e.Signatures...) }),
		"for another purpose": reseal(t, func(e *envelope) {
			e.PayloadType = "text/plain"
			e.Signatures[0].Sig = ed25519.Sign(key, encoding(e.PayloadType, e.Payload))
		}),
		"over the payload alone": reseal(t, func(e *envelope) { e.Signatures[0].Sig = ed25519.Sign(key, e.Payload) }),
		"a changed manifest": reseal(t, func(e *envelope) {
			e.Payload = bytes.Replace(e.Payload, []byte(`"sequence":3`), []byte(`"sequence":9`), 1)
		}),
		"the id of a key we trust": reseal(t, func(e *envelope) {
			e.Signatures[0] = signature{KeyID(public(key)[0]), ed25519.Sign(other, encoding(e.PayloadType, e.Payload))}
		}),
		"bytes moved into the type": reseal(t, func(e *envelope) { e.PayloadType += string(e.Payload[:1]); e.Payload = e.Payload[1:] }),
	} {
		if _, err := Open(data, trusting()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v, want %v", name, err, ErrSignature)
		}
	}
	if _, err := Open(build(t, manifest(3), library()), Trust{Now: begin}); !errors.Is(err, ErrSignature) {
		t.Errorf("without keys: %v", err)
	}
}

func TestExchangedFiles(t *testing.T) {
	envelope, files, err := read(build(t, manifest(3), library()))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]string){
		"another text":   func(f map[string]string) { f["policies.cedar"] = "// nothing" },
		"one more":       func(f map[string]string) { f["policies/z.cedar"] = "" },
		"one less":       func(f map[string]string) { delete(f, "policies/payments/read.cedar") },
		"another name":   func(f map[string]string) { f["policies/a.cedar"] = f["policies.cedar"]; delete(f, "policies.cedar") },
		"two exchanged":  func(f map[string]string) { f["grants/reports.yaml"], f["policies.cedar"] = "", "[]\n" },
		"nothing at all": func(f map[string]string) { clear(f) },
	} {
		mine := maps.Clone(files)
		change(mine)
		var out bytes.Buffer
		if err := write(&out, envelope, mine); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(out.Bytes(), trusting()); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v, want %v", name, err, ErrDigest)
		}
	}
}

func TestRollback(t *testing.T) {
	older, newer := build(t, manifest(3), library()), build(t, manifest(4), library())
	b, err := Open(newer, trusting())
	if err != nil {
		t.Fatal(err)
	}
	trust := trusting()
	trust.Seen = b.Seen()
	if _, err := Open(older, trust); !errors.Is(err, ErrRollback) {
		t.Errorf("an older sequence: %v, want %v", err, ErrRollback)
	}
	if _, err := Open(newer, trust); err != nil {
		t.Errorf("the same one again: %v", err)
	}
	again := manifest(4)
	again.Created = begin.Add(time.Minute)
	if b, err = Open(build(t, again, library()), trust); err != nil {
		t.Fatalf("signed again: %v", err)
	}
	trust.Seen = b.Seen()
	if _, err := Open(newer, trust); !errors.Is(err, ErrRollback) {
		t.Errorf("the one before it was signed again: %v, want %v", err, ErrRollback)
	}
	files := library()
	files["policies.cedar"] = "// other"
	twin := again
	twin.Created = begin.Add(2 * time.Minute)
	if _, err := Open(build(t, twin, files), trust); !errors.Is(err, ErrRollback) {
		t.Errorf("two bundles of one sequence: %v, want %v", err, ErrRollback)
	}
}

func TestFreeze(t *testing.T) {
	data := build(t, manifest(3), library())
	for _, tt := range []struct {
		name   string
		at     time.Time
		leeway time.Duration
		want   error
	}{
		{"in time", begin, 0, nil},
		{"its last moment", begin.Add(24*time.Hour - 1), 0, nil},
		{"held back until it ended", begin.Add(24 * time.Hour), 0, ErrExpired},
		{"within the leeway", begin.Add(24*time.Hour + time.Minute), 2 * time.Minute, nil},
		{"past it", begin.Add(24*time.Hour + 2*time.Minute), 2 * time.Minute, ErrExpired},
		{"from the future", begin.Add(-time.Second), 0, ErrNotYet},
	} {
		if _, err := Open(data, Trust{Keys: public(key), Now: tt.at, Leeway: tt.leeway}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestABundleThatNeverEnds(t *testing.T) {
	m := manifest(3)
	m.Expires = begin.Add(MaxLife + time.Second)
	if _, err := Build(m, library(), key); !errors.Is(err, ErrFormat) {
		t.Errorf("Build: %v, want %v", err, ErrFormat)
	}
	m.Expires, m.Digest, m.Files, m.Format = begin.Add(10*MaxLife), Digest(library()), describe(library()), Format
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(resigned(t, string(text)), trusting()); !errors.Is(err, ErrFormat) {
		t.Errorf("Open: %v, want %v", err, ErrFormat)
	}
}

func TestAManifestOfAnotherShape(t *testing.T) {
	m := manifest(3)
	m.Format, m.Digest, m.Files = Format, Digest(library()), describe(library())
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	if _, err := Open(resigned(t, good), trusting()); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	for _, bad := range []string{
		"", "null", "{}", "[]", good + "{}", strings.Replace(good, "{", `{"more":1,`, 1),
		strings.Replace(good, `"format":1`, `"format":2`, 1), strings.Replace(good, `"sequence":3`, `"sequence":0`, 1),
		strings.Replace(good, m.Effective, "", 1),
	} {
		if _, err := Open(resigned(t, bad), trusting()); !errors.Is(err, ErrFormat) {
			t.Errorf("%.60s: %v, want %v", bad, err, ErrFormat)
		}
	}
	if _, err := Open(resigned(t, strings.Replace(good, `"risk_deny":80`, `"risk_deny":800`, 1)), trusting()); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("guards out of range: %v", err)
	}
	if _, err := Open(resigned(t, strings.Replace(good, m.Digest, Digest(nil), 1)), trusting()); !errors.Is(err, ErrDigest) {
		t.Errorf("another digest of the whole: %v", err)
	}
}

// archive writes a tar by hand.
func archive(t *testing.T, heads ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range heads {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestPathTraversal(t *testing.T) {
	for _, name := range []string{
		"../policies.cedar", "policies/../../etc/passwd.cedar", "/policies/a.cedar", "policies//a.cedar", "policies/./a.cedar", "policies/.a.cedar",
		"policies/.cedar", `policies\..\a.cedar`, "policies/a.cedar/", "policies", "a.cedar", "policies/a.yaml", "grants/a.cedar", "tests/a.sh",
		"policies/tests.yaml", "policies/x/tests.yaml", "policies/x/tests/.yaml", "policies/x/tests/../a.yaml", "policies/x/Tests/a.yaml", "policies/x/tests/a.yml", "generated/tests/a.yaml", "policies/tests/" + strings.Repeat("a/", 6) + "a.yaml",
		"policies/a\x00.cedar", "policies/a\n.cedar", "policies/\u202ea.cedar", "policies/C:a.cedar", "policies/" + strings.Repeat("a/", 8) + "a.cedar",
		"policies/" + strings.Repeat("a", 200) + ".cedar", "", ".", "guards/permit.cedar", "signature.json",
	} {
		if err := CheckName(name); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("CheckName(%.40q) = %v", name, err)
		}
		if _, err := Build(manifest(1), map[string]string{name: ""}, key); err == nil {
			t.Errorf("Build took %.40q", name)
		}
	}
	for _, name := range []string{"policies.cedar", "policies/a.cedar", "policies/a/b-c_d.e/F9.cedar", "grants/a.yaml", "tests/a/b.yaml", "generated/grants/a.cedar", "policies/tests/a.yaml", "policies/x/y/tests/z/a.yaml", "policies/x/tests/a.cedar"} {
		if err := CheckName(name); err != nil {
			t.Errorf("CheckName(%q) = %v", name, err)
		}
	}
}

func TestSymbolicLinksAndOtherKinds(t *testing.T) {
	for _, h := range []tar.Header{
		{Name: "policies/a.cedar", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		{Name: "policies/a.cedar", Typeflag: tar.TypeLink, Linkname: "signature.json"},
		{Name: "policies/", Typeflag: tar.TypeDir}, {Name: "policies/a.cedar", Typeflag: tar.TypeFifo}, {Name: "policies/a.cedar", Typeflag: tar.TypeChar},
	} {
		data := archive(t, tar.Header{Name: signatureFile, Size: 2}, h)
		if _, _, err := read(data); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "no regular file") {
			t.Errorf("type %c: %v", h.Typeflag, err)
		}
	}
}

func TestDuplicateNames(t *testing.T) {
	first := tar.Header{Name: signatureFile, Size: 2}
	for name, data := range map[string][]byte{
		"twice":            archive(t, first, tar.Header{Name: "policies/a.cedar"}, tar.Header{Name: "policies/a.cedar", Size: 1}),
		"out of order":     archive(t, first, tar.Header{Name: "policies/b.cedar"}, tar.Header{Name: "policies/a.cedar"}),
		"capitals":         archive(t, first, tar.Header{Name: "policies/A.cedar"}, tar.Header{Name: "policies/a.cedar"}),
		"two signatures":   archive(t, first, first),
		"signature last":   archive(t, tar.Header{Name: "policies/a.cedar"}, first),
		"nothing":          archive(t),
		"behind the end":   append(build(t, manifest(1), library()), make([]byte, 512)...),
		"another time":     archive(t, tar.Header{Name: signatureFile, Size: 2, ModTime: begin}),
		"more in the head": archive(t, tar.Header{Name: signatureFile, Size: 2, Format: tar.FormatPAX, PAXRecords: map[string]string{"comment": "hidden"}}),
		"no tar":           []byte("PK\x03\x04"),
		"cut":              build(t, manifest(1), library())[:700],
	} {
		if _, _, err := read(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", name, err, ErrFormat)
		}
	}
}

func TestBombs(t *testing.T) {
	first := tar.Header{Name: signatureFile, Size: 2}
	large, many := []tar.Header{first}, []tar.Header{first}
	for i := range MaxTotal/MaxFile + 1 {
		large = append(large, tar.Header{Name: fmt.Sprintf("policies/%04d.cedar", i), Size: MaxFile})
	}
	for i := range MaxFiles + 1 {
		many = append(many, tar.Header{Name: fmt.Sprintf("policies/%04d.cedar", i)})
	}
	// A size in the head that nothing stands behind: GNU tar's base-256 number.
	lie := archive(t, first)
	copy(lie[124:136], []byte{0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	for name, data := range map[string][]byte{
		"all too large":        make([]byte, MaxBundle+1),
		"a large file":         archive(t, first, tar.Header{Name: "policies/a.cedar", Size: MaxFile + 1}),
		"a large signature":    archive(t, tar.Header{Name: signatureFile, Size: maxEnvelope + 1}),
		"too much in all":      archive(t, large...),
		"too many":             archive(t, many...),
		"a size that is a lie": lie,
	} {
		if _, _, err := read(data); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want %v", name, err, ErrFormat)
		}
	}
}

func TestABundleOfAnotherReleaseIsNotLoaded(t *testing.T) {
	m := manifest(1)
	m.Effective = strings.Repeat("0", 64)
	b, err := Open(build(t, m, library()), trusting())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Load(); !errors.Is(err, ErrDigest) {
		t.Errorf("Load: %v, want %v", err, ErrDigest)
	}
}

func TestKeysInPEM(t *testing.T) {
	one, err := MarshalKey(public(key)[0])
	if err != nil {
		t.Fatal(err)
	}
	two, err := MarshalKey(public(other)[0])
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys([]byte(string(one) + string(two)))
	if err != nil || len(keys) != 2 || !keys[0].Equal(public(key)[0]) || !keys[1].Equal(public(other)[0]) {
		t.Errorf("ParseKeys = %v, %v", keys, err)
	}
	for _, bad := range []string{"", "\n", "key", string(one) + "and more", strings.ReplaceAll(string(one), "PUBLIC", "PRIVATE"), strings.Repeat(string(one), MaxKeys+1)} {
		if _, err := ParseKeys([]byte(bad)); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("ParseKeys(%.30q): %v", bad, err)
		}
	}
}

// TestTheEncodingIsThatOfDSSE compares with the example of the protocol's own
// document.
func TestTheEncodingIsThatOfDSSE(t *testing.T) {
	got := string(encoding("http://example.com/HelloWorld", []byte("hello world")))
	if want := "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzOpen(f *testing.F) {
	good, err := Build(manifest(3), library(), key)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:1024])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Only one row of bytes carries this signature, or its JSON differs.
		if b, err := Open(data, trusting()); err == nil {
			if diff := cmp.Diff(library(), b.Files); diff != "" {
				t.Errorf("files that nobody signed were believed:\n%s", diff)
			}
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	one, err := MarshalKey(public(key)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one)
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, err := ParseKeys(text); err == nil && (len(keys) == 0 || len(keys) > MaxKeys) {
			t.Errorf("%d keys", len(keys))
		}
	})
}

func TestAFileThatLoadsFitsIntoABundle(t *testing.T) {
	if MaxFile < clause.MaxFile || MaxTotal < MaxFile {
		t.Errorf("a file may have %d bytes where policies are loaded, %d here and %d with all others", clause.MaxFile, MaxFile, MaxTotal)
	}
}
