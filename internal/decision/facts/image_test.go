package facts

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-id/muster/internal/nhi"
)

var imageKey = []byte("a key of the installation")

func anyMark(Mark) error { return nil }

// everything is a snapshot in an order of its own, with what it is found by.
type everything struct {
	Generation  nhi.Generation
	Counts      Counts
	Identities  map[nhi.ID]nhi.Identity
	Credentials map[nhi.CredentialID]nhi.Credential
	ByPublic    map[string]nhi.CredentialID
	ByVerifier  map[string]nhi.CredentialID
	Resources   map[string]nhi.Resource
	Points      map[nhi.ID]nhi.Point
	Sources     map[nhi.ID]nhi.Source
	Keys        map[string]nhi.ID
	Routes      []nhi.Route
	Revoked     map[string][2]int64
}

func all(s *Snapshot) everything {
	e := everything{
		Generation: s.generation, Counts: s.counts, Identities: map[nhi.ID]nhi.Identity{}, Credentials: map[nhi.CredentialID]nhi.Credential{},
		ByPublic: map[string]nhi.CredentialID{}, ByVerifier: map[string]nhi.CredentialID{}, Resources: map[string]nhi.Resource{},
		Points: s.points, Sources: s.sources, Keys: map[string]nhi.ID{}, Routes: s.routes, Revoked: map[string][2]int64{},
	}
	for _, sh := range s.shards {
		for i := range sh.identities {
			r := &sh.identities[i]
			name := nhi.ID(r.key.Text(identityPrefix))
			if r.flags&flagOdd != 0 {
				name = nhi.ID(sh.oddIdentities[r.key].id)
			}
			e.Identities[name], _ = s.Identity(name)
		}
		for i := range sh.credentials {
			c := s.credential(sh, &sh.credentials[i])
			e.Credentials[c.ID] = c
			if found, ok := s.CredentialByKeyID(c.PublicID); ok {
				e.ByPublic[c.PublicID] = found.ID
			}
			if len(c.Verifier) == 32 {
				found, _ := s.CredentialByVerifier([32]byte(c.Verifier))
				e.ByVerifier[string(c.Verifier)] = found.ID
			}
		}
		for name, r := range sh.resources {
			e.Resources[name] = r
		}
		for kind, m := range []map[string]revoked{sh.tokens, sh.keys, sh.sessions} {
			for name, r := range m {
				e.Revoked[fmt.Sprint(kind, name)] = [2]int64{r.at, r.expires}
			}
		}
	}
	for k, v := range s.pointKeys {
		e.Keys["point "+k] = v
	}
	for k, v := range s.sourceKeys {
		e.Keys["source "+k] = v
	}
	return e
}

// history is a random list of changes.
func history(t testing.TB, r *rand.Rand, n int) []nhi.Change {
	t.Helper()
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	var out []nhi.Change
	for seq := nhi.Generation(1); seq <= nhi.Generation(n); seq++ {
		k := r.IntN(120)
		add := func(subject nhi.Subject, key string, v any) {
			if r.IntN(6) == 0 && subject != nhi.SubjectRevocation {
				v = nil
			}
			out = append(out, change(t, seq, subject, key, v))
		}
		switch r.IntN(8) {
		case 0, 1:
			i := someIdentity(k)
			if i.Risk = r.IntN(101); k%9 == 0 {
				i.ID = nhi.ID(fmt.Sprint("odd", k))
			}
			if k%7 == 0 {
				i.Alias = identityN(r.IntN(120))
			}
			add(nhi.SubjectIdentity, string(i.ID), i)
		case 2, 3, 4:
			c := someCredential(k, r.IntN(120))
			switch r.IntN(5) {
			case 0:
				c.Consumer = identityN(k)
			case 1:
				c.PublicID, c.Verifier = fmt.Sprint("a rather long public id, longer than a record has room ", k), nil
			case 2:
				c.Identity, c.Expires = "nobody", at.Add(time.Duration(k)*time.Hour)
			}
			if k%11 == 0 {
				c.ID = nhi.CredentialID(fmt.Sprint("odd", k))
			}
			add(nhi.SubjectCredential, string(c.ID), c)
		case 5:
			add(nhi.SubjectResource, fmt.Sprint("res", k), nhi.Resource{Name: fmt.Sprint("res", k), Sensitivity: k % 5, Jurisdiction: "EU"})
		case 6:
			rev := nhi.Revocation{At: at, Expires: at.AddDate(200, 0, k)}
			switch k % 3 {
			case 0:
				rev.Token = fmt.Sprint("jti", k)
			case 1:
				rev.Key = fmt.Sprint("jkt", k)
			default:
				rev.Identity = identityN(k)
			}
			add(nhi.SubjectRevocation, "", rev)
		default:
			switch k % 3 {
			case 0:
				add(nhi.SubjectPoint, fmt.Sprint("nhi_p", k), nhi.Point{ID: nhi.ID(fmt.Sprint("nhi_p", k)), KeyID: fmt.Sprint("pk", k), Mode: nhi.Enforce, Percent: k % 101})
			case 1:
				add(nhi.SubjectSource, fmt.Sprint("nhi_s", k), nhi.Source{ID: nhi.ID(fmt.Sprint("nhi_s", k)), KeyID: fmt.Sprint("sk", k)})
			default:
				add(nhi.SubjectRoutes, "", []nhi.Route{{Host: fmt.Sprint("h", k), Path: "/", Resource: "r"}})
			}
		}
	}
	return out
}

