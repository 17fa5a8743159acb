package activity

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

func TestAnIdentityHasTheIDThatTheInventoryGivesIt(t *testing.T) {
	for _, tt := range []struct {
		name      string
		principal nhi.Principal
		want      nhi.ID
		kind      nhi.Kind
	}{
		{"a user", nhi.Principal{Type: "IAMUser", Native: "AIDAX", Account: "111122223333", Name: "ci"}, nhi.IdentityID("aws", "111122223333", "AIDAX"), nhi.KindUser},
		{"a role", nhi.Principal{Type: "AssumedRole", Native: "AROAX", Account: "111122223333", Session: "s"}, nhi.IdentityID("aws", "111122223333", "AROAX"), nhi.KindRole},
		{"a web identity", nhi.Principal{Type: "WebIdentityUser", Issuer: "https://token.actions.githubusercontent.com", Subject: "repo:a/b:ref:refs/heads/main"},
			nhi.IdentityID("oidc", "https://token.actions.githubusercontent.com", "repo:a/b:ref:refs/heads/main"), nhi.KindCIJob},
		{"a user without an id", nhi.Principal{Type: "IAMUser", Path: "arn:aws:iam::111122223333:user/x"}, nhi.IdentityID("aws", "999900001111", "arn:aws:iam::111122223333:user/x"), nhi.KindUser},
		{"a service", nhi.Principal{Type: "AWSService", Native: "ec2.amazonaws.com", Account: "amazonaws.com"}, nhi.IdentityID("aws", "amazonaws.com", "ec2.amazonaws.com"), nhi.KindService},
		{"nobody", nhi.Principal{Type: "Unknown"}, "", nhi.KindUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ev := nhi.Event{Provider: "aws", Account: "999900001111", Principal: tt.principal}
			id, who := Attribute(&ev)
			if id != tt.want || ev.Identity != tt.want || who.Kind != tt.kind || who.ID != tt.want {
				t.Errorf("got %s %+v", id, who)
			}
		})
	}
}

func TestAStaticKeyIsACredentialAndASessionKeyIsNot(t *testing.T) {
	ev := nhi.Event{Provider: "aws", Account: "1", Principal: nhi.Principal{Type: "IAMUser", Native: "AIDAX", Account: "2", KeyID: "AKIAX"}}
	Attribute(&ev)
	if want := nhi.NewCredentialID("aws", "2", "AKIAX"); ev.Credential != want {
		t.Errorf("credential %s, want %s", ev.Credential, want)
	}
	ev.Credential, ev.Principal.KeyID, ev.Principal.Temporary = "", "ASIAX", true
	if Attribute(&ev); ev.Credential != "" {
		t.Errorf("a session key became credential %s", ev.Credential)
	}
}

func TestASessionKeyLeadsBackToItsRoleAndCaller(t *testing.T) {
	a := NewAttributor()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a.Learn(Link{
		Account: "1", KeyID: "ASIAX", At: at, Expires: at.Add(time.Hour),
		Target: nhi.Principal{Type: "AssumedRole", Native: "AROAX", Account: "1", Session: "build"},
		Caller: nhi.Principal{Type: "WebIdentityUser", Subject: "repo:a/b"},
	})
	ev := nhi.Event{Provider: "aws", Account: "1", Time: at.Add(time.Minute), Principal: nhi.Principal{Type: "Unknown", KeyID: "ASIAX", Temporary: true}}
	a.Attribute(&ev)
	want := nhi.Principal{Type: "AssumedRole", Native: "AROAX", Account: "1", Session: "build", KeyID: "ASIAX", Temporary: true, Chain: []string{"repo:a/b"}}
	if d := cmp.Diff(want, ev.Principal); d != "" || ev.Identity != nhi.IdentityID("aws", "1", "AROAX") {
		t.Errorf("%s identity %s", d, ev.Identity)
	}
	foreign := nhi.Event{Provider: "aws", Account: "2", Time: at, Principal: nhi.Principal{KeyID: "ASIAX", Temporary: true}}
	if a.Attribute(&foreign); foreign.Identity != "" {
		t.Error("a link of one account explained an event of another")
	}
}

func TestAnEventDeliveredTwiceCountsOnce(t *testing.T) {
	s := NewSeen(1000)
	ev := func(account string, i int) *nhi.Event {
		return &nhi.Event{Format: "cloudtrail", Account: account, ID: fmt.Sprint(i)}
	}
	for i := range 1500 {
		if !s.Add(ev("1", i)) {
			t.Fatalf("event %d is not new", i)
		}
	}
	for i := 500; i < 1500; i++ {
		if s.Add(ev("1", i)) {
			t.Fatalf("event %d counts twice", i)
		}
	}
	if !s.Add(ev("2", 1400)) {
		t.Error("the same id in another account was taken for the same event")
	}
	for range 2 {
		if !s.Add(&nhi.Event{}) {
			t.Error("events without an id were taken for the same event")
		}
	}
	for i := range 100_000 {
		s.Add(ev("3", i))
	}
	if s.Len() > 2000 {
		t.Errorf("%d events remembered, more than twice the size", s.Len())
	}
}

