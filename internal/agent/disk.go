package agent

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/health"
	"github.com/muster-id/muster/internal/nhi"
)

// A disk keeps the state of a point in a folder that only its owner reads:
//
//	pin                 whom the point believes, see the type pin
//	NUMBER.image        facts, as the message with this number brought them
//	NUMBER.head         that message, a frame of package feed: its appearance is the commit
//	NUMBER.tail         the messages after it, one behind the other
//
// Everything is written as it was signed, and checked again when it is read. A
// message that is torn at the end of the tail was never acknowledged, and is cut
// off. Anything else that does not fit means that somebody changed the files: then
// none of it is used, because what is missing could be a revocation.
type disk struct {
	dir      string
	pinned   pin
	tail     *os.File // open for the next message; nil: none was written yet
	sequence uint64   // of the head
	size     int64    // of the tail
	links    int      // in the tail
	broken   bool     // a write failed: what comes next needs a new head
}

// A pin is whom a point believes: the server that it met first.
type pin struct {
	Point        nhi.ID `json:"point"`
	Installation string `json:"installation"`
	Key          []byte `json:"key"` // Ed25519
}

// How long a tail may get before the state is asked for anew.
const (
	maxTail  = 64 << 20
	maxLinks = 20_000
)

func openDisk(dir string) (*disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the state: %w", err)
	}
	d := &disk{dir: dir}
	text, err := os.ReadFile(filepath.Join(dir, "pin"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d, nil
	case err == nil:
		if err = json.Unmarshal(text, &d.pinned); err == nil && len(d.pinned.Key) != ed25519.PublicKeySize {
			err = errors.New("it holds no key")
		}
	}
	if err != nil {
		// Whoever can damage it must not have the point trust the next best server.
		return nil, fmt.Errorf("read %s/pin, which says which server the point believes: %w; if the server is the right one, empty the data folder", dir, err)
	}
	return d, nil
}

// key is whose messages are believed; nil before the first one.
func (d *disk) key() ed25519.PublicKey { return ed25519.PublicKey(d.pinned.Key) }

// believe pins whom the first message came from.
func (d *disk) believe(f *feed.Frame) error {
	p := pin{Point: f.Message.Point, Installation: f.Message.Mark.Installation, Key: f.Key}
	text, err := json.Marshal(p)
	if err == nil {
		err = d.write("pin", text)
	}
	if err != nil {
		return fmt.Errorf("keep the key of the server: %w", err)
	}
	d.pinned = p
	return nil
}

// write puts a file in place whole, and on disk.
func (d *disk) write(name string, text []byte) error {
	path := filepath.Join(d.dir, name)
	f, err := os.OpenFile(path+".next", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(path+".next", path)
	}
	if err != nil {
		return err
	}
	return syncFolder(d.dir)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *disk) path(sequence uint64, kind string) string {
	return filepath.Join(d.dir, fmt.Sprintf("%020d.%s", sequence, kind))
}

// receive writes the image that follows a message, as it arrives, and returns
// where it is. An image that is not what the message announced is an error.
func (d *disk) receive(f *feed.Frame, in io.Reader) (string, error) {
	path := d.path(f.Message.Mark.Sequence, "image")
	if room, err := health.RoomOf(d.dir); err == nil && room.Free < uint64(f.Message.Image.Size) {
		return "", fmt.Errorf("the snapshot has %d MB and the disk room for %d MB", f.Message.Image.Size>>20, room.Free>>20)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(in, f.Message.Image.Size))
	if err == nil && (n != f.Message.Image.Size || feed.Hash(sum.Sum(nil)) != f.Message.Image.Sum) {
		err = fmt.Errorf("the snapshot is not what its message announced: %w", feed.ErrSignature)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}

// head makes a message, whose image was received, the one to begin with.
func (d *disk) head(f *feed.Frame) error {
	sequence := f.Message.Mark.Sequence
	if err := d.write(fmt.Sprintf("%020d.head", sequence), f.Bytes); err != nil {
		return fmt.Errorf("keep the snapshot: %w", err)
	}
	if d.tail != nil {
		_ = d.tail.Close() // what it holds is behind us
	}
	d.tail, d.sequence, d.size, d.links, d.broken = nil, sequence, 0, 0, false
	d.forget()
	return nil
}

// forget removes what belongs to another head.
func (d *disk) forget() {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Name() != "pin" && !strings.HasPrefix(e.Name(), fmt.Sprintf("%020d.", d.sequence)) {
			_ = os.Remove(filepath.Join(d.dir, e.Name())) // tried again with the next head
		}
	}
}

