// Package approval has people say yes or no where a policy asks for a person.
//
//	step-up "approve" -> Ask -> pending -> Vote, Vote -> approved -> the request comes again -> Spend -> allow
//	                               |                 \-> denied
//	                               \-> expired, cancelled
//
// A [Desk] keeps what is open in memory, because decisions read it, and follows
// the one sequence of changes like every other fact: a vote that was
// acknowledged is seen by the next decision. Its [Store] has everything.
//
// An approval is bound to the question by [Binding]: who, with what, what for,
// through which point, from which network. It lets one request pass: to spend it
// is a write that succeeds once, whichever process it is asked of, and a
// decision that cannot spend denies. This is the one place where a decision
// waits for the database; a person has been waited for already.
//
// Nobody votes twice, and where duties are separated not on what is theirs.
// Questions are limited, so that nobody says yes to be left in peace: an identity
// has only so many open at a time and asks only so many in an hour.
package approval

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Settings of a Desk. The zero value is the default.
type Settings struct {
	// Wait is how long a question waits for people. Zero means an hour.
	Wait time.Duration `yaml:"wait" json:"wait"`
	// Life is how long what was approved can be used. Zero means 15 minutes.
	Life time.Duration `yaml:"life" json:"life"`
	// TwoFrom is the sensitivity from which two people have to say yes. Zero
	// means 4.
	TwoFrom int `yaml:"two_from" json:"two_from"`
	// OwnersMayApprove lets the owner of an identity vote on its requests. By
	// default duties are separated.
	OwnersMayApprove bool `yaml:"owners_may_approve" json:"owners_may_approve"`
	// Open is how many questions of one identity may wait at a time. Zero means 5.
	Open int `yaml:"open" json:"open"`
	// Hourly is how many questions one identity may ask in an hour. Zero means 20.
	Hourly int `yaml:"hourly" json:"hourly"`
}

// WithDefaults returns s with what is zero at its default.
func (s Settings) WithDefaults() Settings {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&s.Wait, time.Hour}, {&s.Life, 15 * time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{{&s.TwoFrom, 4}, {&s.Open, 5}, {&s.Hourly, 20}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return s
}

// Validate returns an error wrapping nhi.ErrInvalid that names the field out of
// range.
func (s Settings) Validate() error {
	switch {
	case s.Wait < 0 || s.Wait > 7*24*time.Hour:
		return nhi.Invalidf("approvals: wait is %v, want at most 168h", s.Wait)
	case s.Life < 0 || s.Life > 24*time.Hour:
		return nhi.Invalidf("approvals: life is %v, want at most 24h", s.Life)
	case s.TwoFrom < 0 || s.TwoFrom > nhi.MaxSensitivity+1:
		return nhi.Invalidf("approvals: two_from is %d, want 0 to %d", s.TwoFrom, nhi.MaxSensitivity+1)
	case s.Open < 0 || s.Open > 1000 || s.Hourly < 0 || s.Hourly > 10_000:
		return nhi.Invalidf("approvals: open is %d and hourly %d, want at most 1000 and 10000", s.Open, s.Hourly)
	}
	return nil
}

// A Store keeps approvals for good. Every write is one change of
// nhi.SubjectApproval, whose payload is the approval.
type Store interface {
	// Put adds an approval. One that is there already stays as it is.
	Put(ctx context.Context, a nhi.Approval) error
	// Change reads an approval, has it changed, and writes it, as one
	// transaction. Its error is that of change, or wraps nhi.ErrNotFound.
	Change(ctx context.Context, id string, change func(*nhi.Approval) error) (nhi.Approval, error)
	// Open returns what is pending or approved and has not expired.
	Open(ctx context.Context, now time.Time) ([]nhi.Approval, error)
}

// A Desk keeps the open approvals. It is safe for concurrent use.
type Desk struct {
	store Store
	log   *slog.Logger
	queue chan nhi.Approval // asked, to be stored

	mu       sync.Mutex // guards what follows
	settings Settings
	byID     map[string]*nhi.Approval // open ones; an approval in it never changes
	bound    map[string]*nhi.Approval // the same by binding: the one that is approved, else the pending one
	asked    map[nhi.ID]*account
}

// An account is what one identity has asked lately.
type account struct {
	open  int
	hour  int64 // number of the hour that count is of
	count int
}

// Bounds of a Desk.
const (
	maxQueue    = 256
	maxOpen     = 10_000 // questions of everybody
	maxComment  = 500
	maxAccounts = 100_000
)

// New returns a Desk with what is open in store. The error wraps
// nhi.ErrInvalid, or is the store's.
func New(ctx context.Context, store Store, settings Settings, log *slog.Logger) (*Desk, error) {
	d := &Desk{store: store, log: log, queue: make(chan nhi.Approval, maxQueue)}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if err := d.Configure(settings); err != nil {
		return nil, err
	}
	return d, d.Reload(ctx)
}

// Configure puts other settings in force. What was asked already keeps its own.
func (d *Desk) Configure(settings Settings) error {
	if err := settings.Validate(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings = settings.WithDefaults()
	return nil
}

// Settings returns those in force.
func (d *Desk) Settings() Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settings
}

// Reload reads what is open from the store.
func (d *Desk) Reload(ctx context.Context) error {
	open, err := d.store.Open(ctx, time.Now())
	if err != nil {
		return fmt.Errorf("read open approvals: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID, d.bound, d.asked = map[string]*nhi.Approval{}, map[string]*nhi.Approval{}, map[nhi.ID]*account{}
	for i := range open {
		d.put(&open[i])
	}
	return nil
}

// Run stores what was asked, until ctx ends. What cannot be stored is tried
// again when it is asked again.
func (d *Desk) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.sweep(now)
		case a := <-d.queue:
			if err := d.store.Put(ctx, a); err != nil && ctx.Err() == nil {
				d.log.Error("a question for people could not be kept; it is asked again with the next request", "approval", a.ID, "error", err)
				d.forget(a.ID)
			}
		}
	}
}

