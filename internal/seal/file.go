package seal

import (
	"bytes"
	"context"
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
	plainFormat  = 1
	sealedFormat = 2
	maxFile      = 128 << 10 // some six hundred rotations, sealed
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

// keyFile is the file's JSON. Byte slices are base64. Format 1 holds the keys
// in clear; format 2 holds the same fields, as JSON, encrypted in Body.
type keyFile struct {
	Format   int       `json:"format"`
	Warning  string    `json:"warning"`
	Root     []byte    `json:"root,omitempty"`
	Sealing  []fileKey `json:"sealing,omitempty"` // oldest first; the last one seals
	Wrapping *Wrapping `json:"wrapping,omitempty"`
	Body     []byte    `json:"body,omitempty"`
}

type fileKey struct {
	Version uint32 `json:"version"`
	Key     []byte `json:"key"`
}

// inner is what a sealed file protects.
type inner struct {
	Root    []byte    `json:"root"`
	Sealing []fileKey `json:"sealing"`
}

const (
	warning       = "Secret. Whoever has this file and the database reads everything in it; whoever loses it loses what is sealed."
	sealedWarning = "Sealed. Whoever loses this file, or what opens it, loses what is sealed."
)

// Open loads the key file at path, or creates it when there is none. A new file
// is complete and on disk, folder entry included, before Open returns; two
// processes that create it at once end up with the same keys. A new file is
// sealed by the first of wrappers, or lies in clear when there is none; a sealed
// one is opened by the wrapper of its kind, which may take seconds or ask a
// service.
//
// It refuses, with an error that names the file, one that others may read
// (ErrPermissions), one of a newer release (ErrNewer), a damaged one (ErrFile),
// a sealed one that no wrapper is for (ErrSealed) and one that does not open
// (ErrUnwrap). It never overwrites what it cannot read.
func Open(ctx context.Context, path string, wrappers ...Wrapper) (*Keys, error) {
	k, err := load(ctx, path, wrappers)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k = New()
	if len(wrappers) > 0 {
		if k.cover, err = newCover(ctx, wrappers[0]); err != nil {
			return nil, fmt.Errorf("create key file %s: %w", path, err)
		}
	}
	if err := writeFile(path, k.encode(), os.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create key file %s: %w", path, err)
	}
	// Read it back also when we wrote it: another process may have been first,
	// and a disk that returns something else should be noticed now.
	return load(ctx, path, wrappers)
}

// A State tells of a key file what can be told without opening it.
type State struct {
	Path     string   `json:"path"`
	Sealed   bool     `json:"sealed"`
	Wrapping Wrapping `json:"-"`        // of a sealed one
	Versions int      `json:"versions"` // sealing keys; 0 while it is sealed
	Current  uint32   `json:"current"`  // the newest one; 0 while it is sealed
}

// Inspect tells how a key file is protected. It opens nothing that is sealed
// and fails as Open does.
func Inspect(path string) (State, error) {
	data, err := readFile(path)
	if err != nil {
		return State{}, err
	}
	file, err := parse(data)
	if err != nil {
		return State{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	s := State{Path: path}
	if file.Wrapping != nil {
		s.Sealed, s.Wrapping = true, *file.Wrapping
		return s, nil
	}
	k, err := decodeKeys(inner{file.Root, file.Sealing})
	if err != nil {
		return State{}, fmt.Errorf("read key file %s: %w", path, err)
	}
	s.Versions, s.Current = len(k.sealing), k.current
	return s, nil
}

// Versions tells how many sealing keys there are and the number of the newest.
func (k *Keys) Versions() (count int, current uint32) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.sealing), k.current
}

// Sealed reports whether the key file is sealed.
func (k *Keys) Sealed() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.cover != nil
}

// Rewrap seals the key file by w from now on, or leaves it in clear if w is
// nil. The keys inside stay, so nothing is encrypted anew, and copies of the old
// file open as before. The file is replaced atomically; on error nothing has
// changed. One process at a time may change a file.
func (k *Keys) Rewrap(ctx context.Context, w Wrapper) error {
	var next *cover
	if w != nil {
		var err error
		if next, err = newCover(ctx, w); err != nil {
			return fmt.Errorf("key file %s: %w", k.path, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	previous := k.cover
	k.cover = next
	if k.path == "" {
		return nil
	}
	if err := writeFile(k.path, k.encode(), os.Rename); err != nil {
		k.cover = previous
		return fmt.Errorf("seal key file %s: %w", k.path, err)
	}
	return nil
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

func load(ctx context.Context, path string, wrappers []Wrapper) (*Keys, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	k, err := decode(ctx, data, wrappers)
	if err != nil {
		return nil, fmt.Errorf("open key file %s: %w", path, err)
	}
	k.path = path
	return k, nil
}

func readFile(path string) ([]byte, error) {
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
	return data, nil
}

// parse reads the file's JSON. Its errors carry no content of the file:
// encoding/json quotes what it stumbles over, which may be a key.
func parse(data []byte) (*keyFile, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: over %d bytes", ErrFile, maxFile)
	}
	var version struct {
		Format int `json:"format"`
	}
	if json.Unmarshal(data, &version) != nil || version.Format < 1 {
		return nil, fmt.Errorf("%w: no JSON object with a format number", ErrFile)
	}
	if version.Format > sealedFormat {
		return nil, fmt.Errorf("%w: format %d, this release reads up to %d", ErrNewer, version.Format, sealedFormat)
	}
	file := new(keyFile)
	if strict(data, file) != nil {
		return nil, fmt.Errorf("%w: unknown or ill-typed fields", ErrFile)
	}
	if sealed := file.Wrapping != nil; sealed != (file.Format == sealedFormat) || sealed && (file.Root != nil || file.Sealing != nil) {
		return nil, fmt.Errorf("%w: its format number and its fields do not agree", ErrFile)
	}
	return file, nil
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func decode(ctx context.Context, data []byte, wrappers []Wrapper) (*Keys, error) {
	file, err := parse(data)
	if err != nil {
		return nil, err
	}
	if file.Wrapping == nil {
		return decodeKeys(inner{file.Root, file.Sealing})
	}
	c, err := openCover(ctx, *file.Wrapping, wrappers)
	if err != nil {
		return nil, err
	}
	plain, err := c.open(file.Body)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var held inner
	if strict(plain, &held) != nil {
		return nil, fmt.Errorf("%w: unknown or ill-typed fields inside", ErrFile)
	}
	k, err := decodeKeys(held)
	if err != nil {
		return nil, err
	}
	k.cover = c
	return k, nil
}

func decodeKeys(held inner) (*Keys, error) {
	if len(held.Root) != keySize || len(held.Sealing) == 0 {
		return nil, fmt.Errorf("%w: root or sealing keys are missing", ErrFile)
	}
	k := &Keys{root: secret(held.Root), sealing: make(map[uint32]secret, len(held.Sealing))}
	for _, key := range held.Sealing {
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
	held := inner{Root: k.root[:]}
	for _, version := range slices.Sorted(maps.Keys(k.sealing)) {
		held.Sealing = append(held.Sealing, fileKey{version, k.sealing[version][:]})
	}
	file := keyFile{Format: plainFormat, Warning: warning, Root: held.Root, Sealing: held.Sealing}
	if k.cover != nil {
		plain := marshal(held)
		defer clear(plain)
		file = keyFile{Format: sealedFormat, Warning: sealedWarning, Wrapping: &k.cover.wrapping, Body: k.cover.seal(plain)}
	}
	return append(marshal(file), '\n')
}

func marshal(v any) []byte {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("seal: " + err.Error()) // plain numbers, strings and bytes
	}
	return data
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