// add keeps a message. It returns when that is on disk.
func (d *disk) add(f *feed.Frame) (err error) {
	if d.broken {
		return errors.New("the state on disk is broken until a new snapshot comes")
	}
	defer func() { d.broken = err != nil }()
	if d.tail == nil {
		if d.tail, err = os.OpenFile(d.path(d.sequence, "tail"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		if err := syncFolder(d.dir); err != nil {
			return err
		}
	}
	if _, err := d.tail.Write(f.Bytes); err != nil {
		return err
	}
	d.size += int64(len(f.Bytes))
	d.links++
	return d.tail.Sync()
}

// full reports whether a new snapshot should take the place of the tail.
func (d *disk) full() bool { return d.broken || d.size > maxTail || d.links > maxLinks }

// read goes through the state from its beginning: to begin it hands the message
// that everything begins with and the path of its image, then each message after
// it. Nothing is read when there is no state. An error means that the state must
// not be used.
func (d *disk) read(begin func(f *feed.Frame, image string) error, next func(*feed.Frame) error) error {
	heads, err := filepath.Glob(filepath.Join(d.dir, "*.head"))
	if err != nil || len(heads) == 0 {
		return err
	}
	name := slices.Max(heads)
	if _, err := fmt.Sscanf(filepath.Base(name), "%d.head", &d.sequence); err != nil {
		return fmt.Errorf("%s is no number", name)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	f, err := feed.Read(bufio.NewReader(file), d.key())
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if f.Message.Image == nil || f.Message.Mark.Sequence != d.sequence {
		return fmt.Errorf("%s: it is not where a state begins", name)
	}
	image := d.path(d.sequence, "image")
	if err := verify(image, f.Message.Image); err != nil {
		return err
	}
	if err := begin(f, image); err != nil {
		return err
	}
	return d.follow(next)
}

// verify reads an image and compares it with what was announced.
func verify(path string, want *feed.Image) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	size, sum, err := feed.SumOf(file)
	if err == nil && (size != want.Size || sum != want.Sum) {
		err = fmt.Errorf("%s was changed: %w", path, feed.ErrSignature)
	}
	return err
}

// follow reads the tail.
func (d *disk) follow(next func(*feed.Frame) error) error {
	path := d.path(d.sequence, "tail")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	in := bufio.NewReader(file)
	for {
		f, err := feed.Read(in, d.key())
		if err == io.EOF {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			slog.Info("the last message of the state was not written to its end, and is cut off", "file", path, "at", d.size)
			if err := file.Truncate(d.size); err != nil {
				return errors.Join(err, file.Close())
			}
			break
		}
		if err == nil {
			err = next(f)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%s at %d: %w", path, d.size, err), file.Close())
		}
		d.size += int64(len(f.Bytes))
		d.links++
	}
	d.tail = file
	return nil
}

// discard forgets a state that must not be used.
func (d *disk) discard() {
	if d.tail != nil {
		_ = d.tail.Close() // it is not used any more
	}
	d.tail, d.sequence, d.size, d.links, d.broken = nil, 0, 0, 0, true
}

// Close closes the tail.
func (d *disk) Close() error {
	if d.tail == nil {
		return nil
	}
	err := d.tail.Close()
	d.tail = nil
	return err
}
