package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const (
	fileFormat = 1
	maxFile    = 64 << 10 // some six hundred rotations
)

var (
	// ErrPermissions means that people beside the owner may read or write the
	// key file. We do not repair it: what they read stays read.
	ErrPermissions = errors.New("key file is open to others than its owner")

	// ErrNewer means that a later release wrote the key file.
	ErrNewer = errors.New("key file was written by a newer release")

	// ErrFile means that the key file is damaged or is no key file.
	ErrFile = errors.New("key file is not readable as one")
)

// keyFile is the file's JSON. Byte slices are base64.
type keyFile struct {
	Format  int       `json:"format"`
	Warning string    `json:"warning"`
	Root    []byte    `json:"root"`
	Sealing []fileKey `json:"sealing"` // oldest first; the last one seals
}

type fileKey struct {
	Version uint32 `json:"version"`
	Key     []byte `json:"key"`
}

const warning = "Secret. Whoever has this file and the database reads everything in it; whoever loses it loses what is sealed."

// Open loads the key file at path, or creates it when there is none. A new file
// is complete and on disk, folder entry included, before Open returns; two
// processes that create it at once end up with the same keys.
//
// It refuses, with an error that names the file, one that others may read
// (ErrPermissions), one of a newer release (ErrNewer) and a damaged one (ErrFile).
// It never overwrites what it cannot read.
func Open(path string) (*Keys, error) {
	k, err := load(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = New()
	if err := writeFile(path, k.encode(), os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create key file %s: %w", path, err)
	}
	// Read it back also when we wrote it: another process may have been first,
	// and a disk that returns something else should be noticed now.
	return load(path)
}

// Rotate makes a new sealing key and seals with it from now on. Older boxes
// still open, and derived bytes stay. The file is replaced atomically before the
// new key is used; on error nothing has changed. One process at a time
// may rotate a file.
func (k *Keys) Rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.current + 1
	if next == 0 {
		return fmt.Errorf("rotate key file %s: no version left after %d", k.path, k.current)
	}
	k.sealing[next] = newSecret()
	previous := k.current
	k.current = next
	if k.path == "" {
		return nil
	}
	if err := writeFile(k.path, k.encode(), os.Rename); err != nil {
		k.current = previous
		delete(k.sealing, next)
		return fmt.Errorf("rotate key file %s: %w", k.path, err)
	}
	return nil
}

func load(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close() // only read from
	// Ask the open file, not the name: nobody can swap it in between.
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open key file %s: %w: not a regular file", path, ErrFile)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("open key file %s: %w: mode %04o, want 0600 (chmod 600, and think about who read it)", path, ErrPermissions, mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", path, err)
	}
	k, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("read key file %s: %w", path, err)
	}
	k.path = path
	return k, nil
}

// decode reads the file's JSON. Its errors carry no content of the file:
// encoding/json quotes what it stumbles over, which may be a key.
func decode(data []byte) (*Keys, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: over %d bytes", ErrFile, maxFile)
	}
	var version struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(data, &version) != nil || version.Format < 1 {
		return nil, fmt.Errorf("%w: no JSON object with a format number", ErrFile)
	}
	if version.Format > fileFormat {
		return nil, fmt.Errorf("%w: format %d, this release reads up to %d", ErrNewer, version.Format, fileFormat)
	}
	var file keyFile
	strict := json.NewDecoder(bytes.NewReader(data))
	strict.DisallowUnknownFields()
	if strict.Decode(&file) != nil {
		return nil, fmt.Errorf("%w: unknown or ill-typed fields", ErrFile)
	}
	if len(file.Root) != keySize || len(file.Sealing) == 0 {
		return nil, fmt.Errorf("%w: root or sealing keys are missing", ErrFile)
	}
	k := &Keys{root: secret(file.Root), sealing: make(map[uint32]secret, len(file.Sealing))}
	for _, key := range file.Sealing {
		// Ascending versions, so that "the last one" and "the newest" agree.
		if len(key.Key) != keySize || key.Version <= k.current {
			return nil, fmt.Errorf("%w: sealing key %d is out of order or of a wrong size", ErrFile, key.Version)
		}
		k.sealing[key.Version] = secret(key.Key)
		k.current = key.Version
	}
	return k, nil
}

// encode writes the file's JSON. The caller holds k.mu or owns k.
func (k *Keys) encode() []byte {
	file := keyFile{Format: fileFormat, Warning: warning, Root: k.root[:]}
	for _, version := range slices.Sorted(maps.Keys(k.sealing)) {
		file.Sealing = append(file.Sealing, fileKey{version, k.sealing[version][:]})
	}
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		panic("seal: " + err.Error()) // plain numbers, strings and bytes
	}
	return append(data, '\n')
}

// writeFile puts data at path all at once: a crash leaves the old file, the new
// file or none, never half of one. publish gives the finished temporary file
// its name: os.Rename replaces, os.Link fails if the name is taken.
func writeFile(path string, data []byte, publish func(from, to string) error) error {
	dir := filepath.Dir(path)
	// CreateTemp opens with O_EXCL and mode 0600.
	f, err := os.CreateTemp(dir, ".keys-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after a rename it is gone already
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := publish(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a folder durable. Without it a power cut may
// leave a database full of boxes and no key file.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
