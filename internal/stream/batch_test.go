package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/muster-id/muster/internal/nhi"
)

var compareAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func event(i int) nhi.Event {
	return nhi.Event{
		ID: fmt.Sprintf("7d3c1b1e-0000-4000-8000-%012d", i), Source: nhi.IdentityID("muster", "", "trail"), Format: "cloudtrail",
		Time: time.Date(2026, 5, 1, 12, 0, i, 0, time.UTC), Provider: "aws", Account: "111122223333", Region: "eu-central-1",
		Service: "s3.amazonaws.com", Operation: "GetObject", Resource: "arn:aws:s3:::payments-archive/2026/05",
		Address: netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), Agent: "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5", Status: nhi.Success,
		Principal: nhi.Principal{Type: "AssumedRole", Native: "AROAEXAMPLE", Path: "arn:aws:iam::111122223333:role/payments",
			Account: "111122223333", KeyID: "ASIAEXAMPLE", Temporary: true, Session: fmt.Sprintf("session-%d", i)},
	}
}

func events(n int) []nhi.Event {
	all := make([]nhi.Event, n)
	for i := range all {
		all[i] = event(i)
	}
	return all
}

func TestABatchIsDecodedAsItWasEncoded(t *testing.T) {
	for _, n := range []int{0, 1, MaxBatchEvents} {
		b, err := EncodeBatch(events(n))
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(events(n), got, compareAddr); diff != "" {
			t.Errorf("%d events (-want +got):\n%s", n, diff)
		}
	}
	if b, err := EncodeBatch(nil); err != nil {
		t.Error(err)
	} else if got, err := DecodeBatch(b); err != nil || len(got) != 0 {
		t.Errorf("an empty batch is decoded as %v, %v", got, err)
	}
}

func TestABatchBeyondTheLimitsIsRefusedAndSplit(t *testing.T) {
	if _, err := EncodeBatch(events(MaxBatchEvents + 1)); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("EncodeBatch of %d events = %v, want ErrTooLarge", MaxBatchEvents+1, err)
	}
	noise := events(2500)
	for i := range noise { // cannot be compressed
		noise[i].Agent = fmt.Sprintf("%x", rand.Perm(400))
	}
	if _, err := EncodeBatch(noise[:MaxBatchEvents]); err == nil {
		t.Log("noise fits after all")
	}
	for name, all := range map[string][]nhi.Event{"many": events(2500), "noisy": noise} {
		batches, err := EncodeBatches(all)
		if err != nil {
			t.Fatal(err)
		}
		var got []nhi.Event
		for _, b := range batches {
			part, err := DecodeBatch(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) > MaxBatchBytes || len(part) > MaxBatchEvents {
				t.Errorf("%s: a batch of %d events in %d bytes", name, len(part), len(b))
			}
			got = append(got, part...)
		}
		if diff := cmp.Diff(all, got, compareAddr); diff != "" {
			t.Errorf("%s: (-want +got):\n%.2000s", name, diff)
		}
	}
	huge := event(1)
	huge.Resource = strings.Repeat("x", maxBatchJSON)
	if _, err := EncodeBatches([]nhi.Event{huge}); !errors.Is(err, nhi.ErrTooLarge) {
		t.Errorf("one huge event = %v, want ErrTooLarge", err)
	}
}

// full returns an event none of whose fields is empty, whatever they are.
func full(t testing.TB, n int) nhi.Event {
	t.Helper()
	var e nhi.Event
	count := n
	var fill func(v reflect.Value, name string)
	fill = func(v reflect.Value, name string) {
		count++
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(time.Date(2026, 5, 1, 12, 0, 0, count*1000, time.FixedZone("", 7200))))
		case v.Type() == reflect.TypeFor[netip.Addr]():
			v.Set(reflect.ValueOf(netip.MustParseAddr("2001:db8::1%eth0")))
		case v.Kind() == reflect.String:
			v.SetString([]string{"plain ", "quoted \" \\ ", "line\nbreak ", "bytes \u00fc\u2028 <&> "}[count%4] + name)
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0), name)
			fill(v.Index(1), name)
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				fill(v.Field(i), v.Type().Field(i).Name)
			}
		default:
			t.Fatalf("field %s has a kind that neither this test nor the encoding knows", name)
		}
	}
	fill(reflect.ValueOf(&e).Elem(), "Event")
	return e
}

