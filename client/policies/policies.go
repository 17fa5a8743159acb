// Package policies holds what a server says about its policies, and what is sent to
// change them: the history, the files, and the policies as they are in force. Package
// client has the calls, and gives each of these types its own name.
package policies

import "time"

// Confirmation is the yes of one administrator.
type Confirmation struct {
	Person string    `json:"person" doc:"id of the person"`
	Name   string    `json:"name"`
	At     time.Time `json:"at"`
}

// Snapshot is one entry of the history of the policies.
type Snapshot struct {
	Digest       string          `json:"digest" doc:"names the files by their content"`
	Sequence     uint64          `json:"sequence" doc:"number of the entry, from 1; 0 of a dry run"`
	Parent       string          `json:"parent,omitempty" doc:"digest of what it replaces"`
	State        string          `json:"state" enum:"active,waiting,past,outdated,expired,staged,withdrawn" doc:"outdated waited, and something else was put into force; staged is on its way into force by gates; withdrawn waited or was on its way, and was taken back"`
	Author       string          `json:"author" doc:"as the audit log names them"`
	AuthorPerson string          `json:"author_person,omitempty" doc:"id of the person behind the author, if that is known"`
	AuthorName   string          `json:"author_name,omitempty" doc:"what that person is called"`
	Note         string          `json:"note,omitempty"`
	At           time.Time       `json:"at"`
	Files        int             `json:"files"`
	Policies     int             `json:"policies" doc:"without the built-in guards"`
	Effective    string          `json:"effective" doc:"digest of policies and guards together, as decisions record it"`
	Why          []string        `json:"why" doc:"why a second administrator is asked, a line each"`
	Confirmed    []Confirmation  `json:"confirmed"`
	Expires      *time.Time      `json:"expires,omitempty" doc:"until when it waits"`
	Activated    *time.Time      `json:"activated,omitempty"`
	Ended        *time.Time      `json:"ended,omitempty" doc:"when it ceased to be in force, or to wait"`
	EndedBy      string          `json:"ended_by,omitempty" doc:"who withdrew it"`
	EndedWhy     string          `json:"ended_why,omitempty" doc:"what for"`
	Change       *SnapshotChange `json:"change,omitempty" doc:"how much it differs from what it replaces"`
	Warnings     []PolicyProblem `json:"warnings" doc:"what is doubtful; only in the reply to a new snapshot"`
}

// SnapshotChange counts what is different from what was in force.
type SnapshotChange struct {
	Files   int `json:"files" doc:"whose text differs, that are new or gone"`
	Added   int `json:"added" doc:"policies"`
	Removed int `json:"removed" doc:"policies"`
	Changed int `json:"changed" doc:"policies of the same id and another text"`
}

// PolicyProblem is what is wrong or doubtful in a file of policies.
type PolicyProblem struct {
	File   string `json:"file"`
	Line   int    `json:"line" doc:"from 1; 0 when the whole file is meant"`
	Column int    `json:"column"`
	Policy string `json:"policy,omitempty" doc:"its @id"`
	Reason string `json:"reason"`
}

// SnapshotDetail is a snapshot with its files.
type SnapshotDetail struct {
	Snapshot
	Contents []LibraryFile `json:"contents"`
}

// LibraryFile is one file of a library of policies.
type LibraryFile struct {
	Name      string `json:"name" maxLength:"200" doc:"policies.cedar, policies/**/*.cedar, grants/**/*.yaml, tests/**/*.yaml, policies/**/tests/**/*.yaml"`
	Text      string `json:"text" maxLength:"4194304"`
	Generated bool   `json:"generated,omitempty" doc:"written by the server from grants/"`
}

// PutSnapshot is a library that is to be put into force.
type PutSnapshot struct {
	Files  []LibraryFile `json:"files" maxItems:"2000" doc:"all files: what is not among them is taken out of force"`
	Note   string        `json:"note,omitempty" maxLength:"500" doc:"what the change is for, one line"`
	Parent string        `json:"parent,omitempty" maxLength:"64" doc:"digest, or the beginning of it, of what this is a change of; refused with 409 when something else is in force"`
	DryRun bool          `json:"dry_run,omitempty" doc:"check everything and change nothing"`
	Staged bool          `json:"staged,omitempty" doc:"have it come into force through the gates of a promotion"`
}

// Policy is a policy in force.
type Policy struct {
	ID       string   `json:"id"`
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Effect   string   `json:"effect" enum:"permit,forbid"`
	StepUp   string   `json:"step_up,omitempty" doc:"what would unlock it"`
	Text     string   `json:"text" doc:"the sentence that people read when it decided"`
	Source   string   `json:"source" doc:"in Cedar"`
	Guard    bool     `json:"guard" doc:"built in"`
	Unscoped bool     `json:"unscoped" doc:"its head names neither a principal nor a resource"`
	Warnings []string `json:"warnings"`
}

// SigningKey is a public key.
type SigningKey struct {
	ID  string `json:"id" doc:"SHA-256 of the key, in hex"`
	PEM string `json:"pem" doc:"Ed25519, as openssl reads it (RFC 8410)"`
}
