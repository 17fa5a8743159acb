package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"time"
)

func newGroup() *group { return &group{done: make(chan struct{})} }

// add copies one record into the group and returns its index. The header's
// length and time are known here; the rest is the writer's, who alone knows
// what comes before.
func (g *group) add(payload []byte, now time.Time) int {
	start := len(g.buf)
	g.buf = append(g.buf, make([]byte, headerSize)...)
	g.buf = append(g.buf, payload...)
	g.buf = append(g.buf, endMark)
	head := g.buf[start:]
	binary.LittleEndian.PutUint32(head[0:], uint32(len(payload)))
	binary.LittleEndian.PutUint64(head[16:], uint64(now.UnixMicro()))
	g.starts = append(g.starts, start)
	return len(g.starts) - 1
}

// seal numbers, chains and sums the records, as followers of last in seg.
// It may be called again for another segment.
func (g *group) seal(last Position, seg segment) {
	g.base = Position{Seq: last.Seq + 1, Segment: seg.first, Offset: seg.size}
	g.hashes = g.hashes[:0]
	prev := last.Hash
	for i, start := range g.starts {
		head := g.buf[start : start+headerSize]
		size := int(binary.LittleEndian.Uint32(head))
		payload := g.buf[start+headerSize : start+headerSize+size]
		binary.LittleEndian.PutUint32(head[4:], crc32.Checksum(payload, castagnoli))
		binary.LittleEndian.PutUint64(head[8:], g.base.Seq+uint64(i))
		copy(head[32:], prev[:])
		binary.LittleEndian.PutUint32(head[28:], headerSum(head))
		prev = sha256.Sum256(g.buf[start : start+headerSize+size])
		g.hashes = append(g.hashes, prev)
	}
}

// position returns where record i went. It may be called once the group has
// been written.
func (g *group) position(i int) Position {
	return Position{
		Seq:     g.base.Seq + uint64(i),
		Segment: g.base.Segment,
		Offset:  g.base.Offset + int64(g.starts[i]),
		Hash:    g.hashes[i],
	}
}

// takeSpare returns an empty group. The caller holds mu.
func (j *Journal) takeSpare() *group {
	g := newGroup()
	if j.spare != nil {
		g.buf, j.spare = j.spare.buf, nil
	}
	return g
}

// recycle keeps a written group's buffer for the next but one; starts and
// hashes stay with the callers that still read their positions. A buffer
// that grew large in a burst is let go. The caller holds mu.
func (j *Journal) recycle(g *group) {
	if cap(g.buf) <= 1<<20 {
		j.spare = &group{buf: g.buf[:0]}
	}
	g.buf = nil
}
