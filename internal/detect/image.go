package detect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"

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
	for i := range lives {
		round := d.actors.Round()
		if i >= head.Young {
			round--
		}
		place, ok := d.actors.Add(lives[i].Key, round)
		if !ok {
			continue
		}
		a, l := d.wake(place), lives[i]
		a.life = &l
		d.mark(a)
	}
	d.resume(head.Stories)
}
