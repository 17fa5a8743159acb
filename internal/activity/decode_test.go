package activity

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// small is a format of our own for these tests: {"v": 1, "id": "..."}.
var small = Format{
	Name: "small", List: "Records", First: "v",
	Open: func(t *Text, _ *Options) Record {
		return func(s *jsonscan.Scanner, ev *nhi.Event) error {
			if !s.Object() {
				return errors.New("no object")
			}
			for s.Next() {
				if string(s.Key()) == "id" {
					id, _ := s.Text()
					ev.ID = t.ID(id, Name)
					continue
				}
				s.Skip()
			}
			if ev.ID == "" {
				return errors.New("no id")
			}
			return nil
		}
	},
}

type result struct {
	Events []string
	Rest   []string
	Stats  Stats
	Err    string
}

func decode(t *testing.T, r io.Reader, o Options) result {
	t.Helper()
	var got result
	o.Name = "test.json"
	stats, err := small.Decode(t.Context(), r, o,
		func(ev nhi.Event) error { got.Events = append(got.Events, ev.ID); return nil },
		func(u Unparsable) error {
			got.Rest = append(got.Rest, fmt.Sprintf("line %d byte %d size %d: %s: %.40s", u.Line, u.Offset, u.Size, u.Reason, u.Raw))
			return nil
		})
	got.Stats = stats
	if err != nil {
		got.Err = err.Error()
	}
	return got
}

func zip(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, s)
	z.Close()
	return b.String()
}

