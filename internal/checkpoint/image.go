package checkpoint

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// The checkpoint, all numbers little endian: a magic with a version, the history,
// the number of the commit; the tables in the order of the specs,
// each with its name, the size and number of its rows, the number of those that
// are here, then these with their places; the parts; a CRC-32C of all before it.

func (f *Folder) encode(to io.Writer, number uint32, parts []Part, deltas []Delta) error {
	buffered, sum := bufio.NewWriterSize(to, 1<<20), crc32.New(castagnoli)
	w := io.MultiWriter(buffered, sum)
	head := binary.LittleEndian.AppendUint32([]byte(magic), f.history)
	head = binary.LittleEndian.AppendUint32(head, number)
	head = append(head, byte(len(deltas)), byte(len(parts)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	for i := range deltas {
		if err := f.encodeDelta(w, &deltas[i]); err != nil {
			return err
		}
	}
	for _, p := range parts {
		head = appendName(head[:0], p.Name)
		head = binary.LittleEndian.AppendUint64(head, uint64(len(p.Data)))
		if _, err := w.Write(head); err != nil {
			return err
		}
		if _, err := w.Write(p.Data); err != nil {
			return err
		}
	}
	if _, err := buffered.Write(binary.LittleEndian.AppendUint32(nil, sum.Sum32())); err != nil {
		return err
	}
	return buffered.Flush()
}

func (f *Folder) encodeDelta(w io.Writer, d *Delta) error {
	head := appendName(nil, d.Table)
	for _, n := range [...]int{f.size(d.Table), d.Count, len(d.Places)} {
		head = binary.LittleEndian.AppendUint32(head, uint32(n))
	}
	for _, place := range d.Places {
		head = binary.LittleEndian.AppendUint32(head, place)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(d.Rows)
	return err
}

func appendName(b []byte, name string) []byte {
	return append(append(b, byte(len(name))), name...)
}

// A decoder takes a checkpoint apart. After the first fault it returns zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
	}
}

func (d *decoder) bytes(n uint64) []byte {
	if d.err == nil && n > uint64(len(d.rest)) {
		d.fail("it ends too early")
	}
	if d.err != nil {
		return nil
	}
	out := d.rest[:n:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) uint8() int {
	if b := d.bytes(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (d *decoder) uint32() uint32 {
	if b := d.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) name() string {
	n := d.uint8()
	if n > maxName {
		d.fail("a name is too long")
		return ""
	}
	return string(d.bytes(uint64(n)))
}

// decode reads a whole checkpoint. It keeps parts of data.
func (f *Folder) decode(data []byte) (*State, error) {
	if !isMagic(data) {
		return nil, fmt.Errorf("%w: it is no checkpoint, or one of another version", ErrDamaged)
	}
	if len(data) < len(magic)+4 || !Sealed(data) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	return f.parse(data[len(magic) : len(data)-4])
}

// parse reads what lies between the magic and the sum.
func (f *Folder) parse(data []byte) (*State, error) {
	d := &decoder{rest: data}
	f.history = d.uint32()
	s := &State{Number: d.uint32(), Parts: map[string][]byte{}, Deltas: map[string]Delta{}}
	tables, parts := d.uint8(), d.uint8()
	if d.err == nil && (tables != len(f.specs) || s.Number == 0) {
		d.fail("it has %d tables, and %d are known", tables, len(f.specs))
	}
	for _, spec := range f.specs {
		s.Deltas[spec.Name] = d.delta(spec)
	}
	for range parts {
		name := d.name()
		s.Parts[name] = d.bytes(d.uint64())
	}
	if len(d.rest) > 0 {
		d.fail("it goes on after its end")
	}
	if d.err != nil {
		return nil, d.err
	}
	f.number = s.Number
	return s, nil
}

func (d *decoder) delta(spec Spec) Delta {
	name, size, count, here := d.name(), d.uint32(), d.uint32(), d.uint32()
	out := Delta{Table: spec.Name, Count: int(count)}
	if d.err == nil && (name != spec.Name || size != uint32(spec.Size) || count > maxRows || here > count) {
		d.fail("its table %q has %d of %d rows of %d bytes; %q with rows of %d was expected", name, here, count, size, spec.Name, spec.Size)
	}
	if places := d.bytes(4 * uint64(here)); d.err == nil {
		out.Places = make([]uint32, here)
		for i := range out.Places {
			out.Places[i] = binary.LittleEndian.Uint32(places[4*i:])
		}
		for i, place := range out.Places {
			if place >= count || i > 0 && place <= out.Places[i-1] {
				d.fail("the rows of its table %q are out of order", name)
				break
			}
		}
	}
	out.Rows = d.bytes(uint64(here) * uint64(spec.Size))
	return out
}
