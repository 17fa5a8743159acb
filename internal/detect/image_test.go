package detect

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"sort"
)

// MarshalBinary returns all that the Detector remembers, except the windows
// of the last minutes: after a restart they begin anew.
func (d *Detector) MarshalBinary() ([]byte, error) {
	head := d.head()
	head.Young, head.Old = d.actors.Young(), d.actors.Len()-d.actors.Young()
	lives := make([]life, 0, head.Young+head.Old)
	for _, round := range [...]uint32{d.actors.Round(), d.actors.Round() - 1} {
		from := len(lives)
		for place := range int32(d.actors.Count()) {
			if d.actors.Generation(place) != round {
				continue
			}
			a, l := d.actors.In(place), (*life)(nil)
			if a != nil {
				l = a.life
				for _, s := range a.stories() {
					head.Stories = append(head.Stories, savedStory{d.actors.Key(place), s})
				}
			}
			if l == nil {
				var err error
				if l, err = d.read(place); err != nil {
					return nil, err
				}
			}
			lives = append(lives, *l)
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
