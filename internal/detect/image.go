package detect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"sort"

	"github.com/muster-id/muster/internal/nhi"
)

// The image of a Detector as a whole, which the previous release kept: a version, the length of a JSON head and the head,
// which holds what is small, then the lives of all actors in a fixed layout.
const imageVersion = 1

type imageHead struct {
	Now        int64
	Identity   map[nhi.ID][]Term
	Credential map[nhi.CredentialID][]Term
	Stories    []savedStory
	Young, Old int    `json:",omitempty"` // numbers of lives
	Round      uint32 `json:",omitempty"` // of the young, see [Detector.Image]
}

type savedStory struct {
	Actor uint64
	Story *story
}

// MarshalBinary returns all that the Detector remembers, except the windows
// of the last minutes: after a restart they begin anew.
func (d *Detector) MarshalBinary() ([]byte, error) {
	head := d.head()
	head.Young, head.Old = len(d.actors.young), len(d.actors.old)
	lives := make([]life, 0, head.Young+head.Old)
	for _, generation := range []map[uint64]*actor{d.actors.young, d.actors.old} {
		from := len(lives)
		for _, a := range generation {
			lives = append(lives, a.life)
			for _, s := range a.stories {
				head.Stories = append(head.Stories, savedStory{a.Key, s})
			}
		}
		part := lives[from:]
		sort.Slice(part, func(i, j int) bool { return part[i].Key < part[j].Key })
	}
	sort.SliceStable(head.Stories, func(i, j int) bool { return head.Stories[i].Actor < head.Stories[j].Actor })
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteByte(imageVersion)
	binary.Write(&b, binary.BigEndian, uint64(len(text)))
	b.Write(text)
	if err := binary.Write(&b, binary.BigEndian, lives); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// UnmarshalBinary replaces what the Detector remembers. On an error nothing
// is changed.
func (d *Detector) UnmarshalBinary(b []byte) error {
	if len(b) < 9 || b[0] != imageVersion {
		return nhi.Invalidf("image of detections: not of version %d", imageVersion)
	}
	n := binary.BigEndian.Uint64(b[1:])
	if b = b[9:]; n > uint64(len(b)) {
		return nhi.Invalidf("image of detections: cut")
	}
	var head imageHead
	if err := json.Unmarshal(b[:n], &head); err != nil {
		return nhi.Invalidf("image of detections: %v", err)
	}
	b = b[n:]
	size := binary.Size(life{})
	if head.Young < 0 || head.Old < 0 || head.Young > len(b) || head.Old > len(b) || len(b) != size*(head.Young+head.Old) {
		return nhi.Invalidf("image of detections: lengths do not agree")
	}
	lives := make([]life, head.Young+head.Old)
	if err := binary.Read(bytes.NewReader(b), binary.BigEndian, lives); err != nil {
		return nhi.Invalidf("image of detections: %v", err)
	}
	d.restore(&head, lives)
	return nil
}

func (d *Detector) restore(head *imageHead, lives []life) {
	d.begin(head)
	all := make(map[uint64]*actor, len(lives))
	for i, l := range lives {
		a := &actor{life: l, round: d.actors.round}
		if i >= head.Young {
			a.round--
		}
		if all[l.Key] != nil || !d.actors.take(a) {
			continue
		}
		all[l.Key] = a
		d.actors.settle(a)
		d.mark(a)
	}
	d.resume(head.Stories, all)
}