func saved(t testing.TB, f *Facts) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "facts.image")
	s := f.Snapshot()
	if err := s.Save(path, imageKey, Mark{Installation: "here", Generation: s.Generation()}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTheImageAndTheTailAreTheTables follows random histories, saves an image
// somewhere in the middle, and compares the facts that never stopped with
// those that start from the image and the tail.
func TestTheImageAndTheTailAreTheTables(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	for round := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, round))
		changes := history(t, r, 1+r.IntN(1500))
		live := New()
		cut := r.IntN(len(changes) + 1)
		apply(t, live, changes[:cut]...)
		path := saved(t, live)
		apply(t, live, changes[cut:]...)
		again := New()
		if err := again.Restore(path, imageKey, anyMark); err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		if again.Generation() != nhi.Generation(cut) {
			t.Fatalf("seed %d: the image is of generation %d, want %d", seed, again.Generation(), cut)
		}
		apply(t, again, changes[max(0, cut-r.IntN(5)):]...) // some of the tail twice
		if diff := cmp.Diff(all(live.Snapshot()), all(again.Snapshot()), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d, round %d: (-never stopped +image and tail):\n%s", seed, round, diff)
		}
	}
}

func TestADamagedImageIsNeverUsed(t *testing.T) {
	f := New()
	apply(t, f, history(t, rand.New(rand.NewPCG(1, 1)), 100)...)
	path := saved(t, f)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before := New()
	apply(t, before, change(t, 1, nhi.SubjectIdentity, "", someIdentity(1)))
	want := before.Snapshot()
	try := func(what string, image []byte) {
		t.Helper()
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := before.Restore(path, imageKey, anyMark); !errors.Is(err, ErrNoImage) {
			t.Fatalf("%s: error = %v", what, err)
		}
		if before.Snapshot() != want {
			t.Fatalf("%s changed the facts", what)
		}
	}
	step := 1 + len(whole)/100
	for i := 0; i < len(whole); i++ {
		if i > 150 && i < len(whole)-40 && i%step != 0 { // every byte of the head and the end, some in between
			continue
		}
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		try(fmt.Sprint("byte ", i, " flipped"), flipped)
		if i%7 == 0 {
			try(fmt.Sprint("cut off at ", i), whole[:i])
		}
	}
	try("empty", nil)
	try("more than its end", append(bytes.Clone(whole), 0))
	future := bytes.Clone(whole)
	copy(future, "MFACTS02")
	try("of the next version", signed(future[:len(future)-32]))
	if err := before.Restore(filepath.Join(t.TempDir(), "none"), imageKey, anyMark); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
}

// signed gives a body the sum it should have.
func signed(body []byte) []byte {
	h := hmac.New(sha256.New, imageKey)
	h.Write(body)
	return h.Sum(bytes.Clone(body))
}