func TestEveryFramingIsRead(t *testing.T) {
	a, b := `{"v":1,"id":"a"}`, `{"v":1,"id":"b"}`
	for _, tt := range []struct{ name, in string }{
		{"lines", a + "\n" + b + "\n"},
		{"lines without the last end", a + "\r\n" + b},
		{"an object with a list", `{"Records":[` + a + "," + b + `]}`},
		{"an object with a list and more around it", `{"version":"1","x":{"y":[1]},"Records":[` + a + "," + b + `],"next":{"token":"x]}"},"n":5}`},
		{"an array", "[\n " + a + ",\n " + b + "\n]"},
		{"objects with lists, one after another", `{"Records":[` + a + `]}` + "\n" + `{"Records":[` + b + `]}`},
		{"the same without anything between", `{"Records":[` + a + `]}{"Records":[]}{"Records":[` + b + `]}`},
		{"indented records", "{\n  \"v\": 1,\n  \"id\": \"a\"\n}\n{\n  \"v\": 1,\n  \"id\": \"b\"\n}"},
		{"byte order marks", "\ufeff" + a + "\n\ufeff" + b},
		{"a mark before an object", "\ufeff" + `{"Records":[` + a + "," + b + `]}`},
		{"gzip", zip(a + "\n" + b)},
		{"gzip of several members", zip(`{"Records":[`+a+`]}`) + zip(`{"Records":[`+b+`]}`)},
		{"lines with commas", a + ",\n" + b + ",\n"},
		{"blank lines", "\n\n" + a + "\n\n \n" + b + "\n\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in)), iotest.DataErrReader(strings.NewReader(tt.in))} {
				got := decode(t, r, Options{})
				got.Stats.Bytes = 0
				if d := cmp.Diff(result{Events: []string{"a", "b"}, Stats: Stats{Events: 2}}, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestBadPiecesAreHandedOverAndTheRestIsRead(t *testing.T) {
	a, b := `{"v":1,"id":"a"}`, `{"v":1,"id":"b"}`
	for _, tt := range []struct {
		name, in string
		want     result
	}{
		{"a broken line", a + "\n{\"v\":1,\"id\":\"x}\n" + b, result{
			Events: []string{"a", "b"}, Rest: []string{`line 2 byte 17 size 16: not JSON: {"v":1,"id":"x}` + "\n"}}},
		{"a line of words", "hello world\n" + b, result{
			Events: []string{"b"}, Rest: []string{"line 1 byte 0 size 12: not JSON: hello world\n"}}},
		{"an object that is no record", `{"v":2}` + "\n" + b, result{
			Events: []string{"b"}, Rest: []string{`line 1 byte 0 size 7: no id: {"v":2}`}}},
		{"a broken record in a list", `{"Records":[` + a + `,{"v":1,"id":"x,"z":"y"},` + b + `]}`, result{
			Events: []string{"a", "b"}, Rest: []string{`line 1 byte 29 size 24: not JSON: {"v":1,"id":"x,"z":"y"},`}}},
		{"no object in a list", `[` + a + `,5,"x",null,` + b + `]`, result{
			Events: []string{"a", "b"}, Rest: []string{"line 1 byte 18 size 1: an element that is no object: 5", `line 1 byte 20 size 3: an element that is no object: "x"`, "line 1 byte 24 size 4: an element that is no object: null"}}},
		{"an indented record that is broken", "{\n \"v\": 1,\n \"id\": x\n}\n" + b, result{
			Events: []string{"b"}, Rest: []string{"line 1 byte 0 size 22: not JSON: {\n \"v\": 1,\n \"id\": x\n}\n"}}},
		{"a record that is cut", a + "\n" + `{"v":1,"id":"b`, result{
			Events: []string{"a"}, Rest: []string{`line 2 byte 17 size 14: input ends inside a record: {"v":1,"id":"b`}}},
		{"a list that is cut", `{"Records":[` + a + ",", result{
			Events: []string{"a"}, Err: "test.json: line 1, byte 29: input ends inside a list: invalid"}},
		{"nothing", "", result{}},
		{"a bracket too many", a + "]}\n" + b, result{
			Events: []string{"a", "b"}, Rest: []string{"line 1 byte 16 size 3: not JSON: ]}\n"}}},
		{"a stray brace in a list", `[}` + a + `]`, result{
			Events: []string{"a"}, Rest: []string{"line 1 byte 1 size 1: not JSON: }"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Stats = Stats{Events: len(tt.want.Events), Unparsable: len(tt.want.Rest), Bytes: int64(len(tt.in))}
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				if d := cmp.Diff(tt.want, decode(t, r, Options{})); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestAFileThatIsNoLogIsRefusedByName(t *testing.T) {
	for name, in := range map[string]string{
		"zstd":    "\x28\xb5\x2f\xfd....",
		"zip":     "PK\x03\x04....",
		"utf-16":  "\xff\xfe{\x00",
		"binary":  "\x7fELF\x02\x01\x01\x00\x00\x00",
		"bad gz":  "\x1f\x8bnot gzip at all",
		"parquet": "PAR1....",
	} {
		got := decode(t, strings.NewReader(in), Options{})
		if !strings.HasPrefix(got.Err, "test.json: line 1, byte 0: ") || len(got.Events)+len(got.Rest) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestTruncatedGzipIsAnErrorAfterWhatWasReadable(t *testing.T) {
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "{\"v\":1,\"id\":\"e%d\",\"pad\":\"%x\"}\n", i, i*i*7919)
	}
	whole := zip(lines.String())
	got := decode(t, strings.NewReader(whole[:len(whole)/2]), Options{})
	if !strings.Contains(got.Err, "gzip is cut") || len(got.Events) == 0 || len(got.Rest) > 1 {
		t.Errorf("error %q, %d events, %d unparsable", got.Err, len(got.Events), len(got.Rest))
	}
	damaged := []byte(whole)
	damaged[len(damaged)-5] ^= 1 // the checksum
	if got := decode(t, bytes.NewReader(damaged), Options{}); !strings.Contains(got.Err, "gzip is damaged") {
		t.Errorf("error %q", got.Err)
	}
}

// endless is a reader of n bytes that need no memory.
type endless struct {
	n   int64
	fed []byte // repeated; each Read starts at its beginning
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), e.n)]
	done := copy(p, e.fed)
	for done < len(p) {
		done += copy(p[done:], p[:done])
	}
	e.n -= int64(done)
	return done, nil
}

func TestAGigabyteLineIsRefusedInBoundedMemory(t *testing.T) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 1 << 26
	}
	for _, tt := range []struct{ name, before, after string }{
		{"line", `{"v":1,"id":"`, "\"}\n" + `{"v":1,"id":"after"}`},
		{"element of a list", `{"Records":[{"v":1,"id":"`, `"},{"v":1,"id":"after"}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := io.MultiReader(strings.NewReader(tt.before), &endless{n: size, fed: []byte("x")}, strings.NewReader(tt.after))
			d := NewDecoder(&small, Options{MaxRecord: 1 << 16})
			var events []string
			var rest []Unparsable
			_, err := d.Decode(t.Context(), in,
				func(ev nhi.Event) error { events = append(events, ev.ID); return nil },
				func(u Unparsable) error { rest = append(rest, u); return nil })
			if err != nil || len(rest) != 1 {
				t.Fatalf("error %v, %d unparsable", err, len(rest))
			}
			if d := cmp.Diff([]string{"after"}, events); d != "" {
				t.Error(d)
			}
			if rest[0].Size < size || len(rest[0].Raw) != 1<<16 || rest[0].Reason != errTooLarge.Error() {
				t.Errorf("size %d, kept %d, reason %q", rest[0].Size, len(rest[0].Raw), rest[0].Reason)
			}
			if c := cap(d.in.buf); c > 4*chunk {
				t.Errorf("buffer grew to %d bytes", c)
			}
		})
	}
}

func TestDeepJSONIsRefusedAndTheRestIsRead(t *testing.T) {
	deep := `{"v":1,"id":"x","d":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + "}"
	for _, in := range []string{
		deep + "\n" + `{"v":1,"id":"after"}`,
		`{"Records":[` + deep + `,{"v":1,"id":"after"}]}`,
	} {
		got := decode(t, strings.NewReader(in), Options{})
		if d := cmp.Diff([]string{"after"}, got.Events); d != "" || len(got.Rest) != 1 || !strings.Contains(got.Rest[0], "nested too deeply") {
			t.Errorf("%s %+v", d, got)
		}
	}
}

func TestAZipBombIsCutOff(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.Copy(z, &endless{n: 32 << 20, fed: []byte(`{"v":1,"id":"a"}` + "\n")})
	z.Close()
	_, err := small.Decode(t.Context(), &b, Options{MaxTotal: 1 << 20},
		func(nhi.Event) error { return nil }, func(Unparsable) error { return nil })
	if !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("error %v, want one that wraps ErrTooLarge", err)
	}
}

func TestAnErrorOfTheCallerStopsAndComesOutAsItWentIn(t *testing.T) {
	full := errors.New("disk full")
	in := `{"v":1,"id":"a"}` + "\n{}\n" + `{"v":1,"id":"b"}`
	stats, err := small.Decode(t.Context(), strings.NewReader(in), Options{},
		func(nhi.Event) error { return full }, func(Unparsable) error { return nil })
	if err != full || stats.Events != 1 {
		t.Errorf("error %v after %d events", err, stats.Events)
	}
	_, err = small.Decode(t.Context(), strings.NewReader(in), Options{},
		func(nhi.Event) error { return nil }, func(Unparsable) error { return full })
	if err != full {
		t.Errorf("error %v", err)
	}
}

func TestACancelledContextStopsReading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	events := 0
	_, err := small.Decode(ctx, &endless{n: 1 << 40, fed: []byte(`{"v":1,"id":"a"}` + "\n")}, Options{},
		func(nhi.Event) error { events++; cancel(); return nil }, func(Unparsable) error { return nil })
	if !errors.Is(err, context.Canceled) || events == 0 {
		t.Errorf("error %v after %d events", err, events)
	}
}

// FuzzDecode checks what must hold for any input: every byte that is not
// white space or structure lies in an event or is handed over, no piece is
// empty, and reading in small steps gives the same result.
func FuzzDecode(f *testing.F) {
	a := `{"v":1,"id":"a"}`
	for _, in := range []string{a + "\n" + a, `{"Records":[` + a + `,{"v":1,"id":"x,"z":"y"},` + a + `]}`, "[" + a + ",5]", "\ufeff" + a, zip(a), "{\n\"v\": x\n}\n" + a, `[}` + a, "\n{\n[", `{"Records":[]}]`} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		run := func(r io.Reader) result {
			o := Options{MaxRecord: 256, MaxTotal: 1 << 20}
			return decode(t, r, o)
		}
		whole := run(bytes.NewReader(in))
		if whole.Stats.Events != len(whole.Events) || whole.Stats.Unparsable != len(whole.Rest) {
			t.Fatalf("stats %+v", whole)
		}
		for _, r := range whole.Rest {
			if strings.Contains(r, " size 0:") {
				t.Fatalf("an empty piece: %v", whole)
			}
		}
		if d := cmp.Diff(whole, run(iotest.OneByteReader(bytes.NewReader(in)))); d != "" && !strings.Contains(whole.Err, "larger than") && !strings.Contains(whole.Err, "gzip") {
			t.Fatalf("small steps differ: %s", d)
		}
	})
}
