package feed

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/nhi"
)

var (
	ours   = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	theirs = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	now    = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	basis  = Basis{Issuer: "https://muster.example", Keys: json.RawMessage(`{"keys":[]}`), Guards: json.RawMessage(`{}`), Settings: json.RawMessage(`{}`)}
)

const nonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// whole is the first message that a point gets.
func whole() *Message {
	return &Message{
		Version: Version, Nonce: nonce, Point: "nhi_p", Issued: now, Expires: now.Add(10 * time.Minute), Lease: true, Current: true,
		Mark:  Mark{Installation: "here", Sequence: 1, Generation: 100, Basis: basis.Digest()},
		Basis: &basis, Image: &Image{Size: 10, Sum: Hash{9}},
	}
}

// next is a message with a change that follows a state.
func next(s *State) *Message {
	m := &Message{Version: Version, Nonce: nonce, Point: "nhi_p", Prev: s.Hash, Issued: now, Expires: now.Add(10 * time.Minute), From: s.Generation, Mark: s.Mark}
	m.Mark.Hash = Hash{}
	m.Mark.Sequence++
	m.Mark.Generation++
	m.Changes = []nhi.Change{{Seq: m.Mark.Generation, Subject: nhi.SubjectRevocation, Version: 1, Payload: json.RawMessage(`{"token":"t"}`)}}
	return m
}