func TestAnImageOfAnotherInstallationIsNeverUsed(t *testing.T) {
	f := New()
	apply(t, f, history(t, rand.New(rand.NewPCG(1, 2)), 50)...)
	path := saved(t, f)
	if err := New().Restore(path, []byte("another key"), anyMark); !errors.Is(err, ErrNoImage) {
		t.Errorf("under another key: %v", err)
	}
	refused := errors.New("not ours")
	err := New().Restore(path, imageKey, func(m Mark) error {
		if m.Installation != "here" || m.Generation != 50 {
			t.Errorf("mark = %+v", m)
		}
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	current := New()
	apply(t, current, history(t, rand.New(rand.NewPCG(1, 2)), 51)...)
	if err := current.Restore(path, imageKey, anyMark); err == nil || current.Generation() != 51 {
		t.Errorf("facts went back to an image: %v, generation %d", err, current.Generation())
	}
}

func TestTheImageIsPrivateAndHoldsNoSecret(t *testing.T) {
	const secret = "muster_key_abcdefabcdef_0123456789abcdef0123456789abcdef_000000"
	sum := sha256.Sum256([]byte(secret))
	c := someCredential(1, 1)
	c.Verifier = sum[:]
	f := New()
	apply(t, f, change(t, 1, nhi.SubjectCredential, "", c))
	path := saved(t, f)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte(secret)) || bytes.Contains(data, []byte("0123456789abcdef")) || !bytes.Contains(data, sum[:]) {
		t.Error("the image should hold the hash and not the secret")
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestChangesGoOnWhileTheImageIsWritten(t *testing.T) {
	changes := history(t, rand.New(rand.NewPCG(3, 3)), 3000)
	f := New()
	apply(t, f, changes[:1000]...)
	path := filepath.Join(t.TempDir(), "facts.image")
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range changes[1000:] {
			if err := f.Apply(changes[1000+i : 1001+i]); err != nil {
				t.Error(err)
			}
		}
	})
	for range 5 {
		s := f.Snapshot()
		if err := s.Save(path, imageKey, Mark{Generation: s.Generation()}); err != nil {
			t.Fatal(err)
		}
		again, want := New(), New()
		if err := again.Restore(path, imageKey, anyMark); err != nil {
			t.Fatal(err)
		}
		apply(t, want, changes[:s.Generation()]...)
		if diff := cmp.Diff(all(want.Snapshot()), all(again.Snapshot()), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("generation %d (-want +image):\n%s", s.Generation(), diff)
		}
	}
	wg.Wait()
}

// TestAnImageSurvivesKill kills a process that writes images, again and again.
// Whatever it leaves is whole.
func TestAnImageSurvivesKill(t *testing.T) {
	changes := history(t, rand.New(rand.NewPCG(5, 5)), 2000)
	if path := os.Getenv("MUSTER_TEST_IMAGE"); path != "" {
		for f := New(); ; f = New() {
			for from := 0; from < len(changes); from += 200 {
				apply(t, f, changes[from:from+200]...)
				s := f.Snapshot()
				if err := s.Save(path, imageKey, Mark{Generation: s.Generation()}); err != nil {
					t.Fatal(err)
				}
				fmt.Println("saved")
			}
		}
	}
	path := filepath.Join(t.TempDir(), "facts.image")
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestAnImageSurvivesKill$")
		cmd.Env = append(os.Environ(), "MUSTER_TEST_IMAGE="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for range 1 + rand.IntN(9) {
			lines.Scan()
		}
		for range rand.IntN(1 << 16) { // some moment of its work
			runtime.Gosched()
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if err := New().Restore(path, imageKey, anyMark); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	if left, err := filepath.Glob(filepath.Dir(path) + "/*"); err != nil || len(left) > 2 {
		t.Errorf("crashes left %v", left)
	}
}

// FuzzRestore reads images whose sum is right whatever they hold.
func FuzzRestore(f *testing.F) {
	for n := range uint64(4) {
		facts := New()
		apply(f, facts, history(f, rand.New(rand.NewPCG(n, 9)), int(n)*40)...)
		image, err := os.ReadFile(saved(f, facts))
		if err != nil {
			f.Fatal(err)
		}
		// What says nothing in between is left out, so that the rest is found.
		f.Add(image[:len(image)-32])
	}
	f.Add(binary.LittleEndian.AppendUint32([]byte(imageMagic), 4))
	f.Fuzz(func(t *testing.T, body []byte) {
		facts := New()
		l := facts.Begin()
		defer l.Abandon()
		mark, err := l.read(bytes.NewReader(signed(body)), imageKey, anyMark)
		if err != nil {
			if !errors.Is(err, ErrNoImage) {
				t.Fatalf("error = %v", err)
			}
			return
		}
		if err := l.Commit(mark.Generation); err != nil {
			t.Fatal(err)
		}
		all(facts.Snapshot())
		facts.Heartbeat(time.Now())
		_ = facts.Apply([]nhi.Change{change(t, facts.Generation()+1, nhi.SubjectIdentity, "", someIdentity(1))})
	})
}