// Apply follows changes of nhi.SubjectApproval and ignores all others. A
// payload that cannot be read closes the approval.
func (d *Desk) Apply(changes []nhi.Change) {
	for i := range changes {
		if changes[i].Subject != nhi.SubjectApproval {
			continue
		}
		a, err := decode(changes[i].Payload)
		d.mu.Lock()
		if err != nil || a.State != nhi.ApprovalPending && a.State != nhi.ApprovalApproved {
			d.remove(changes[i].Key)
		} else {
			d.put(&a)
		}
		d.mu.Unlock()
	}
}

func decode(payload []byte) (a nhi.Approval, err error) {
	err = json.Unmarshal(payload, &a)
	return a, err
}

// put needs d.mu.
func (d *Desk) put(a *nhi.Approval) {
	d.remove(a.ID)
	d.byID[a.ID] = a
	// One that expired unused stays until the next sweep, and stands in nobody's way.
	if had := d.bound[a.Binding]; had == nil || had.At(time.Now()) != nhi.ApprovalApproved {
		d.bound[a.Binding] = a
	}
	if a.State == nhi.ApprovalPending {
		d.account(a.Identity).open++
	}
}

// remove needs d.mu.
func (d *Desk) remove(id string) {
	a := d.byID[id]
	if a == nil {
		return
	}
	delete(d.byID, id)
	if d.bound[a.Binding] == a {
		delete(d.bound, a.Binding)
	}
	if a.State == nhi.ApprovalPending {
		d.account(a.Identity).open--
	}
}

func (d *Desk) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove(id)
}

// account needs d.mu.
func (d *Desk) account(who nhi.ID) *account {
	a := d.asked[who]
	if a == nil {
		a = &account{}
		d.asked[who] = a
	}
	return a
}

// sweep forgets what has expired, and who asked nothing in the last hour.
func (d *Desk) sweep(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, a := range d.byID {
		if a.At(now) == nhi.ApprovalExpired {
			d.remove(id)
		}
	}
	for who, a := range d.asked {
		if a.open == 0 && a.hour < hourOf(now) {
			delete(d.asked, who)
		}
	}
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

// Approved implements decision.Approvals.
func (d *Desk) Approved(q *nhi.Question, now time.Time) *nhi.Approval {
	if !bindable(q) {
		return nil
	}
	if d.none() {
		return nil
	}
	binding := Binding(q) // without the lock: of a question that says much it takes a while
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.bound[binding]
	if a == nil || a.At(now) != nhi.ApprovalApproved {
		return nil
	}
	return a
}

// none reports whether nothing is open.
func (d *Desk) none() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.bound) == 0
}

