package api

import (
	"errors"
	"strings"
	"testing"

	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/api/list"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
)

func TestAPageTokenOfAnotherQueryOrOfNobodyIsRefused(t *testing.T) {
	s := &server{Frame: frame.New(frame.Deps{})}
	in := frame.ListQuery{Filter: "kind:x last_used<1d", Order: "-risk"}
	q, err := s.Read(filter.Identities, in)
	if err != nil {
		t.Fatal(err)
	}
	q.Counted(7, true)
	token := q.Next("", 50, "nhi_x")
	again := in
	again.PageToken = token
	got, err := s.Read(filter.Identities, again)
	if err != nil || got.From.Number != 50 || got.From.ID != "nhi_x" || got.From.Total != 7 || !got.From.AtLeast || got.From.At != q.From.At || got.First() {
		t.Fatalf("resumed at %+v, %v", got, err)
	}
	if got.Expr.Terms[1].Values[0] != q.Expr.Terms[1].Values[0] {
		t.Error("ages count from another moment on the second page")
	}
	other := &server{Frame: frame.New(frame.Deps{})}
	for name, try := range map[string]func() error{
		"another filter": func() error {
			_, err := s.Read(filter.Identities, frame.ListQuery{Filter: "kind:y", Order: "-risk", PageToken: token})
			return err
		},
		"another order": func() error {
			_, err := s.Read(filter.Identities, frame.ListQuery{Filter: in.Filter, PageToken: token})
			return err
		},
		"another list": func() error {
			_, err := s.Read(filter.Credentials, frame.ListQuery{PageToken: token})
			return err
		},
		"another parameter": func() error {
			_, err := s.Read(filter.Identities, again, "shadow")
			return err
		},
		"another server": func() error {
			_, err := other.Read(filter.Identities, again)
			return err
		},
		"a changed byte": func() error {
			b := []byte(token)
			b[len(b)/2] ^= 1
			_, err := s.Read(filter.Identities, frame.ListQuery{Filter: in.Filter, Order: in.Order, PageToken: string(b)})
			return err
		},
		"one that was made up": func() error {
			_, err := s.Read(filter.Identities, frame.ListQuery{Filter: in.Filter, Order: in.Order, PageToken: "eyJ2IjoxfQ"})
			return err
		},
	} {
		if err := try(); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: err = %v, want invalid", name, err)
		}
	}
}

func FuzzPageToken(f *testing.F) {
	s := &server{Frame: frame.New(frame.Deps{PageKey: []byte("0123456789abcdef")})}
	q, err := s.Read(filter.Identities, frame.ListQuery{})
	if err != nil {
		f.Fatal(err)
	}
	good := q.Next("a", 1, "b")
	f.Add(good)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := s.Read(filter.Identities, frame.ListQuery{PageToken: token}); err == nil && token != "" && token != good {
			t.Errorf("%q is accepted", token)
		}
	})
}

func TestATokenSaysWhichVersionItIs(t *testing.T) {
	s := &server{Frame: frame.New(frame.Deps{})}
	q, err := s.Read(list.Audit.Language, frame.ListQuery{})
	if err != nil {
		t.Fatal(err)
	}
	q.From.Version = 99
	_, err = s.Read(list.Audit.Language, frame.ListQuery{PageToken: q.Next("", 1, "1")})
	if !errors.Is(err, nhi.ErrInvalid) || !strings.Contains(err.Error(), "another release") {
		t.Errorf("err = %v", err)
	}
}
