package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"testing"
)

// small writes a journal of three short records and returns the bytes of its
// only segment and where the records lie.
func small(t testing.TB) (segment []byte, positions []Position) {
	t.Helper()
	dir := t.TempDir()
	j := open(t, dir, Settings{})
	positions = appendAll(t, j, "first", "second", "third and last")
	j.Close()
	b, err := os.ReadFile(segmentPath(dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	return b, positions
}

func folderOf(t testing.TB, segments map[uint64][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for first, b := range segments {
		if err := os.WriteFile(segmentPath(dir, first), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAWriteTornAtAnyByteLosesOnlyTheUnfinishedRecord(t *testing.T) {
	whole, positions := small(t)
	start := positions[2].Offset
	dir := t.TempDir()
	for _, zeros := range []bool{false, true} { // the file ends, or its blocks were never written
		for cut := start; cut < int64(len(whole)); cut++ {
			torn := bytes.Clone(whole[:cut])
			if zeros {
				torn = append(torn, make([]byte, int64(len(whole))-cut+5000)...)
			}
			if err := os.WriteFile(segmentPath(dir, 1), torn, 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := Verify(t.Context(), dir); err != nil || r.Last != 2 {
				t.Fatalf("cut at %d: Verify = %+v, %v, want two records", cut, r, err)
			}
			j, err := Open(dir, Settings{noSync: true})
			if err != nil {
				t.Fatalf("cut at %d: Open = %v", cut, err)
			}
			var want Torn
			if used := bytes.TrimRight(whole[start:cut], "\x00"); len(used) > 0 {
				want = Torn{Segment: segmentName(1), Offset: start, Bytes: int64(len(used))}
			}
			if got := j.Recovered(); got != want {
				t.Errorf("cut at %d: Recovered() = %+v, want %+v", cut, got, want)
			}
			appendAll(t, j, "again")
			if r, err := j.Verify(t.Context()); err != nil || r.Last != 3 || r.Torn != (Torn{}) {
				t.Errorf("cut at %d: Verify after going on = %+v, %v", cut, r, err)
			}
			j.Close()
		}
	}
}

func TestAFlippedBitAnywhereIsFoundAndNamed(t *testing.T) {
	whole, positions := small(t)
	dir := t.TempDir()
	for at := range whole {
		want := uint64(1) // the segment header concerns the first record
		for _, pos := range positions {
			if int64(at) >= pos.Offset {
				want = pos.Seq
			}
		}
		for bit := range 8 {
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1 << bit
			if err := os.WriteFile(segmentPath(dir, 1), flipped, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Verify(t.Context(), dir)
			var f *Fault
			switch {
			case errors.Is(err, ErrNewer) && at >= 8 && at < 12: // the version
			case !errors.As(err, &f):
				t.Fatalf("bit %d of byte %d: Verify = %v, want a fault", bit, at, err)
			case f.Seq != want || f.Kind != Changed || f.Segment != segmentName(1):
				t.Fatalf("bit %d of byte %d: %v, want record %d", bit, at, f, want)
			}
			if bit != at%8 {
				continue // one bit of each byte is enough for what follows
			}
			if j, err := Open(dir, Settings{}); err == nil {
				j.Close()
				t.Fatalf("bit %d of byte %d: Open accepts it", bit, at)
			}
			if got, _ := os.ReadFile(segmentPath(dir, 1)); !bytes.Equal(got, flipped) {
				t.Fatalf("bit %d of byte %d: Open changed what it refused", bit, at)
			}
		}
	}
}

// resum fixes the checksums of the record at off, as an attacker would.
func resum(b []byte, off int64) {
	head := b[off : off+headerSize]
	size := int64(binary.LittleEndian.Uint32(head))
	payload := b[off+headerSize : off+headerSize+size]
	binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(payload, castagnoli))
	binary.LittleEndian.PutUint32(head[28:], headerSum(head))
}

func TestTamperingIsFoundAndNamed(t *testing.T) {
	whole, p := small(t)
	record := func(i int) []byte {
		end := int64(len(whole))
		if i+1 < len(p) {
			end = p[i+1].Offset
		}
		return whole[p[i].Offset:end]
	}
	header := whole[:headerSize]
	tests := []struct {
		name    string
		segment []byte
		kind    FaultKind
		seq     uint64
	}{
		{"a payload changed with its checksum", func() []byte {
			b := bytes.Clone(whole)
			b[p[0].Offset+headerSize] ^= 1
			resum(b, p[0].Offset)
			return b
		}(), Changed, 1},
		{"a time changed with its checksum", func() []byte {
			b := bytes.Clone(whole)
			b[p[1].Offset+16] ^= 1
			resum(b, p[1].Offset)
			return b
		}(), Changed, 2},
		{"the first record removed", join(header, record(1), record(2)), Cut, 1},
		{"a record removed from the middle", join(header, record(0), record(2)), Cut, 2},
		{"two records swapped", join(header, record(1), record(0), record(2)), Reordered, 1},
		{"the last two swapped", join(header, record(0), record(2), record(1)), Reordered, 2},
		{"a record repeated", join(header, record(0), record(1), record(1), record(2)), Reordered, 3},
		{"a record renumbered into a gap", func() []byte {
			b := join(header, record(0), record(2))
			binary.LittleEndian.PutUint64(b[p[1].Offset+8:], 2)
			resum(b, p[1].Offset)
			return b
		}(), Changed, 1},
		{"a length beyond the limit", func() []byte {
			b := bytes.Clone(whole)
			binary.LittleEndian.PutUint32(b[p[1].Offset:], MaxRecord+1)
			head := b[p[1].Offset : p[1].Offset+headerSize]
			binary.LittleEndian.PutUint32(head[28:], headerSum(head))
			return b
		}(), Changed, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folderOf(t, map[uint64][]byte{1: tt.segment})
			_, err := Verify(t.Context(), dir)
			var f *Fault
			if !errors.As(err, &f) || f.Kind != tt.kind || f.Seq != tt.seq {
				t.Errorf("Verify = %v, want record %d %s", err, tt.seq, tt.kind)
			}
			if j, err := Open(dir, Settings{}); err == nil {
				j.Close()
				t.Error("Open accepts it")
			}
		})
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestTamperingWithSegmentsIsFoundAndNamed(t *testing.T) {
	build := func(t *testing.T) (dir string, names []uint64) {
		dir = t.TempDir()
		j := open(t, dir, Settings{SegmentSize: 200, noSync: true})
		appendAll(t, j, "1", "2", "3", "4", "5", "6", "7", "8", "9")
		j.Close()
		names, err := segments(dir)
		if err != nil || len(names) < 4 {
			t.Fatalf("segments: %v, %v", names, err)
		}
		return dir, names
	}
	rename := func(t *testing.T, from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		attack func(t *testing.T, dir string, names []uint64)
		kind   FaultKind
		seq    func(names []uint64) uint64
	}{
		{"a segment removed from the middle", func(t *testing.T, dir string, names []uint64) {
			if err := os.Remove(segmentPath(dir, names[1])); err != nil {
				t.Fatal(err)
			}
		}, Cut, func(n []uint64) uint64 { return n[1] }},
		{"a closed segment shortened", func(t *testing.T, dir string, names []uint64) {
			edit(t, segmentPath(dir, names[1]), func(b []byte) []byte { return b[:len(b)-1] })
		}, Changed, func(n []uint64) uint64 { return n[2] - 1 }},
		{"a closed segment without its last record", func(t *testing.T, dir string, names []uint64) {
			edit(t, segmentPath(dir, names[1]), func(b []byte) []byte { return b[:len(b)-recordSize(1)] })
		}, Cut, func(n []uint64) uint64 { return n[2] - 1 }},
		{"two segments exchanged", func(t *testing.T, dir string, names []uint64) {
			a, b := segmentPath(dir, names[1]), segmentPath(dir, names[2])
			rename(t, a, a+"x")
			rename(t, b, a)
			rename(t, a+"x", b)
		}, Reordered, func(n []uint64) uint64 { return n[1] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, names := build(t)
			tt.attack(t, dir, names)
			_, err := Verify(t.Context(), dir)
			var f *Fault
			if !errors.As(err, &f) || f.Kind != tt.kind || f.Seq != tt.seq(names) {
				t.Errorf("Verify = %v, want record %d %s", err, tt.seq(names), tt.kind)
			}
		})
	}
}

func FuzzSegment(f *testing.F) {
	whole, p := small(f)
	f.Add(whole)
	f.Add(whole[:p[2].Offset+3])
	f.Add(append(bytes.Clone(whole), make([]byte, 200)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		sc, err := newScanner(bytes.NewReader(b), 1, -1)
		if err != nil {
			return
		}
		ch := sc.chain()
		for {
			rec, err := ch.read(sc)
			if err != nil {
				break
			}
			if len(rec.Payload) == 0 || len(rec.Payload) > MaxRecord {
				t.Fatalf("a record of %d bytes", len(rec.Payload))
			}
		}
		if sc.off > int64(len(b)) {
			t.Fatalf("read to %d of %d bytes", sc.off, len(b))
		}
	})
}