// Ask implements decision.Approvals.
func (d *Desk) Ask(q *nhi.Question, decided *nhi.Decision) (id string, ok bool) {
	if !bindable(q) {
		return "", false
	}
	binding := Binding(q)
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.bound[binding]; a != nil && a.At(decided.At) != nhi.ApprovalExpired {
		return a.ID, true
	}
	who := q.Subject.Identity
	if len(d.byID) >= maxOpen || len(d.asked) >= maxAccounts {
		return "", false
	}
	account := d.account(who)
	if hour := hourOf(decided.At); account.hour != hour {
		account.hour, account.count = hour, 0
	}
	if account.open >= d.settings.Open || account.count >= d.settings.Hourly {
		return "", false
	}
	a := d.question(q, decided, binding)
	select {
	case d.queue <- a:
	default: // the store is behind; the next request asks again
		return "", false
	}
	account.count++
	d.put(&a)
	return a.ID, true
}

// question needs d.mu.
func (d *Desk) question(q *nhi.Question, decided *nhi.Decision, binding string) nhi.Approval {
	a := nhi.Approval{
		ID: newID(), Binding: binding, State: nhi.ApprovalPending, Decision: decided.ID,
		Identity: q.Subject.Identity, Point: q.Point, Action: q.Action, Operation: q.Operation, Resource: q.Resource,
		Sensitivity: q.Known.Sensitivity, Purpose: q.Known.Purpose, Country: q.Known.Country, Network: q.Known.Network, Agent: q.Known.AgentFamily,
		Reasons: decided.Reasons, Needed: 1, Votes: []nhi.Vote{}, Asked: decided.At, Expires: decided.At.Add(d.settings.Wait),
	}
	a.Behind = slices.Clone(q.Subject.Actors)
	if q.Subject.Consumer != "" {
		a.Behind = append(a.Behind, q.Subject.Consumer)
	}
	if q.Address.IsValid() {
		a.Address = q.Address.String()
	}
	if a.Sensitivity >= d.settings.TwoFrom {
		a.Needed = 2
	}
	return a
}

// Spend implements decision.Approvals.
func (d *Desk) Spend(ctx context.Context, id, decision string) error {
	_, err := d.store.Change(ctx, id, func(a *nhi.Approval) error {
		now := time.Now()
		if state := a.At(now); state != nhi.ApprovalApproved {
			return fmt.Errorf("approval %s is %s: %w", id, state, nhi.ErrConflict)
		}
		a.State, a.Used = nhi.ApprovalUsed, decision
		return nil
	})
	if err != nil {
		return fmt.Errorf("spend approval: %w", err)
	}
	d.forget(id) // the change tells everybody else
	return nil
}

// A Voter is a person who votes.
type Voter struct {
	Person string // id
	Name   string
	// Owns reports whether an owner, as an identity names it, is this person or
	// a team of theirs.
	Owns func(owner string) bool
	// Shared says that several people may be behind it: it is no one's second
	// yes.
	Shared bool
}

func (v *Voter) owns(owner string) bool { return owner != "" && v.Owns(owner) }

// Vote has a person say yes or no. owners are those who answer for the identity
// and for whoever is behind it, now; those of when it was asked count as well.
// One no denies. The error wraps nhi.ErrNotFound,
// nhi.ErrConflict when the approval is no longer pending or the person has
// voted, and nhi.ErrDenied when it is not theirs to say.
func (d *Desk) Vote(ctx context.Context, id string, v Voter, owners []string, yes bool, comment string) (nhi.Approval, error) {
	if len(comment) > maxComment {
		return nhi.Approval{}, nhi.Invalidf("a comment is at most %d bytes", maxComment)
	}
	settings := d.Settings()
	return d.store.Change(ctx, id, func(a *nhi.Approval) error {
		now := time.Now()
		switch state := a.At(now); {
		case state != nhi.ApprovalPending:
			return fmt.Errorf("approval %s is %s: %w", id, state, nhi.ErrConflict)
		case a.Voted(v.Person):
			return fmt.Errorf("approval %s: you have voted; somebody else has to: %w", id, nhi.ErrConflict)
		case v.Person == "" || v.Owns == nil:
			return fmt.Errorf("approval %s: only people vote: %w", id, nhi.ErrDenied)
		case yes && v.Shared && a.Needed > 1:
			return fmt.Errorf("approval %s: it takes two people, and whoever holds this token may be one of them already; sign in as yourself: %w", id, nhi.ErrDenied)
		case yes && !settings.OwnersMayApprove && (slices.ContainsFunc(owners, v.owns) || slices.ContainsFunc(a.Owners, v.owns)):
			return fmt.Errorf("approval %s: you answer for the identity that asks, or for one behind it, so somebody else has to say yes: %w", id, nhi.ErrDenied)
		}
		a.Votes = append(a.Votes, nhi.Vote{Person: v.Person, Name: v.Name, Yes: yes, Comment: strings.ToValidUTF8(comment, "?"), At: now})
		switch {
		case !yes:
			a.State, a.Settled = nhi.ApprovalDenied, now
		case a.Yeses() >= max(a.Needed, 1):
			a.State, a.Settled, a.Expires = nhi.ApprovalApproved, now, now.Add(settings.Life)
		}
		return nil
	})
}

