package audit

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
)

// victim is a closed log of ten acts with a checkpoint after every third, and
// what an auditor keeps elsewhere.
//
//	1 begin · 2 3 4 · 5 checkpoint · 6 7 8 · 9 checkpoint · 10 11 12 · 13 checkpoint · 14 · 15 checkpoint
type victim struct {
	dir  string
	key  crypto.Signer
	keys []crypto.PublicKey
	last Checkpoint
}

func newVictim(t *testing.T) victim {
	t.Helper()
	v := victim{dir: t.TempDir(), key: ed(t)}
	l := open(t, v.dir, v.key, Settings{Every: 3})
	appendAll(t, l, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if v.last, err = ReadCheckpoint(filepath.Join(v.dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
	v.keys = []crypto.PublicKey{v.key.Public()}
	if r, err := Verify(t.Context(), v.dir, v.keys, &v.last); err != nil || r.Records != 15 {
		t.Fatalf("before the attack: %+v, %v", r, err)
	}
	return v
}

func (v victim) segment() string { return filepath.Join(v.dir, "00000000000000000001.seg") }

// records reads the victim's records with their raw bytes.
func (v victim) records(t *testing.T) (header []byte, raw [][]byte, records []journal.Record) {
	t.Helper()
	b, err := os.ReadFile(v.segment())
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range journal.Read(v.dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	for i, rec := range records {
		end := int64(len(b))
		if i+1 < len(records) {
			end = records[i+1].Offset
		}
		raw = append(raw, b[rec.Offset:end])
	}
	return b[:records[0].Offset], raw, records
}

func (v victim) overwrite(t *testing.T, parts ...[]byte) {
	t.Helper()
	if err := os.WriteFile(v.segment(), bytes.Join(parts, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rebuild rewrites the log with the payloads that edit makes (nil removes
// the record), keeps all times, and recomputes every number, checksum and
// hash. It is written from the description in package journal, as an
// attacker would.
func (v victim) rebuild(t *testing.T, edit func(seq uint64, payload []byte) []byte) {
	t.Helper()
	segment, _, records := v.records(t)
	out := bytes.Clone(segment)
	table := crc32.MakeTable(crc32.Castagnoli)
	var prev [32]byte
	seq := uint64(0)
	for _, rec := range records {
		payload := edit(rec.Seq, rec.Payload)
		if payload == nil {
			continue
		}
		seq++
		head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
		head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(payload, table))
		head = binary.LittleEndian.AppendUint64(head, seq)
		head = binary.LittleEndian.AppendUint64(head, uint64(rec.At.UnixMicro()))
		head = binary.LittleEndian.AppendUint32(head, 0)
		check := crc32.Checksum(append(bytes.Clone(head), prev[:]...), table)
		head = binary.LittleEndian.AppendUint32(head, check)
		head = append(head, prev[:]...)
		prev = sha256.Sum256(append(bytes.Clone(head), payload...))
		out = append(append(append(out, head...), payload...), 0xA5)
	}
	v.overwrite(t, out)
	if _, err := journal.Verify(t.Context(), v.dir); err != nil {
		t.Fatalf("the attack is clumsy: %v", err)
	}
}

func (v victim) wantFault(t *testing.T, against *Checkpoint, kind FaultKind, seq, until uint64) {
	t.Helper()
	_, err := Verify(t.Context(), v.dir, v.keys, against)
	var f *Fault
	if !errors.As(err, &f) {
		t.Fatalf("Verify = %v, want a fault", err)
	}
	if f.Kind != kind || f.Seq != seq || f.Until != until {
		t.Errorf("Verify = %v (%d to %d), want record %d to %d %s", f, f.Seq, f.Until, seq, until, kind)
	}
}

// forget removes the checkpoint file, as an attacker with sense would.
func (v victim) forget(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(v.dir, CheckpointFile)); err != nil {
		t.Fatal(err)
	}
}

func TestAttackFlipsAByte(t *testing.T) {
	v := newVictim(t)
	header, raw, _ := v.records(t)
	raw[6][80] ^= 0x20
	v.overwrite(t, append([][]byte{header}, raw...)...)
	v.wantFault(t, nil, Changed, 7, 0)
}

func TestAttackCutsTheTail(t *testing.T) {
	for name, tt := range map[string]struct {
		keep  int
		until uint64
	}{
		"the last act and its checkpoint": {keep: 13, until: 14},
		"in the middle":                   {keep: 7, until: 14},
		"everything":                      {keep: 0, until: 14},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t)
			header, raw, _ := v.records(t)
			v.overwrite(t, append([][]byte{header}, raw[:tt.keep]...)...)
			v.wantFault(t, nil, Cut, uint64(tt.keep)+1, tt.until) // by the file beside the log
			v.forget(t)
			v.wantFault(t, &v.last, Cut, uint64(tt.keep)+1, tt.until) // by the one kept elsewhere
		})
	}
}

func TestAttackCutsTheTailAndPutsAnOlderCheckpointBack(t *testing.T) {
	v := newVictim(t)
	header, raw, records := v.records(t)
	v.overwrite(t, append([][]byte{header}, raw[:9]...)...)
	old, err := decode(records[8])
	if err != nil {
		t.Fatal(err)
	}
	if err := writeCheckpoint(v.dir, *old.Checkpoint); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(t.Context(), v.dir, v.keys, nil); err != nil {
		t.Fatalf("without a checkpoint kept elsewhere nothing can show: %v", err)
	}
	v.wantFault(t, &v.last, Cut, 10, 14)
}

func TestAttackCutsTheFront(t *testing.T) {
	v := newVictim(t)
	v.rebuild(t, func(seq uint64, payload []byte) []byte {
		if seq <= 2 {
			return nil
		}
		return payload
	})
	v.wantFault(t, nil, Unsigned, 1, 0)
}

func TestAttackSwapsTwoRecords(t *testing.T) {
	v := newVictim(t)
	header, raw, _ := v.records(t)
	raw[5], raw[6] = raw[6], raw[5]
	v.overwrite(t, append([][]byte{header}, raw...)...)
	v.wantFault(t, nil, Reordered, 6, 0)
}

func TestAttackRemovesARecord(t *testing.T) {
	v := newVictim(t)
	header, raw, _ := v.records(t)
	v.overwrite(t, append(append([][]byte{header}, raw[:6]...), raw[7:]...)...)
	v.wantFault(t, nil, Cut, 7, 0)
}

func TestAttackRewritesHistoryWithRecomputedHashes(t *testing.T) {
	v := newVictim(t)
	v.rebuild(t, func(seq uint64, payload []byte) []byte {
		if seq == 7 {
			return bytes.Replace(payload, []byte("credential.suspend"), []byte("credential.restore"), 1)
		}
		return payload
	})
	// Exact to between two signatures: 5 signed the start, 9 signed another history.
	v.wantFault(t, nil, Rewritten, 5, 9)
}

func TestAttackSwapsTwoActsWithRecomputedHashes(t *testing.T) {
	v := newVictim(t)
	_, _, records := v.records(t)
	v.rebuild(t, func(seq uint64, payload []byte) []byte {
		switch seq {
		case 10:
			return records[10].Payload
		case 11:
			return records[9].Payload
		}
		return payload
	})
	v.wantFault(t, nil, Rewritten, 9, 13)
}

func TestAttackRewritesTheUnsignedEndAgainstAnOutsideCheckpoint(t *testing.T) {
	v := newVictim(t)
	v.rebuild(t, func(seq uint64, payload []byte) []byte {
		switch {
		case seq == 14:
			return bytes.Replace(payload, []byte("crd_10"), []byte("crd_99"), 1)
		case seq == 15: // its checkpoint goes too
			return nil
		}
		return payload
	})
	v.forget(t)
	v.wantFault(t, &v.last, Rewritten, 13, 14)
}

func TestAttackReplacesTheWholeLogWithOneSignedByAnotherKey(t *testing.T) {
	v := newVictim(t)
	if err := os.RemoveAll(v.dir); err != nil {
		t.Fatal(err)
	}
	l := open(t, v.dir, ed(t), Settings{Every: 3})
	appendAll(t, l, 10)
	l.Close()
	v.wantFault(t, nil, Unsigned, 14, 0) // the file beside the log is foreign
	v.forget(t)
	v.wantFault(t, nil, Unsigned, 1, 0) // and so is the first record
}

func TestAttackReplacesTheWholeLogWithAnOlderOneOfTheSameKey(t *testing.T) {
	v := newVictim(t)
	if err := os.RemoveAll(v.dir); err != nil {
		t.Fatal(err)
	}
	l := open(t, v.dir, v.key, Settings{Every: 3})
	appendAll(t, l, 20)
	l.Close()
	v.wantFault(t, &v.last, Rewritten, 13, 14)
}

func TestAttackForgesACheckpoint(t *testing.T) {
	v := newVictim(t)
	forged := v.last
	forged.Seq, forged.Hash = 3, Hash{}
	if _, err := Verify(t.Context(), v.dir, v.keys, &forged); !errors.Is(err, nhi.ErrInvalid) || !errors.Is(err, nhi.ErrDenied) {
		t.Errorf("Verify against a forged checkpoint = %v, want it refused", err)
	}
}

func TestAttackStripsTheCheckpoints(t *testing.T) {
	dir, key := t.TempDir(), ed(t)
	l := open(t, dir, key, Settings{Every: 100})
	l.set.Every = 1 << 20 // what is left when all later checkpoints were removed
	for range 1300 {
		if err := l.j.AppendAsync([]byte(`{"v":1,"entry":{"at":"2026-01-01T00:00:00Z","actor":{"kind":"system"},"act":"x","outcome":"done"}}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.j.Close(); err != nil {
		t.Fatal(err)
	}
	v := victim{dir: dir, keys: []crypto.PublicKey{key.Public()}}
	v.wantFault(t, nil, Unsigned, 1, 1226)
}

func TestAttackPassesAnotherJournalOffAsTheLog(t *testing.T) {
	v := newVictim(t)
	v.rebuild(t, func(seq uint64, payload []byte) []byte {
		if seq == 4 {
			return binary.LittleEndian.AppendUint64(nil, seq)
		}
		return payload
	})
	v.wantFault(t, nil, Changed, 4, 0)
}
