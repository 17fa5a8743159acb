package archive

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/muster-id/muster/internal/audit"
	"github.com/muster-id/muster/internal/backup"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/seal"
	"github.com/muster-id/muster/internal/seal/agefile"
	"github.com/muster-id/muster/internal/store"
)

// A Target is where a backup is brought back to.
type Target struct {
	Data string // a folder that is empty or not there
	// Open opens the empty store, given the folder that becomes Data.
	Open func(ctx context.Context, dir string) (*store.DB, error)
	// AuditKeys must have signed the audit log, if given: they show that the
	// backup is of the installation that it is taken for.
	AuditKeys []crypto.PublicKey
}

// A Restored tells what a restore brought back. It is kept in the data folder,
// for the next start to tell everybody.
type Restored struct {
	BackupAt   time.Time `json:"backup_at"`
	RestoredAt time.Time `json:"restored_at"`
	Program    string    `json:"program"`    // version that wrote the backup
	Generation uint64    `json:"generation"` // the last one in the backup
	From       uint64    `json:"from"`       // the first one that is new
	Rows       int       `json:"rows"`
	Acts       uint64    `json:"acts"`      // in the audit log
	Signed     uint64    `json:"signed"`    // of its records, proven by a signature
	Decisions  uint64    `json:"decisions"` // in their journal
	Learned    bool      `json:"learned"`   // what is normal came along
	Sealed     string    `json:"sealed"`    // by what the key file is sealed; empty: in clear
}

// RestoredFile is where a Restored is kept in the data folder.
const RestoredFile = "restored.json"

// Restore reads a backup into an empty folder and an empty store. It checks
// every part and the whole audit log before anything gets its name; a restore
// that fails leaves the folder empty, and a store in a file of its own is gone
// with it. A database elsewhere is written in one transaction, after all that can
// be checked before.
func Restore(ctx context.Context, from io.Reader, key agefile.Key, to Target) (_ Restored, err error) {
	if err := vacant(to.Data); err != nil {
		return Restored{}, err
	}
	free, err := claim(to.Data)
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, free()) }()
	r, err := backup.NewReader(from, key)
	if err != nil {
		return Restored{}, fmt.Errorf("open the backup: %w", err)
	}
	defer r.Close()
	// Inside of it, because it may be a mount: then one rename each puts what is
	// finished in place. 0700, by a name that nobody could have prepared.
	work, err := os.MkdirTemp(to.Data, Unfinished+"*")
	if err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	in := &input{ctx: ctx, r: r, dir: filepath.Join(work, "data"), rows: filepath.Join(work, "store"), to: to}
	in.done = Restored{BackupAt: r.Manifest.At, RestoredAt: time.Now().UTC().Truncate(time.Second), Program: r.Manifest.Program}
	for _, step := range []func() error{in.unpack, in.verify, in.load, in.mark} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return Restored{}, fmt.Errorf("restore: %w", err)
		}
	}
	if err := publish(in.dir, work, to.Data); err != nil {
		return Restored{}, fmt.Errorf("restore: %w", err)
	}
	return in.done, nil
}

// Unfinished begins the name of the folder that a restore works in. A server
// does not start on a folder that holds one: it was killed half-way.
const Unfinished = ".muster-restore-"

// vacant refuses a folder that holds anything but what a restore that was killed
// left there, and a link to a folder.
func vacant(data string) error {
	info, err := os.Lstat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("restore into %s: %w", data, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("restore into %s: it is no folder, or a link to one: name an empty folder itself; nothing was changed: %w", data, nhi.ErrConflict)
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return fmt.Errorf("restore into %s: %w", data, err)
	}
	if left := leftover(entries); len(left) < len(entries) {
		other := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return !slices.Contains(left, e.Name()) })
		return fmt.Errorf("restore into %s: the folder is not empty (%s): choose an empty one; nothing was changed: %w", data, entries[other].Name(), nhi.ErrConflict)
	}
	return nil
}

// published are the names that a restore gives in a data folder.
var published = []string{keyFile, RestoredFile, normal, old, "audit", "decisions", "muster.db", "muster.db-wal", "muster.db-shm", "muster.lock"}

// leftover lists what a restore that was killed left: the folder it worked in,
// and what it had put in place already. Without that folder nothing is.
func leftover(entries []fs.DirEntry) (names []string) {
	killed := false
	for _, e := range entries {
		working := strings.HasPrefix(e.Name(), Unfinished)
		if killed = killed || working; working || slices.Contains(published, e.Name()) {
			names = append(names, e.Name())
		}
	}
	if !killed {
		return nil
	}
	return names
}

// claim makes the folder if need be, claims it for this restore and removes what
// another one left that was killed. free gives it up.
func claim(data string) (free func() error, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	folder, err := os.Open(data)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("restore into %s: another restore is at work there: wait for its end: %w", data, nhi.ErrConflict), folder.Close())
	}
	if err := vacant(data); err != nil { // another one may have ended just now
		return nil, errors.Join(err, folder.Close())
	}
	entries, err := os.ReadDir(data)
	for _, name := range leftover(entries) {
		// What tells that something is left goes last.
		if !strings.HasPrefix(name, Unfinished) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(data, name)))
		}
	}
	for _, name := range leftover(entries) {
		if err == nil {
			err = os.RemoveAll(filepath.Join(data, name))
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("clear what an unfinished restore left in %s: %w", data, err), folder.Close())
	}
	return folder.Close, nil
}