func TestWhatWasSeenSurvivesARestart(t *testing.T) {
	s := NewSeen(100)
	for i := range 150 {
		s.Add(&nhi.Event{Format: "f", Account: "1", ID: fmt.Sprint(i)})
	}
	image, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back := NewSeen(5)
	if err := back.UnmarshalBinary(image); err != nil {
		t.Fatal(err)
	}
	if back.Len() != 150 || back.Add(&nhi.Event{Format: "f", Account: "1", ID: "20"}) {
		t.Errorf("%d events came back", back.Len())
	}
	for _, bad := range [][]byte{nil, image[:10], image[:len(image)-1], append([]byte{9}, image[1:]...)} {
		if err := back.UnmarshalBinary(bad); err == nil {
			t.Errorf("%d bytes were accepted", len(bad))
		}
	}
	if back.Len() != 150 {
		t.Error("a bad image changed what is remembered")
	}
}

func TestTextIsCleanedBoundedAndRedacted(t *testing.T) {
	redact := func(s string) string { return strings.ReplaceAll(s, "hunter2", "[removed]") }
	x := NewText(redact)
	for _, tt := range []struct{ name, raw, want string }{
		{"plain", "aws-cli/2.1", "aws-cli/2.1"},
		{"a secret", "curl token=hunter2", "curl token=[removed]"},
		{"an escaped secret", "token=hunter\\u0032", "token=[removed]"},
		{"terminal control", "a\\u001b[31mb\\u0007", "a [31mb "},
		{"text that turns around", "abc\u202egnp.exe", "abc gnp.exe"},
		{"invalid UTF-8", "a\xffb", "a\ufffdb"},
		{"escapes", `a\"b\\c\/d`, `a"b\c/d`},
		{"half a surrogate", `a\ud800b`, "a\ufffdb"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // the second answer comes from the table
				if got := x.Free(jsonscan.Span{Raw: []byte(tt.raw), Escaped: strings.Contains(tt.raw, `\`)}, Line); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
	for key := range x.free[Line] {
		if strings.Contains(key, "hunter2") {
			t.Error("the table of strings keeps a secret")
		}
	}
	long := x.Free(jsonscan.Span{Raw: []byte(strings.Repeat("é", 5000))}, Line)
	if len(long) != 512 || !utf8.ValidString(long) {
		t.Errorf("%d bytes", len(long))
	}
}

func TestAnAddressIsAnAddressOrNothing(t *testing.T) {
	x := NewText(nil)
	for raw, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1%eth0": "2001:db8::1",
		"AWS Internal": "invalid IP", "ec2.amazonaws.com": "invalid IP", "": "invalid IP", "192.0.2.1:80": "invalid IP",
	} {
		if got := x.Address(jsonscan.Span{Raw: []byte(raw)}); got.String() != want {
			t.Errorf("%q: got %s", raw, got)
		}
	}
	if got := x.Address(jsonscan.Span{Raw: []byte("192.0.2.1")}); got != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("got %v the second time", got)
	}
}

func FuzzClean(f *testing.F) {
	f.Add("a\x1b[0m\u202e\xff", 5)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(limit%600, 0)
		got := Clean(s, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.IndexFunc(got, hostile) >= 0 || Clean(got, limit) != got {
			t.Fatalf("Clean(%q, %d) = %q", s, limit, got)
		}
	})
}

func FuzzSeenImage(f *testing.F) {
	s := NewSeen(10)
	s.Add(&nhi.Event{ID: "x"})
	image, _ := s.MarshalBinary()
	f.Add(image)
	f.Fuzz(func(t *testing.T, in []byte) {
		s := NewSeen(10)
		if s.UnmarshalBinary(in) == nil && s.Add(&nhi.Event{ID: "new event"}) && s.Add(&nhi.Event{ID: "new event"}) {
			t.Fatal("an event counts twice")
		}
	})
}

func BenchmarkSeen(b *testing.B) {
	s := NewSeen(0)
	ev := &nhi.Event{Format: "cloudtrail", Account: "111122223333"}
	ids := make([]string, 4096)
	for i := range ids {
		ids[i] = nhi.DerivedID("", fmt.Sprint(i))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ev.ID = ids[i%len(ids)]
		s.Add(ev)
	}
}
