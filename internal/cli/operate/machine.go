package operate

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/seal"
)

// fragile are file systems on which what was synced may be gone, or on which
// locks do not keep a second process out, by the magic number of statfs(2).
var fragile = map[uint32]string{
	0x01021994: "a tmpfs, which is gone when the machine restarts",
	0x858458f6: "a ramfs, which is gone when the machine restarts",
	0x00006969: "NFS, which may lose what was synced and let two servers in",
	0xff534d42: "CIFS, which may lose what was synced and let two servers in",
	0xfe534d42: "SMB, which may lose what was synced and let two servers in",
	0x01021997: "9P, which may lose what was synced and let two servers in",
}

func (e *examination) folder() {
	const check = "data folder"
	info, err := os.Stat(e.data)
	switch {
	case err != nil:
		e.tell(check, err.Error(), "name the folder that the server uses: --data FOLDER; one that was never used is made by muster serve --data FOLDER")
		return
	case !info.IsDir():
		e.tell(check, e.data+" is no folder", "name the folder that the server uses: --data FOLDER")
		return
	case info.Mode().Perm()&0o077 != 0:
		e.tell(check, fmt.Sprintf("%s is open to others (mode %04o): every account of this machine gets at what lies in it", e.data, info.Mode().Perm()), "chmod 700 "+e.data)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Getuid() != 0 && int(owner.Uid) != os.Getuid() {
		e.tell(check, fmt.Sprintf("%s belongs to user %d, and you are %d", e.data, owner.Uid, os.Getuid()), "run server and doctor as the user that owns the folder, or chown it")
	}
	room, err := health.RoomOf(e.data)
	if err != nil {
		e.tell(check, err.Error(), "see whether the disk is mounted")
		return
	}
	if s := room.State(e.data); s.Level != health.LevelOK {
		e.tell(check, s.Why, s.Cure)
	}
	var disk syscall.Statfs_t
	if syscall.Statfs(e.data, &disk) == nil {
		if what := fragile[uint32(disk.Type)]; what != "" {
			e.tell(check, e.data+" lies on "+what, "move it to a local disk (ext4, XFS, Btrfs, ZFS)")
		}
	}
}

func (e *examination) keys() {
	path := filepath.Join(e.data, "keys.json")
	if _, err := os.Stat(path); os.IsNotExist(err) {
		if _, err := os.Stat(filepath.Join(e.data, "muster.db")); err == nil {
			e.tell("keys", path+" is missing, and the database is there: what is sealed in it cannot be read", "restore the key file from a backup, before a server starts here")
		}
		return
	}
	s, err := seal.Inspect(path)
	switch {
	case err != nil:
		e.tell("keys", err.Error(), "give the file to the server's user with mode 0600; if it is damaged, restore it from a backup")
	case !s.Sealed:
		e.tell("keys", path+" is in clear: whoever copies the folder has everything in it", "seal it: muster keys seal --help")
	}
}

// clock looks for moments in the future among what the server wrote.
func (e *examination) clock() {
	newest, file := time.Time{}, ""
	seen := 0
	_ = filepath.WalkDir(e.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read is told elsewhere
		}
		if seen++; seen > 100_000 {
			return fs.SkipAll
		}
		if info, err := d.Info(); err == nil && info.ModTime().After(newest) {
			newest, file = info.ModTime(), path
		}
		return nil
	})
	if ahead := newest.Sub(e.now); ahead > 5*time.Second {
		e.tell("clock", fmt.Sprintf("%s was written %v in the future: the clock was set back", file, ahead.Round(time.Second)), "let one time service keep the clock; chronyc tracking or timedatectl says which does, and how far it is off")
	}
}

// tokenLife is how long the first administrator's token lives.
const tokenLife = 24 * time.Hour

func (e *examination) firstToken() {
	path := filepath.Join(e.data, "admin.token")
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	if age := e.now.Sub(info.ModTime()); age < tokenLife {
		e.tell("administrator token", fmt.Sprintf("the first administrator's token in %s is alive for %v more", path, (tokenLife-age).Round(time.Minute)),
			"delete the file once you have the token: whoever reads it is administrator; the first single sign-on ends the token at once (muster config explain access.sso)")
	}
}

// leastFiles is how many files a busy server opens.
const leastFiles = 8192

func (e *examination) limits() {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil && uint64(files.Max) < leastFiles {
		e.tell("limits", fmt.Sprintf("a process may open %d files only, and a busy server needs more: connections would be refused", files.Max), fmt.Sprintf("raise the limit to %d or more (LimitNOFILE= in systemd, ulimit -n)", leastFiles))
	}
}

func (e *examination) networks() {
	table, err := geo.Default()
	if err == nil && table.Stale(e.now) {
		e.tell("network data", "the table of networks of this program is from "+table.Built().Format(time.DateOnly)+": countries and networks of addresses may be wrong", "update to a newer release, which brings a newer table")
	}
}

func (e *examination) environments() {
	switch {
	case len(e.cfg.Environments) > 0:
	case e.file == "":
		e.tell("environments", "no configuration file was named, and without one no account is mapped to an environment: nobody knows what is production",
			"if the server has a file, name it: muster doctor --config FILE; if it has none, write one with environments (muster config explain environments) and start the server with --config FILE")
	default:
		e.tell("environments", "no account is mapped to an environment: nobody knows what is production",
			"write rules under environments in "+e.file+"; muster config explain environments shows how")
	}
}
