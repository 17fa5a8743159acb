package checkpoint_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/checkpoint"
	"github.com/muster-id/muster/internal/checkpoint/checkpointtest"
)

var specs = []checkpoint.Spec{{Name: "wide", Size: 64}, {Name: "narrow", Size: 12}}

// A model is what a folder should hold.
type model struct {
	rows map[string][]string // by table
	part string
}

func (m model) equal(o model) bool {
	return m.part == o.part && maps.EqualFunc(m.rows, o.rows, slices.Equal[[]string])
}

func (m model) clone() model {
	out := model{rows: map[string][]string{}, part: m.part}
	for table, rows := range m.rows {
		out.rows[table] = slices.Clone(rows)
	}
	return out
}

// A user of a folder does what the contract asks: after an error, and after a
// start, what may be torn is part of the next commit.
type user struct {
	folder *checkpoint.Folder
	model  model
	owed   map[string]map[uint32]bool
}

func open(disk checkpoint.Disk) (*user, error) {
	folder, state, err := checkpoint.OpenFolder(disk, specs...)
	if err != nil {
		return nil, err
	}
	u := &user{folder: folder, model: model{rows: map[string][]string{}}, owed: map[string]map[uint32]bool{}}
	for _, s := range specs {
		u.model.rows[s.Name], u.owed[s.Name] = nil, map[uint32]bool{}
	}
	if state == nil {
		return u, nil
	}
	u.model.part = string(state.Parts["part"])
	for _, s := range specs {
		err := folder.Rows(state, s.Name, func(place uint32, row []byte, over bool) error {
			u.model.rows[s.Name] = append(u.model.rows[s.Name], string(row))
			if over {
				u.owed[s.Name][place] = true
			}
			return nil
		})
		if err != nil {
			return nil, errors.Join(err, folder.Close())
		}
	}
	return u, nil
}

// change changes a few rows and adds some.
func (u *user) change(chance *rand.Rand, part string) {
	u.model = u.model.clone()
	u.model.part = part
	for _, s := range specs {
		rows := u.model.rows[s.Name]
		for range chance.IntN(4) {
			rows = append(rows, "")
			u.owed[s.Name][uint32(len(rows)-1)] = true
		}
		for range min(len(rows), 3) {
			u.owed[s.Name][uint32(chance.IntN(len(rows)))] = true
		}
		for place := range u.owed[s.Name] {
			row := make([]byte, s.Size)
			for i := range row {
				row[i] = byte(chance.Uint32())
			}
			rows[place] = string(row)
		}
		u.model.rows[s.Name] = rows
	}
}

func (u *user) deltas() (out []checkpoint.Delta) {
	for _, s := range specs {
		d := checkpoint.Delta{Table: s.Name, Count: len(u.model.rows[s.Name])}
		for place := range u.owed[s.Name] {
			d.Places = append(d.Places, place)
		}
		slices.Sort(d.Places)
		for _, place := range d.Places {
			d.Rows = append(d.Rows, u.model.rows[s.Name][place]...)
		}
		out = append(out, d)
	}
	return out
}

func (u *user) commit() error {
	err := u.folder.Commit([]checkpoint.Part{{Name: "part", Data: []byte(u.model.part)}}, u.deltas())
	if err == nil {
		for _, s := range specs {
			clear(u.owed[s.Name])
		}
	}
	return err
}

// TestACrashLeavesTheStateBeforeOrAfter lets the disk die at each operation of a
// few commits, as a killed process and as a loss of power, and looks at what is
// there then; and again, after a commit onto it.
func TestACrashLeavesTheStateBeforeOrAfter(t *testing.T) {
	for _, how := range []string{"killed", "power, all of it", "power, some of it"} {
		t.Run(how, func(t *testing.T) {
			seeds := 1
			if strings.Contains(how, "some") {
				seeds = 2
			}
			for seed := range seeds {
				for left := 0; crashed(t, how, left, uint64(seed)); left++ {
				}
			}
		})
	}
}