// publish moves what is finished to where it belongs, unless something else
// came there meanwhile.
func publish(from, work, to string) error {
	there, err := os.ReadDir(to)
	if err != nil {
		return err
	}
	if len(there) != 1 || there[0].Name() != filepath.Base(work) {
		return fmt.Errorf("%s is no longer empty: nothing was put there: %w", to, nhi.ErrConflict)
	}
	done, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range done {
		if err := os.Rename(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return err
		}
	}
	d, err := os.Open(to)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type input struct {
	ctx  context.Context
	r    *backup.Reader
	dir  string // becomes the data folder
	rows string // file
	to   Target
	done Restored
	seen map[string]bool
	// whole is the file that the last part belongs to, if it may have another
	// piece, and pieces is how many it has.
	whole  string
	pieces int
}

// unpack writes every part to where it belongs, inside of two folders of ours
// that nobody else can write.
func (in *input) unpack() error {
	in.seen = map[string]bool{}
	if err := os.Mkdir(in.dir, 0o700); err != nil {
		return err
	}
	rows, err := os.OpenFile(in.rows, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	next := 0
	for err == nil {
		var name string
		var body io.Reader
		if name, body, err = in.r.Next(); err != nil {
			break
		}
		if err = in.ctx.Err(); err != nil {
			break
		}
		if folder, number, _ := strings.Cut(name, "/"); folder == "store" {
			if number != fmt.Sprintf("%08d", next) {
				err = fmt.Errorf("%w: its rows are out of order at %s", backup.ErrDamaged, name)
				break
			}
			next++
			_, err = io.Copy(rows, body)
			continue
		}
		err = in.file(name, body)
	}
	if err == io.EOF {
		err = nil
	}
	return errors.Join(err, rows.Close())
}

// file writes one file. Names are of a closed list, and nothing is ever
// followed or written twice.
func (in *input) file(name string, body io.Reader) error {
	folder, base, nested := strings.Cut(name, "/")
	if fits := folders[folder]; name != keyFile && (!nested || fits == nil || !fits.MatchString(base)) {
		return fmt.Errorf("%w: it holds %q, which no backup does", backup.ErrDamaged, name)
	}
	if nested && !in.seen[folder] {
		if err := os.Mkdir(filepath.Join(in.dir, folder), 0o700); err != nil {
			return err
		}
	}
	in.seen[folder] = true
	name, mode := in.place(name)
	if strings.Contains(name, "-") {
		return fmt.Errorf("%w: %q is out of order", backup.ErrDamaged, name)
	}
	f, err := os.OpenFile(filepath.Join(in.dir, filepath.FromSlash(name)), mode, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", backup.ErrDamaged, err)
	}
	_, err = io.Copy(f, body)
	return errors.Join(err, f.Sync(), f.Close())
}

// place says which file a part belongs to: one of its own, which must not be
// there, or the one before, when the part is its next piece.
func (in *input) place(name string) (file string, mode int) {
	if in.whole != "" && name == pieceName(in.whole, in.pieces) {
		in.pieces++
		return in.whole, os.O_APPEND | os.O_WRONLY
	}
	in.whole, in.pieces = "", 0
	if strings.HasPrefix(name, normal+"/") && !strings.Contains(name, "-") {
		in.whole, in.pieces = name, 1
	}
	return name, os.O_CREATE | os.O_EXCL | os.O_WRONLY
}

// verify proves what can be proven without the store.
func (in *input) verify() error {
	state, err := seal.Inspect(filepath.Join(in.dir, keyFile))
	if err != nil {
		return fmt.Errorf("the backup's key file: %w", err)
	}
	if state.Sealed {
		in.done.Sealed = seal.Label(state.Wrapping)
	}
	in.done.Learned = in.seen[normal] || in.seen[old]
	folder := filepath.Join(in.dir, "audit")
	keys := in.to.AuditKeys
	if len(keys) == 0 {
		if keys, err = audit.ReadKeys(filepath.Join(folder, audit.KeyFile)); err != nil {
			return fmt.Errorf("the backup's audit log: %w", err)
		}
	}
	report, err := audit.Verify(in.ctx, folder, keys, nil)
	if err != nil {
		return fmt.Errorf("the backup's audit log is not intact: %w", err)
	}
	in.done.Acts, in.done.Signed = report.Entries, report.Signed
	decisions, err := journal.Verify(in.ctx, filepath.Join(in.dir, "decisions"))
	if err != nil {
		return fmt.Errorf("the backup's decisions are not intact: %w", err)
	}
	in.done.Decisions = decisions.Records
	return nil
}

// load fills the store and moves its sequence on.
func (in *input) load() (err error) {
	rows, err := os.Open(in.rows)
	if err != nil {
		return err
	}
	defer rows.Close()
	db, err := in.to.Open(in.ctx, in.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	head, err := db.Import(in.ctx, rows)
	if err != nil {
		return err
	}
	in.done.Rows, in.done.Generation = head.Rows, uint64(head.Generation)
	from, err := db.MoveOn(in.ctx)
	in.done.From = uint64(from)
	return err
}

func (in *input) mark() error {
	text, err := json.MarshalIndent(in.done, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(in.dir, RestoredFile), append(text, '\n'), 0o600)
}

// ReadRestored reads what a restore left in a data folder, or an error wrapping
// fs.ErrNotExist when there was none.
func ReadRestored(data string) (Restored, error) {
	text, err := os.ReadFile(filepath.Join(data, RestoredFile))
	if err != nil {
		return Restored{}, err
	}
	var r Restored
	if err := json.Unmarshal(text, &r); err != nil || r.RestoredAt.IsZero() {
		return r, fmt.Errorf("%s is damaged: remove it once you know what was restored", filepath.Join(data, RestoredFile))
	}
	return r, nil
}