// sent is what arrives of a message.
func sent(t testing.TB, key ed25519.PrivateKey, m *Message) *Frame {
	t.Helper()
	f, err := Sign(key, m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(bytes.NewReader(f.Bytes), ours.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func begun(t testing.TB) State {
	t.Helper()
	s, err := (&State{}).Accept(sent(t, ours, whole()), nonce, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAMessageArrivesAsItWasSent(t *testing.T) {
	f, err := Sign(ours, whole())
	if err != nil {
		t.Fatal(err)
	}
	in := io.MultiReader(bytes.NewReader(f.Bytes), strings.NewReader("the image"))
	got, err := Read(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f, got); diff != "" {
		t.Errorf("(-sent +arrived):\n%s", diff)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "the image" {
		t.Errorf("what follows the message is %q", rest)
	}
	if _, err := Read(strings.NewReader(""), nil); err != io.EOF {
		t.Errorf("nothing: %v", err)
	}
}

func TestAPointGoesFromMessageToMessage(t *testing.T) {
	s := begun(t)
	for range 3 {
		m := next(&s)
		beat := next(&s)
		beat.Changes, beat.Mark.Sequence, beat.Mark.Generation = nil, s.Sequence, s.Generation+7 // nothing of interest
		after, err := s.Accept(sent(t, ours, beat), nonce, now)
		if err != nil || after.Hash != s.Hash || after.Generation != s.Generation+7 {
			t.Fatalf("a beat leads to %+v, %v", after, err)
		}
		f := sent(t, ours, m)
		if s, err = s.Accept(f, nonce, now); err != nil || s.Hash != f.Hash || s.Sequence != m.Mark.Sequence {
			t.Fatalf("%+v, %v", s, err)
		}
	}
	again := whole()
	again.Prev, again.Mark.Sequence, again.Mark.Generation = s.Hash, s.Sequence+1, s.Generation
	if _, err := s.Accept(sent(t, ours, again), nonce, now); err != nil {
		t.Errorf("a snapshot in between: %v", err)
	}
}

func TestAMessageSignedByAnotherKeyIsRefused(t *testing.T) {
	f, err := Sign(theirs, whole())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Read(bytes.NewReader(f.Bytes), ours.Public().(ed25519.PublicKey)); !errors.Is(err, ErrKey) {
		t.Errorf("another key: %v", err)
	}
	copy(f.Bytes[len(magic):], ours.Public().(ed25519.PublicKey)) // it claims ours
	if _, err := Read(bytes.NewReader(f.Bytes), ours.Public().(ed25519.PublicKey)); !errors.Is(err, ErrSignature) {
		t.Errorf("another key that calls itself ours: %v", err)
	}
}

func TestATamperedMessageIsRefused(t *testing.T) {
	f, err := Sign(ours, whole())
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Bytes {
		bad := bytes.Clone(f.Bytes)
		bad[i] ^= 4
		if _, err := Read(bytes.NewReader(bad), ours.Public().(ed25519.PublicKey)); err == nil {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
		if _, err := Read(bytes.NewReader(f.Bytes[:i]), nil); err == nil {
			t.Fatalf("cut off at %d and nobody noticed", i)
		}
	}
}

// TestAttacksOnTheChain are messages that are rightly signed, and wrong.
func TestAttacksOnTheChain(t *testing.T) {
	s := begun(t)
	first := sent(t, ours, whole())
	for name, tt := range map[string]struct {
		change func(*Message)
		nonce  string
		at     time.Time
		want   error
	}{
		"replay: an answer to another question":     {nonce: strings.Repeat("B", 52), want: ErrReplay},
		"replay: an answer to no question":          {change: func(m *Message) { m.Nonce = "" }, want: ErrReplay},
		"replay: what was meant for another point":  {change: func(m *Message) { m.Point = "nhi_q" }, want: ErrReplay},
		"replay: what another installation signed":  {change: func(m *Message) { m.Mark.Installation = "there" }, want: ErrReplay},
		"gap: a message is left out":                {change: func(m *Message) { m.Mark.Sequence++ }, want: ErrGap},
		"gap: another message came before":          {change: func(m *Message) { m.Prev = Hash{1} }, want: ErrGap},
		"gap: changes are left out":                 {change: func(m *Message) { m.From += 3; m.Mark.Generation += 3; m.Changes[0].Seq += 3 }, want: ErrGap},
		"gap: another basis under the name of ours": {change: func(m *Message) { m.Mark.Basis = Hash{1} }, want: ErrGap},
		"gap: a basis that is not what it says":     {change: func(m *Message) { m.Basis = &Basis{Issuer: "x"} }, want: ErrGap},
		"gap: other resources without a snapshot":   {change: func(m *Message) { m.Mark.Scope = Hash{1} }, want: ErrGap},
		"rollback: an older message":                {change: func(m *Message) { m.Mark.Sequence = 0 }, want: ErrRollback},
		"rollback: an older generation":             {change: func(m *Message) { m.From, m.Mark.Generation, m.Changes = 0, 50, nil; m.Basis = &basis }, want: ErrRollback},
		"rollback: an older snapshot, numbered anew": {change: func(m *Message) {
			w := whole()
			m.Image, m.Basis, m.Changes = w.Image, w.Basis, nil
			m.Mark.Generation = 99
		}, want: ErrRollback},
		"freeze: a message that is over":              {at: now.Add(10 * time.Minute), want: ErrExpired},
		"freeze: a beat that is over":                 {change: func(m *Message) { m.Changes, m.Mark.Sequence = nil, 1 }, at: now.Add(time.Hour), want: ErrExpired},
		"a message from the future, to be good later": {at: now.Add(-time.Hour), want: ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			m := next(&s)
			if tt.change != nil {
				tt.change(m)
			}
			question, at := nonce, now
			if tt.nonce != "" {
				question = tt.nonce
			}
			if !tt.at.IsZero() {
				at = tt.at
			}
			after, err := s.Accept(sent(t, ours, m), question, at)
			if !errors.Is(err, tt.want) || after != s {
				t.Errorf("got %v and generation %d, want %v", err, after.Generation, tt.want)
			}
		})
	}
	if _, err := s.Accept(first, nonce, now); !errors.Is(err, ErrGap) && !errors.Is(err, ErrRollback) {
		t.Errorf("the first message once more: %v", err)
	}
	if _, err := (&State{}).Accept(sent(t, ours, next(&s)), nonce, now); err == nil {
		t.Error("a point that has nothing began with a change")
	}
}

func TestWhatNoServerWritesIsRefused(t *testing.T) {
	for name, change := range map[string]func(*Message){
		"another format":             func(m *Message) { m.Version = 2 },
		"its own hash":               func(m *Message) { m.Mark.Hash = Hash{1} },
		"ahead of its server":        func(m *Message) { m.Behind = -1 },
		"an image of nothing":        func(m *Message) { m.Image.Size = 0 },
		"an image without end":       func(m *Message) { m.Image.Size = MaxImage + 1 },
		"an image without its basis": func(m *Message) { m.Basis = nil },
		"changes out of order": func(m *Message) {
			m.Image = nil
			m.Changes = []nhi.Change{{Seq: 5}, {Seq: 5}}
		},
		"changes behind the end": func(m *Message) {
			m.Image = nil
			m.Changes = []nhi.Change{{Seq: 101}}
		},
	} {
		m := whole()
		change(m)
		f, err := Sign(ours, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(bytes.NewReader(f.Bytes), nil); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	endless := append([]byte(magic), make([]byte, ed25519.PublicKeySize)...)
	endless = append(endless, 0xff, 0xff, 0xff, 0xff)
	if _, err := Read(io.MultiReader(bytes.NewReader(endless), zeros{}), nil); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("a message without end: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestARequestIsChecked(t *testing.T) {
	good := Request{Version: Version, Nonce: NewNonce(), Instance: NewInstance()}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Request){
		"no nonce":      func(r *Request) { r.Nonce = "" },
		"a short nonce": func(r *Request) { r.Nonce = r.Nonce[1:] },
		"a hostile one": func(r *Request) { r.Nonce = strings.Repeat("\n", 52) },
		"no instance":   func(r *Request) { r.Instance = "" },
		"a long name":   func(r *Request) { r.Mark.Installation = strings.Repeat("x", 65) },
		"no number":     func(r *Request) { r.Mark.Sequence = 1 << 63 },
		"another form":  func(r *Request) { r.Version = 0 },
	} {
		r := good
		change(&r)
		if err := r.Check(); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if one, two := NewNonce(), NewNonce(); one == two {
		t.Error("two questions have one nonce")
	}
}

func TestOnlyWhatDecisionsReadLeavesTheServer(t *testing.T) {
	payload := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	point := nhi.Point{ID: "nhi_p", Resources: []string{"ours"}}
	in := []nhi.Change{
		{Seq: 1, Subject: nhi.SubjectIdentity, Key: "nhi_a", Payload: payload(nhi.Identity{ID: "nhi_a", Name: "secret-project", Path: "arn:x", State: nhi.Active, Owner: nhi.Owner{Ref: "ann@example.com"}, Labels: map[string]string{"a": "b"}, Risk: 7})},
		{Seq: 2, Subject: nhi.SubjectCredential, Key: "crd_a", Payload: payload(nhi.Credential{ID: "crd_a", Identity: "nhi_a", Verifier: []byte{1}, Fingerprint: "f1:x", Reason: "leaked in a repository", State: nhi.CredentialSuspended})},
		{Seq: 3, Subject: nhi.SubjectSource, Key: "nhi_s", Payload: payload(nhi.Source{ID: "nhi_s", Verifier: []byte{1}})},
		{Seq: 4, Subject: nhi.SubjectPoint, Key: "nhi_q", Payload: payload(nhi.Point{ID: "nhi_q", Verifier: []byte{1}})},
		{Seq: 5, Subject: nhi.SubjectPoint, Key: "nhi_p", Payload: payload(point)},
		{Seq: 6, Subject: nhi.SubjectResource, Key: "theirs", Payload: payload(nhi.Resource{Name: "theirs"})},
		{Seq: 7, Subject: nhi.SubjectResource, Key: "ours", Payload: payload(nhi.Resource{Name: "ours"})},
		{Seq: 8, Subject: nhi.SubjectFinding, Key: "f", Payload: payload(nhi.Finding{})},
		{Seq: 9, Subject: nhi.SubjectRevocation, Payload: payload(nhi.Revocation{Token: "t", Reason: "because of ann"})},
		{Seq: 10, Subject: nhi.SubjectIdentity, Key: "nhi_b"},
	}
	out, err := Slim(&point, in)
	if err != nil {
		t.Fatal(err)
	}
	var seqs []nhi.Generation
	for i := range out {
		seqs = append(seqs, out[i].Seq)
	}
	if diff := cmp.Diff([]nhi.Generation{1, 2, 5, 7, 9, 10}, seqs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	text := string(payload(out))
	for _, private := range []string{"secret-project", "ann", "arn:x", "f1:x", "repository", "theirs"} {
		if strings.Contains(text, private) {
			t.Errorf("%q leaves the server: %s", private, text)
		}
	}
	var a nhi.Identity
	if err := json.Unmarshal(out[0].Payload, &a); err != nil || !a.Owned() || a.Risk != 7 || a.State != nhi.Active {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := Slim(&point, []nhi.Change{{Seq: 1, Subject: nhi.SubjectIdentity, Payload: json.RawMessage(`[]`)}}); err == nil {
		t.Error("a change that cannot be read was sent on")
	}
}

// FuzzRead reads bodies that are rightly signed whatever they hold, and then
// frames that are not.
func FuzzRead(f *testing.F) {
	s := begun(f)
	for _, m := range []*Message{whole(), next(&s)} {
		body, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"version":1,"mark":{"hash":"zz"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Read(bytes.NewReader(body), nil)
		frame := append([]byte(magic), ours.Public().(ed25519.PublicKey)...)
		frame = append(frame, byte(len(body)>>24), byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
		frame = append(frame, body...)
		frame = append(frame, ed25519.Sign(ours, frame)...)
		got, err := Read(bytes.NewReader(frame), ours.Public().(ed25519.PublicKey))
		if err != nil {
			return
		}
		after, err := s.Accept(got, nonce, now)
		if err == nil && (after.Generation < s.Generation || after.Sequence < s.Sequence || got.Message.Nonce != nonce) {
			t.Errorf("a message led back from %+v to %+v", s, after)
		}
	})
}