// crashed runs until the disk dies after a number of operations, and reports
// false when it outlived everything.
func crashed(t *testing.T, how string, left int, seed uint64) bool {
	t.Helper()
	dir, chance := t.TempDir(), rand.New(rand.NewPCG(seed, 1))
	disk := checkpointtest.New(t, dir, left)
	empty := model{rows: map[string][]string{"wide": nil, "narrow": nil}}
	before, after := empty, empty
	u, err := open(disk)
	for n := 0; err == nil && n < 4; n++ {
		u.change(chance, fmt.Sprint("commit ", n))
		after = u.model
		if err = u.commit(); err == nil {
			before = after
		}
	}
	if u != nil {
		_ = u.folder.Close()
	}
	if !disk.Died() {
		return false
	}
	disk.Crash(how != "killed", strings.Contains(how, "all"), chance)
	for range 2 {
		u, err := open(checkpoint.Dir(dir))
		if err != nil {
			t.Fatalf("%s after %d operations, seed %d: %v", how, left, seed, err)
		}
		if !u.model.equal(before) && !u.model.equal(after) {
			t.Fatalf("%s after %d operations, seed %d: neither before nor after:\n%s", how, left, seed, cmp.Diff(after, u.model, cmp.AllowUnexported(model{})))
		}
		u.change(chance, "again")
		before, after = u.model, u.model
		if err := errors.Join(u.commit(), u.folder.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

func TestACommitThatFailsIsMadeUpForByTheNext(t *testing.T) {
	for left := range 60 {
		dir, chance := t.TempDir(), rand.New(rand.NewPCG(1, 1))
		disk := checkpointtest.New(t, dir, 1000)
		u, err := open(disk)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			u.change(chance, fmt.Sprint(n))
			if err := u.commit(); err != nil {
				t.Fatal(err)
			}
		}
		u.change(chance, "fails")
		disk.Left = left
		failed := u.commit()
		disk.Revive()
		u.change(chance, "last")
		if err := errors.Join(u.commit(), u.folder.Close()); err != nil {
			t.Fatalf("after a failure at operation %d: %v", left, err)
		}
		back, err := open(checkpoint.Dir(dir))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(u.model, back.model, cmp.AllowUnexported(model{})); diff != "" {
			t.Fatalf("after a failure at operation %d:\n%s", left, diff)
		}
		if err := back.folder.Close(); err != nil {
			t.Fatal(err)
		}
		if failed == nil {
			return
		}
	}
	t.Error("a commit takes over 60 operations")
}

// committed is a folder with a few commits.
func committed(t *testing.T) (dir string, want model) {
	t.Helper()
	dir = t.TempDir()
	u, err := open(checkpoint.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	chance := rand.New(rand.NewPCG(2, 2))
	for n := range 5 {
		u.change(chance, fmt.Sprint(n))
		if err := u.commit(); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.folder.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, u.model
}

func TestADamagedCheckpointIsNamed(t *testing.T) {
	dir, _ := committed(t)
	path := filepath.Join(dir, checkpoint.File)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		flipped := slices.Clone(good)
		flipped[i] ^= 0x10
		for name, bad := range map[string][]byte{"cut": good[:i], "flipped": flipped} {
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := open(checkpoint.Dir(dir)); !errors.Is(err, checkpoint.ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Fatalf("%s at byte %d: %v, want an error that names the file", name, i, err)
			}
		}
	}
}

func TestATableThatIsCutOffIsNamed(t *testing.T) {
	dir, want := committed(t)
	path := filepath.Join(dir, "wide")
	for size := range int64(64 * len(want.rows["wide"])) {
		if err := os.Truncate(path, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		u, err := open(checkpoint.Dir(dir))
		if err == nil { // all that is missing lies in the checkpoint
			if got := len(u.model.rows["wide"]); got != len(want.rows["wide"]) {
				t.Errorf("%d rows, want %d", got, len(want.rows["wide"]))
			}
			if err := u.folder.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, checkpoint.ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Fatalf("%v, want an error that names the table", err)
		}
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := open(checkpoint.Dir(dir)); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("an empty table: %v", err)
	}
}

func TestOtherTablesThanWereSavedAreRefused(t *testing.T) {
	dir, _ := committed(t)
	for name, other := range map[string][]checkpoint.Spec{
		"fewer":       specs[:1],
		"other rows":  {{Name: "wide", Size: 65}, specs[1]},
		"other names": {{Name: "broad", Size: 64}, specs[1]},
		"more":        append(slices.Clone(specs), checkpoint.Spec{Name: "more", Size: 4}),
	} {
		if _, _, err := checkpoint.OpenFolder(checkpoint.Dir(dir), other...); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithoutACheckpointTablesMeanNothing(t *testing.T) {
	dir, _ := committed(t)
	if err := os.Remove(filepath.Join(dir, checkpoint.File)); err != nil {
		t.Fatal(err)
	}
	u, err := open(checkpoint.Dir(dir))
	if err != nil || len(u.model.rows["wide"]) != 0 {
		t.Fatalf("%v, %v", u, err)
	}
	u.change(rand.New(rand.NewPCG(3, 3)), "new")
	if err := errors.Join(u.commit(), u.folder.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestRowsAreSpilledBeforeTheFirstCommitOnly(t *testing.T) {
	dir := t.TempDir()
	folder, _, err := checkpoint.OpenFolder(checkpoint.Dir(dir), specs...)
	if err != nil {
		t.Fatal(err)
	}
	row := bytes.Repeat([]byte{7}, 64)
	if err := folder.Spill(checkpoint.Delta{Table: "wide", Count: 2, Places: []uint32{1}, Rows: row}); err != nil {
		t.Fatal(err)
	}
	rest := []checkpoint.Delta{{Table: "wide", Count: 2, Places: []uint32{0}, Rows: row}, {Table: "narrow"}}
	if err := folder.Commit(nil, rest); err != nil {
		t.Fatal(err)
	}
	if err := folder.Spill(rest[0]); err == nil {
		t.Error("rows were spilled under a checkpoint")
	}
	for _, bad := range []checkpoint.Delta{{Table: "other"}, {Table: "wide", Count: 2, Places: []uint32{0}, Rows: row[:9]}} {
		if err := folder.Commit(nil, []checkpoint.Delta{bad}); err == nil {
			t.Errorf("%+v was committed", bad)
		}
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := folder.Commit(nil, rest); err == nil {
		t.Error("a closed folder took a commit")
	}
	u, err := open(checkpoint.Dir(dir))
	if err != nil || cmp.Diff(u.model.rows["wide"], []string{string(row), string(row)}) != "" {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestSpilledRowsOutliveALossOfPower(t *testing.T) {
	disk := checkpointtest.New(t, t.TempDir(), 1<<30)
	folder, _, err := checkpoint.OpenFolder(disk, specs...)
	if err != nil {
		t.Fatal(err)
	}
	row := bytes.Repeat([]byte{7}, 64)
	if err := folder.Spill(checkpoint.Delta{Table: "wide", Count: 1, Places: []uint32{0}, Rows: row}); err != nil {
		t.Fatal(err)
	}
	if err := folder.Commit(nil, []checkpoint.Delta{{Table: "wide", Count: 1}, {Table: "narrow"}}); err != nil {
		t.Fatal(err)
	}
	disk.Crash(true, true, nil)
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	u, err := open(disk.Dir)
	if err != nil || cmp.Diff(u.model.rows["wide"], []string{string(row)}) != "" {
		t.Errorf("%+v, %v", u, err)
	}
}

// memory is a Disk that holds a checkpoint only.
type memory []byte

func (m memory) Path(name string) string { return name }
func (m memory) ReadFile(name string) ([]byte, error) {
	if name != checkpoint.File {
		return nil, fs.ErrNotExist
	}
	return m, nil
}
func (m memory) Open(string) (checkpoint.Open, error)   { return nothing{}, nil }
func (m memory) Create(string) (checkpoint.Open, error) { return nothing{}, nil }
func (m memory) Rename(string, string) error            { return nil }
func (m memory) Sync() error                            { return nil }

type nothing struct{}

func (nothing) Write(b []byte) (int, error)            { return len(b), nil }
func (nothing) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }
func (nothing) ReadAt([]byte, int64) (int, error)      { return 0, errors.New("empty") }
func (nothing) Truncate(int64) error                   { return nil }
func (nothing) Size() (int64, error)                   { return 0, nil }
func (nothing) Sync() error                            { return nil }
func (nothing) Close() error                           { return nil }
func (nothing) Fd() uintptr                            { return ^uintptr(0) }

func FuzzHostileCheckpoint(f *testing.F) {
	dir := f.TempDir()
	folder, _, err := checkpoint.OpenFolder(checkpoint.Dir(dir), specs...)
	if err != nil {
		f.Fatal(err)
	}
	for range 2 {
		if err := folder.Commit([]checkpoint.Part{{Name: "part", Data: []byte("text")}}, []checkpoint.Delta{
			{Table: "wide", Count: 2, Places: []uint32{0, 1}, Rows: make([]byte, 128)}, {Table: "narrow", Count: 1, Places: []uint32{0}, Rows: make([]byte, 12)},
		}); err != nil {
			f.Fatal(err)
		}
	}
	if err := folder.Close(); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, checkpoint.File))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[8 : len(good)-4])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		// Magic and checksum are set right, so that what lies between is reached.
		whole := append(slices.Clone(good[:8]), data...)
		whole = binary.LittleEndian.AppendUint32(whole, crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)))
		folder, state, err := checkpoint.OpenFolder(memory(whole), specs...)
		if err != nil {
			if !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("%v, want damaged", err)
			}
			return
		}
		for _, s := range specs {
			if err := folder.Rows(state, s.Name, func(uint32, []byte, bool) error { return nil }); err != nil {
				t.Error(err)
			}
		}
	})
}
