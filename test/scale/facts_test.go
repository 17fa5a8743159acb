package scale

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/config"
	"github.com/muster-id/muster/internal/decision/facts"
	"github.com/muster-id/muster/internal/fingerprint"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/server"
	"github.com/muster-id/muster/internal/store"
	storeinventory "github.com/muster-id/muster/internal/store/inventory"
	"github.com/muster-id/muster/internal/store/sqlite"
)

const (
	perIdentity = 3
	perAccount  = 2000
)

func someIdentity(n int) nhi.Identity {
	account, native := fmt.Sprintf("%012d", n/perAccount), fmt.Sprint("AIDA", n)
	return nhi.Identity{
		ID: nhi.IdentityID("aws", account, native), Kind: nhi.KindServiceAccount, Provider: "aws", Account: account, Native: native,
		Name: fmt.Sprintf("service-%d", n), Path: fmt.Sprintf("arn:aws:iam::%s:user/service-%d", account, n), State: nhi.Active,
		Owner: nhi.Owner{Ref: fmt.Sprint("team:", n%400)}, Environment: nhi.Environment{Name: fmt.Sprint("env", n%30), Class: nhi.Production},
	}
}

func someCredential(n int) nhi.Credential {
	of := someIdentity(n / perIdentity)
	public := fmt.Sprintf("AKIA%016d", n)
	sum := sha256.Sum256([]byte(public))
	return nhi.Credential{
		ID: nhi.NewCredentialID("aws", of.Account, public), Identity: of.ID, Kind: nhi.CredentialAWSAccessKey, Provider: "aws", Account: of.Account,
		PublicID: public, Verifier: sum[:], State: nhi.CredentialActive, Created: time.Unix(1_700_000_000, 0).UTC(),
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// grown returns how much more heap there is than before.
func grown(before uint64) uint64 {
	if now := heap(); now > before {
		return now - before
	}
	return 0
}

// resident is the memory of this process that lies in RAM, in bytes, without what
// the collector only has not given back yet.
func resident(t *testing.T) uint64 {
	t.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages uint64
	if _, err := fmt.Sscan(string(status), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

// TestFactsAtScale measures facts by themselves: memory, one change, the image
// and the start from it. The gates are ratios: bytes for each record, and
// processor time of one change beside a yardstick.
func TestFactsAtScale(t *testing.T) {
	before := heap()
	f := facts.New()
	l := f.Begin()
	for n := range identities {
		i := someIdentity(n)
		l.Identity(&i)
		for k := range perIdentity {
			c := someCredential(n*perIdentity + k)
			l.Credential(&c)
		}
	}
	if err := l.Commit(1); err != nil {
		t.Fatal(err)
	}
	held := heap() - before
	var text strings.Builder
	fmt.Fprintf(&text, "%d identities, %d credentials.\n\n| what | measured |\n|---|---|\n| heap of the facts | %d MB, %d bytes an identity with its credentials |\n",
		identities, identities*perIdentity, held>>20, held/identities)
	if most := uint64(750 * identities); identities >= 1_000_000 && held > 700<<20 || held > max(most, 64<<20) {
		t.Errorf("%d bytes of heap for %d identities", held, identities)
	}
	changed(t, f, &text)
	imaged(t, f, &text)
	runtime.KeepAlive(f)
	record(t, "facts.md", "Facts", text.String())
}

// changed measures single changes all over the facts.
func changed(t *testing.T, f *facts.Facts, text *strings.Builder) {
	t.Helper()
	const changes = 2000
	list := make([]nhi.Change, changes)
	for i := range list {
		c := someCredential((i * 7919) % (identities * perIdentity))
		c.State = nhi.CredentialSuspended
		payload, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = nhi.Change{Seq: f.Generation() + 1 + nhi.Generation(i), Subject: nhi.SubjectCredential, Key: string(c.ID), Version: 1, Payload: payload}
	}
	took := make([]time.Duration, changes)
	began := cpu()
	for i := range list {
		at := time.Now()
		if err := f.Apply(list[i : i+1]); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(at)
	}
	used := (cpu() - began) / changes
	slices.Sort(took)
	next := f.Generation()
	allocations := testing.AllocsPerRun(100, func() {
		next++
		c := list[0]
		c.Seq = next
		if err := f.Apply([]nhi.Change{c}); err != nil {
			t.Fatal(err)
		}
	})
	fmt.Fprintf(text, "| one change | %v of processor, median %v, 99th %v by the wall; %.0f allocations |\n", used, took[changes/2], took[changes*99/100], allocations)
	if allocations > 40 {
		t.Errorf("one change allocates %.0f times", allocations)
	}
}

// imaged measures writing the image and starting from it.
func imaged(t *testing.T, f *facts.Facts, text *strings.Builder) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "facts.image")
	s := f.Snapshot()
	at, used := time.Now(), cpu()
	if err := s.Save(path, []byte("key"), facts.Mark{Generation: s.Generation()}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(text, "| image written | %d MB in %v, %v of processor |\n", info.Size()>>20, time.Since(at).Round(time.Millisecond), (cpu() - used).Round(time.Millisecond))
	again := facts.New()
	at, used = time.Now(), cpu()
	if err := again.Restore(path, []byte("key"), func(facts.Mark) error { return nil }); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(text, "| image read | %v, %v of processor |\n", time.Since(at).Round(time.Millisecond), (cpu() - used).Round(time.Millisecond))
	if again.Counts() != f.Counts() {
		t.Errorf("the image holds %+v of %+v", again.Counts(), f.Counts())
	}
	if most := int64(600 * identities); info.Size() > most {
		t.Errorf("the image has %d bytes, at most %d are meant", info.Size(), most)
	}
}

// TestAServerAtScale imports into a database and starts a server on it, from
// the tables, from the image, and from the image with a tail.
func TestAServerAtScale(t *testing.T) {
	dir := t.TempDir()
	began, used := time.Now(), cpu()
	imported(t, dir, 0, identities, "")
	var text strings.Builder
	fmt.Fprintf(&text, "%d identities, each with its page, and %d credentials in SQLite.\n\n| what | wall | processor | generation | heap | resident |\n|---|---|---|---|---|---|\n", identities, identities*perIdentity)
	row := func(what string, wall, cpu time.Duration, generation nhi.Generation) {
		fmt.Fprintf(&text, "| %s | %v | %v | %d | %d MB | %d MB |\n", what, wall.Round(10*time.Millisecond), cpu.Round(10*time.Millisecond), generation, heap()>>20, resident(t)>>20)
	}
	row("import", time.Since(began), cpu()-used, 0)
	began, used = time.Now(), cpu()
	learned(t, dir)
	row("a page for each identity", time.Since(began), cpu()-used, 0)
	var reached nhi.Generation
	start := func(what string) time.Duration {
		at, used := time.Now(), cpu()
		c := config.Default()
		c.Listen, c.OpsListen, c.ExtAuthzListen = "127.0.0.1:0", "127.0.0.1:0", config.Off
		srv, err := server.New(t.Context(), server.Settings{Data: dir, Config: c, Version: "scale"})
		if err != nil {
			t.Fatal(err)
		}
		spent := cpu() - used
		row(what, time.Since(at), spent, srv.Generation())
		reached = srv.Generation()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		at, used = time.Now(), cpu()
		if err := srv.Run(ctx); err != nil {
			t.Fatal(err)
		}
		row("stop after it", time.Since(at), cpu()-used, srv.Generation())
		return spent
	}
	tables := start("start from the tables")
	if _, err := os.Stat(filepath.Join(dir, "facts.image")); err != nil {
		t.Fatal(err)
	}
	image := start("start from the image")
	if identities >= 1_000_000 && image > tables/2 {
		t.Errorf("a start from the image took %v of processor, one from the tables %v", image, tables)
	}
	imported(t, dir, 0, perAccount, "-renamed")
	before := reached
	start(fmt.Sprintf("start from the image and a tail of %d changes", perAccount))
	if reached < before+perAccount {
		t.Errorf("the tail has %d changes, want at least %d", reached-before, perAccount)
	}
	record(t, "start.md", "Starting at scale", text.String())
}

// imported puts identities into the database of a data folder as a connector
// would, an account at a time.
func imported(t *testing.T, dir string, from, to int, suffix string) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Settings{Dir: dir, Settings: store.Settings{Program: "scale"}})
	if err != nil {
		t.Fatal(err)
	}
	oprf, err := fingerprint.NewEvaluator(make([]byte, 32), 1)
	if err != nil {
		t.Fatal(err)
	}
	service, err := inventory.New(storeinventory.New(db), oprf, inventory.DefaultSettings())
	if err != nil {
		t.Fatal(err)
	}
	for at := from; at < to; at += perAccount {
		o := nhi.Observation{Provider: "aws", Account: fmt.Sprintf("%012d", at/perAccount), At: time.Now().UTC()}
		for n := at; n < at+perAccount; n++ {
			i := someIdentity(n)
			i.Name += suffix
			o.Identities = append(o.Identities, i)
			for k := range perIdentity {
				o.Credentials = append(o.Credentials, someCredential(n*perIdentity+k))
			}
		}
		if _, _, err := service.Apply(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// record writes a result file when the whole size was measured, and shows it
// in any case.
func record(t *testing.T, name, title, text string) {
	t.Helper()
	t.Log("\n" + text)
	if identities < 1_000_000 {
		return
	}
	commit, err := exec.CommandContext(t.Context(), "git", "describe", "--always", "--dirty").Output()
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("# %s\n\nMade by `go test -tags scale ./test/scale` on %s, commit %s, %s, %d CPUs. Nothing in it is drawn, so there is no seed.\n\n",
		title, time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)), runtime.Version(), runtime.NumCPU())
	if err := os.WriteFile(filepath.Join("..", "..", "docs", "results", name), []byte(head+text), 0o644); err != nil {
		t.Fatal(err)
	}
}