func TestABatchIsTheJSONOfItsEvents(t *testing.T) {
	want := []nhi.Event{full(t, 0), full(t, 1), full(t, 2), full(t, 3), {}, event(1)}
	ours, err := appendEvents(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var got []nhi.Event
	if err := json.Unmarshal(ours, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, compareAddr); diff != "" {
		t.Errorf("what we write, read by encoding/json (-want +got):\n%s", diff)
	}
	theirs, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"encoding/json": theirs, "us": ours} {
		got, err := decodeEvents(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, compareAddr); diff != "" {
			t.Errorf("written by %s, read by us (-want +got):\n%s", name, diff)
		}
	}
}

func TestMembersOfALaterVersionAreSkipped(t *testing.T) {
	got, err := decodeEvents([]byte(`[{"id":"1","new":{"a":[1,2]},"principal":{"kind":7,"name":"n"}}]`))
	if err != nil || len(got) != 1 || got[0].ID != "1" || got[0].Principal.Name != "n" {
		t.Errorf("decodeEvents = %+v, %v", got, err)
	}
}

func TestATimeThatCannotBeWrittenIsRefused(t *testing.T) {
	if _, err := EncodeBatch([]nhi.Event{{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}); !errors.Is(err, nhi.ErrInvalid) {
		t.Errorf("EncodeBatch = %v, want ErrInvalid", err)
	}
}

func compressed(t testing.TB, text []byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return enc.EncodeAll(text, []byte{batchVersion})
}

func TestADamagedOrHostileBatchIsRefused(t *testing.T) {
	good, err := EncodeBatch(events(3))
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		batch []byte
		want  error
	}{
		"empty":                       {nil, nhi.ErrInvalid},
		"no version":                  {[]byte{0}, nhi.ErrInvalid},
		"a newer version":             {append([]byte{2}, good[1:]...), ErrNewer},
		"cut":                         {good[:len(good)-3], nhi.ErrInvalid},
		"not compressed":              {[]byte("\x01[]"), nhi.ErrInvalid},
		"not an array":                {compressed(t, []byte(`{}`)), nhi.ErrInvalid},
		"an array without end":        {compressed(t, []byte(`[{}`)), nhi.ErrInvalid},
		"something behind the array":  {compressed(t, []byte(`[] []`)), nhi.ErrInvalid},
		"an event of the wrong shape": {compressed(t, []byte(`[{"id":1}]`)), nhi.ErrInvalid},
		"too large":                   {make([]byte, MaxBatchBytes+1), nhi.ErrTooLarge},
		"a bomb":                      {compressed(t, make([]byte, 64<<20)), nhi.ErrTooLarge},
		"more events than allowed":    {compressed(t, []byte("["+strings.Repeat("{},", MaxBatchEvents)+"{}]")), nhi.ErrTooLarge},
	} {
		if _, err := DecodeBatch(tt.batch); !errors.Is(err, tt.want) {
			t.Errorf("%s: DecodeBatch = %v, want %v", name, err, tt.want)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	good, err := EncodeBatch(events(3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:20])
	f.Add(compressed(f, []byte(`[{"time":"x"}]`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeBatch(b)
		if err != nil {
			return
		}
		if len(got) > MaxBatchEvents {
			t.Fatalf("%d events", len(got))
		}
		again, err := EncodeBatch(got)
		if errors.Is(err, nhi.ErrTooLarge) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeBatch(again); err != nil {
			t.Fatalf("not readable again: %v", err)
		}
	})
}

// FuzzBatchJSON fuzzes behind the compression, which random bytes do not pass.
func FuzzBatchJSON(f *testing.F) {
	f.Add([]byte(`[{"id":"1","time":"2026-05-01T12:00:00Z","address":"198.51.100.1"},{}]`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := decodeEvents(text); err == nil && len(got) > MaxBatchEvents {
			t.Fatalf("%d events", len(got))
		}
	})
}

func TestConsumersWantWhatTheirPatternsSay(t *testing.T) {
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"change", "change", true},
		{"change", "changes", false},
		{"activity.>", "activity.batch", true},
		{"activity.>", "activity", false},
		{"activity.>", "activities.batch", false},
		{">", "anything", true},
	} {
		if got := (Consumer{Subjects: []string{tt.pattern}}).Wants(tt.subject); got != tt.want {
			t.Errorf("%s wants %s = %t", tt.pattern, tt.subject, got)
		}
	}
}

func BenchmarkBatch(b *testing.B) {
	all := events(MaxBatchEvents)
	batch, err := EncodeBatch(all)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := EncodeBatch(all); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxBatchEvents, "ns/event")
		b.ReportMetric(float64(len(batch))/MaxBatchEvents, "bytes/event")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := DecodeBatch(bytes.Clone(batch)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxBatchEvents, "ns/event")
	})
}
