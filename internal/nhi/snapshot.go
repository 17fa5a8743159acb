package nhi

import (
	"slices"
	"time"
)

// A SnapshotState is where a snapshot of the policies stands.
type SnapshotState string

// The states of a snapshot. One is in force at a time.
const (
	SnapshotActive   SnapshotState = "active"   // in force
	SnapshotWaiting  SnapshotState = "waiting"  // for a second administrator
	SnapshotPast     SnapshotState = "past"     // was in force
	SnapshotOutdated SnapshotState = "outdated" // waited, and something else was put into force
	SnapshotExpired  SnapshotState = "expired"  // waited, and nobody confirmed it in time

	SnapshotStaged    SnapshotState = "staged"    // on its way into force by gates, see Promotion
	SnapshotWithdrawn SnapshotState = "withdrawn" // was on it or waited, and was taken back
)

// A Snapshot is one entry of the history of the policies: which files were put
// into force, or wait for it, and who did it. Entries are never removed, and
// change only in their state; what is in force again is a new entry.
type Snapshot struct {
	Sequence uint64        `json:"sequence"` // from 1, in the order of entries
	Digest   string        `json:"digest"`   // of the files
	Parent   string        `json:"parent"`   // digest of what it replaces; empty at first
	State    SnapshotState `json:"state"`
	Author   string        `json:"author"`           // as the audit log names them
	Person   string        `json:"person,omitempty"` // id of the person behind the author; empty: not known
	Note     string        `json:"note,omitempty"`
	At       time.Time     `json:"at"`
	Files    int           `json:"files"`
	Policies int           `json:"policies"`
	// Effective is the digest of the policies with the guards as they were then:
	// what decisions record.
	Effective string `json:"effective"`
	// Why says, a line each, why a second administrator is asked; empty: none is.
	Why []string `json:"why,omitempty"`
	// Confirmed are those who said yes. Two different people have to stand behind
	// what asks for it, the author being one if it is known who that is.
	Confirmed []Confirmation `json:"confirmed,omitempty"`
	Expires   time.Time      `json:"expires,omitzero"` // until when it waits
	Activated time.Time      `json:"activated,omitzero"`
	Ended     time.Time      `json:"ended,omitzero"` // when it ceased to be in force, or to wait
	// Gated says that it goes through the gates of a promotion once it waits no more.
	Gated bool `json:"gated,omitempty"`
	// TakenBack says that it was in force and was taken back by its promotion.
	TakenBack bool `json:"taken_back,omitempty"`
	// Change is how much it differs from what it replaces, or would; nil: an earlier
	// release made it, or it is the first.
	Change *SnapshotChange `json:"change,omitempty"`
	// EndedBy is who withdrew it, as the audit log names them, and EndedWhy what for.
	EndedBy  string `json:"ended_by,omitempty"`
	EndedWhy string `json:"ended_why,omitempty"`
}

// A SnapshotChange counts what is different from what was in force.
type SnapshotChange struct {
	Files   int `json:"files"`   // whose text differs, that are new or gone
	Added   int `json:"added"`   // policies
	Removed int `json:"removed"` // policies
	Changed int `json:"changed"` // policies of the same id and another text
}

// A Confirmation is the yes of one administrator.
type Confirmation struct {
	Person string    `json:"person"` // id of the person
	Name   string    `json:"name"`
	At     time.Time `json:"at"`
}

// People are the different people who are known to stand behind a snapshot.
func (s *Snapshot) People() []string {
	var out []string
	if s.Person != "" {
		out = append(out, s.Person)
	}
	for _, c := range s.Confirmed {
		if !slices.Contains(out, c.Person) {
			out = append(out, c.Person)
		}
	}
	return out
}
