package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func ExampleScanner() {
	data := []byte(`{"user": {"name": "deploy", "groups": ["ci", "prod"]}, "ok": true, "ignored": [1, {"x": null}]}`)
	var s Scanner
	s.Reset(data, 0)
	if s.Object() {
		for s.Next() {
			switch string(s.Key()) {
			case "user":
				fmt.Printf("user %s\n", s.Span())
			case "ok":
				ok, _ := s.Bool()
				fmt.Println("ok", ok)
			default:
				s.Skip()
			}
		}
	}
	fmt.Println(s.Err(), s.End())
	// Output:
	// user {"name": "deploy", "groups": ["ci", "prod"]}
	// ok true
	// <nil> true
}

var samples = []string{
	`{}`, `[]`, `""`, `0`, `-1.5e+10`, `true`, `false`, `null`, ` { "a" : [ 1 , 2 ] } `,
	`{"a":{"b":{"c":[[],{},"x\\\"y\u00e9\ud83d\ude00"]}}}`, `{"a":1,"a":2}`,
	`{"long":"0123456789abcdef0123456789abcdef\n0123456789"}`,
	`{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `01`, `1.`, `.5`, `1e`, `-`, `+1`, `tru`, `truex`, `nul`,
	`"\x"`, `"\u12g4"`, "\"a\nb\"", "\"a\x00b\"", "\"\xff\xfe\"", `"abc`, `{"a":1`, `[1`, `{"a":1}}`, `{"a":1} x`, ``, ` `, "\x00",
	`"\ud800"`, `"\udc00\ud800"`, `"\ud800\u0041"`, `{"a":1 "b":2}`, `[1 2]`, `{'a':1}`, "\ufeff{}",
}

func TestValidAgreesWithEncodingJSON(t *testing.T) {
	for _, in := range samples {
		if got, want := Valid([]byte(in), 0), json.Valid([]byte(in)); got != want {
			t.Errorf("Valid(%q) = %v, want %v", in, got, want)
		}
	}
}

func TestInputThatIsCutIsToldFromInputThatIsWrong(t *testing.T) {
	whole := []byte(`{"a": ["x\u00e9", -1.5e3, true, null, {"b": false}]}`)
	for n := range whole {
		var s Scanner
		s.Reset(whole[:n], 0)
		s.Skip()
		if !errors.Is(s.Err(), ErrShort) {
			t.Errorf("after %q: error %v, want ErrShort", whole[:n], s.Err())
		}
	}
	var s Scanner
	s.Reset([]byte(`{"a": ?`), 0)
	s.Skip()
	if !errors.Is(s.Err(), ErrSyntax) || s.Pos() != 6 {
		t.Errorf("got %v at %d, want ErrSyntax at 6", s.Err(), s.Pos())
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	deep := []byte(strings.Repeat("[", 1_000_000))
	var s Scanner
	s.Reset(deep, 10)
	s.Skip()
	if !errors.Is(s.Err(), ErrDepth) || s.Pos() != 10 {
		t.Errorf("got %v at %d, want ErrDepth at 10", s.Err(), s.Pos())
	}
	if !Valid([]byte(strings.Repeat("[", MaxDepth)+strings.Repeat("]", MaxDepth)), 0) {
		t.Error("the deepest allowed nesting is refused")
	}
}

func TestAnOddKindIsSkippedAndTheRestIsRead(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`{"text": 5, "object": "x", "array": {"y": 1}, "bool": [true], "last": "seen"}`), 0)
	s.Object()
	var got []string
	for s.Next() {
		key, ok, value := string(s.Key()), false, ""
		switch key {
		case "text", "last":
			var span Span
			span, ok = s.Text()
			value = string(span.Raw)
		case "object":
			ok = s.Object()
		case "array":
			ok = s.Array()
		case "bool":
			_, ok = s.Bool()
		}
		got = append(got, fmt.Sprintf("%s %v %s", key, ok, value))
	}
	want := []string{"text false ", "object false ", "array false ", "bool false ", "last true seen"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if s.Err() != nil || !s.End() {
		t.Errorf("error %v at %d", s.Err(), s.Pos())
	}
}

func FuzzAgreement(f *testing.F) {
	for _, in := range samples {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var s Scanner
		s.Reset(in, 0)
		s.Skip()
		if errors.Is(s.Err(), ErrDepth) {
			return
		}
		if got, want := s.End(), json.Valid(in); got != want {
			t.Fatalf("Valid(%q) = %v, want %v", in, got, want)
		}
		checkText(t, in)
	})
}

// checkText compares what a string means with encoding/json.
func checkText(t *testing.T, in []byte) {
	var want string
	trimmed := bytes.TrimLeft(in, " \t\r\n")
	if len(trimmed) == 0 || trimmed[0] != '"' || json.Unmarshal(in, &want) != nil {
		return
	}
	var s Scanner
	s.Reset(in, 0)
	span, ok := s.Text()
	if got := string(span.Append(nil)); !ok || got != want {
		t.Fatalf("text of %q = %q, want %q", in, got, want)
	}
}

func BenchmarkSkip(b *testing.B) {
	record := []byte(`{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:session","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/session"},"eventTime":"2023-03-17T17:07:59Z","requestParameters":{"userName":"someone","list":[1,2,3,{"a":"b"}]},"readOnly":false}`)
	b.SetBytes(int64(len(record)))
	b.ReportAllocs()
	var s Scanner
	for b.Loop() {
		s.Reset(record, 0)
		s.Skip()
		if s.Err() != nil {
			b.Fatal(s.Err())
		}
	}
}