// Cancel closes what is open; by is who does, as the audit log names them. The
// error wraps nhi.ErrNotFound, or
// nhi.ErrConflict when there is nothing to close.
func (d *Desk) Cancel(ctx context.Context, id, by string) (nhi.Approval, error) {
	return d.store.Change(ctx, id, func(a *nhi.Approval) error {
		now := time.Now()
		if state := a.At(now); state != nhi.ApprovalPending && state != nhi.ApprovalApproved {
			return fmt.Errorf("approval %s is %s: %w", id, state, nhi.ErrConflict)
		}
		a.State, a.Settled, a.CancelledBy = nhi.ApprovalCancelled, now, by
		return nil
	})
}

// Withdraw closes what still waits for people, on behalf of whoever asked; by is
// who does, as the audit log names them. The error wraps nhi.ErrNotFound, or
// nhi.ErrConflict when people have settled it or it has expired.
func (d *Desk) Withdraw(ctx context.Context, id, by string) (nhi.Approval, error) {
	return d.store.Change(ctx, id, func(a *nhi.Approval) error {
		now := time.Now()
		if state := a.At(now); state != nhi.ApprovalPending {
			return fmt.Errorf("approval %s is %s: %w", id, state, nhi.ErrConflict)
		}
		a.State, a.Settled, a.CancelledBy = nhi.ApprovalCancelled, now, by
		return nil
	})
}

// Open returns an approval that waits for people, or that they gave and nobody
// has used. It reads memory only.
func (d *Desk) Open(id string) (nhi.Approval, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.byID[id]
	if a == nil || a.At(time.Now()) == nhi.ApprovalExpired {
		return nhi.Approval{}, false
	}
	return *a, true
}

// bindable reports whether a question says enough to be bound to: somebody who
// is in the inventory.
func bindable(q *nhi.Question) bool { return q.Subject.Identity != "" && q.Known.Identity }

// Binding is what an approval is bound to: the hexadecimal SHA-256 of who asks,
// with which credential or key and for whom, through which point, to do what to
// what and what for, by which request as it came, and from which network, each
// preceded by its length. A route names many records and one query may differ
// from another by a word, so the target counts whole, and so do the properties that
// a point gives action and resource: they may be the amount or the account. Of an
// address that no network is known of, its /24 or /48 counts.
func Binding(q *nhi.Question) string {
	s := &q.Subject
	b := binder{sha256.New()}
	for _, part := range [...]string{
		string(s.Identity), string(s.Credential), s.Thumbprint, s.Method, string(s.Consumer), string(q.Point), string(q.Action), q.Operation, q.Resource,
		q.Host, q.Target, actors(s.Actors), fmt.Sprint(q.Known.Sensitivity), q.Known.Purpose, network(q),
	} {
		b.add([]byte(part))
	}
	if said := &q.Said; said.ResourceType != "" || len(said.Action) > 0 || len(said.Resource) > 0 {
		b.add([]byte(said.ResourceType))
		b.add(said.Action)
		b.add(said.Resource)
	}
	return hex.EncodeToString(b.Sum(nil))
}

// A binder digests parts, each preceded by its length.
type binder struct{ hash.Hash }

func (b binder) add(part []byte) {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(part)))
	b.Write(n[:])
	b.Write(part)
}

func actors(ids []nhi.ID) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "%d:%s", len(id), id)
	}
	return b.String()
}

func network(q *nhi.Question) string {
	if q.Known.ASN != 0 {
		return fmt.Sprintf("as%d %s", q.Known.ASN, q.Known.Country)
	}
	bits := 24
	if q.Address.Is6() {
		bits = 48
	}
	prefix, err := q.Address.Prefix(bits)
	if err != nil {
		return ""
	}
	return prefix.Masked().String()
}

// newID returns an id that nobody can guess.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return "apr_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
