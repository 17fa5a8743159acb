package health

import (
	"fmt"
	"syscall"
)

// Room is what a file system has left for us.
type Room struct {
	Free, Total  uint64 // bytes; Free is what an ordinary user may still write
	Files        uint64 // files that can still be made
	CountsFiles  bool   // the file system bounds files at all
	ReadOnlyDisk bool
	Writable     bool // this user may make files in the folder
}

// RoomOf looks at the file system that holds dir.
func RoomOf(dir string) (Room, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return Room{}, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	const (
		readOnly        = 1         // ST_RDONLY, MNT_RDONLY: the same bit everywhere
		mayWriteAndPass = 0x2 | 0x1 // W_OK | X_OK
	)
	return Room{
		Free: uint64(fs.Bavail) * uint64(fs.Bsize), Total: uint64(fs.Blocks) * uint64(fs.Bsize),
		Files: uint64(fs.Ffree), CountsFiles: fs.Files > 0,
		ReadOnlyDisk: uint64(fs.Flags)&readOnly != 0, Writable: syscall.Access(dir, mayWriteAndPass) == nil,
	}, nil
}

// Few is what is little room: whatever writes should be cleared up before it is
// used. Little is when the first writers are refused.
const (
	fewBytes  = 2 << 30
	fewFiles  = 10_000
	lastBytes = 64 << 20
	lastFiles = 100
)

// Writable returns an error that says what to do when this user may not write in
// the data folder dir, or nobody may.
func Writable(dir string) error {
	r, err := RoomOf(dir)
	if err != nil {
		return err
	}
	if s := r.access(dir); s.Level != LevelOK {
		return fmt.Errorf("%s: %s", s.Why, s.Cure)
	}
	return nil
}

func (r Room) access(dir string) State {
	switch {
	case r.ReadOnlyDisk:
		return Failed("the disk of "+dir+" is mounted read-only", "see the kernel's log for why, repair it, and mount it for writing")
	case !r.Writable:
		return Failed("this user may not write in "+dir, "give the folder to the user that runs the server (chown) with mode 0700")
	}
	return OK()
}

// State judges the room of the data folder dir.
func (r Room) State(dir string) State {
	const cure = "make room there or move the folder to a larger disk; nothing needs a restart"
	if s := r.access(dir); s.Level != LevelOK {
		return s
	}
	switch {
	case r.Free < lastBytes:
		return Failed(fmt.Sprintf("the disk of %s has %d MB left; events are refused and decisions live on their reserve", dir, r.Free>>20), cure)
	case r.CountsFiles && r.Files < lastFiles:
		return Failed(fmt.Sprintf("the disk of %s has room for %d more files only", dir, r.Files), cure)
	case r.Free < fewBytes && r.Free < r.Total/10:
		return Degraded(fmt.Sprintf("the disk of %s has %d MB left of %d", dir, r.Free>>20, r.Total>>20), cure)
	case r.CountsFiles && r.Files < fewFiles:
		return Degraded(fmt.Sprintf("the disk of %s has room for %d more files only", dir, r.Files), cure)
	}
	return OK()
}
