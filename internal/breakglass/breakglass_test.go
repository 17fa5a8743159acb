package breakglass

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// minted is a code and its halves.
func minted(serial string) (nhi.GlassCode, [2]string) {
	a, first := Mint()
	b, second := Mint()
	return nhi.GlassCode{Serial: serial, First: first[:], Second: second[:], Expires: time.Now().Add(24 * time.Hour)}, [2]string{a, b}
}

func mustLoad(t *testing.T, path string) *Box {
	t.Helper()
	b, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAHalfIsReadAsPeopleTypeIt(t *testing.T) {
	for range 200 {
		half, want := Mint()
		for _, typed := range []string{half, strings.ToLower(half), strings.ReplaceAll(half, "-", ""), " " + strings.ReplaceAll(half, "-", " ") + "\n",
			strings.NewReplacer("0", "o", "1", "l").Replace(half), strings.ReplaceAll(half, "1", "I")} {
			if got, err := Verifier(typed); err != nil || got != want {
				t.Fatalf("%q: %v", typed, err)
			}
		}
	}
}

func TestASlipIsCalledASlip(t *testing.T) {
	half, _ := Mint()
	caught := 0
	for i := range half {
		if half[i] == '-' {
			continue
		}
		other := byte('7')
		if half[i] == '7' {
			other = '8'
		}
		if _, err := Verifier(half[:i] + string(other) + half[i+1:]); errors.Is(err, ErrSlip) {
			caught++
		}
	}
	if caught < 26 { // each is caught but for one in 1,024
		t.Errorf("%d of 28 slips were caught", caught)
	}
	for _, typed := range []string{"", half[1:], half + "0", "U" + half[1:], strings.Repeat("é", 28), strings.Repeat("0", 1<<16)} {
		if _, err := Verifier(typed); !errors.Is(err, ErrSlip) {
			t.Errorf("%.40q: %v", typed, err)
		}
	}
}

func FuzzVerifier(f *testing.F) {
	half, _ := Mint()
	f.Add(half)
	f.Fuzz(func(t *testing.T, typed string) {
		v, err := Verifier(typed)
		if err == nil && v == ([32]byte{}) || err != nil && !errors.Is(err, ErrSlip) {
			t.Errorf("%q: %v", typed, err)
		}
	})
}

func TestTwoHalvesOpenOnceAndForSoLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "glass")
		b := mustLoad(t, path)
		code, halves := minted("1")
		codes := []nhi.GlassCode{code}
		if _, open := b.Now(time.Now()); open {
			t.Fatal("open from the start")
		}
		if _, err := b.Open(codes, [2]string{halves[1], halves[0]}, 30*time.Minute, "the server burns"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Minute)
		if o, open := b.Now(time.Now()); !open || o.Serial != "1" || o.Reason != "the server burns" {
			t.Errorf("after 29 of 30 minutes: %+v, %v", o, open)
		}
		time.Sleep(time.Minute)
		if _, open := b.Now(time.Now()); open {
			t.Error("open after its time")
		}
		if err := b.Note(time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, again := range []*Box{b, mustLoad(t, path)} {
			if _, err := again.Open(codes, halves, time.Minute, "again"); !errors.Is(err, ErrUsed) {
				t.Errorf("used twice: %v", err)
			}
			if untold := again.Untold(); len(untold) != 1 || untold[0].Closed.IsZero() {
				t.Errorf("to be told: %+v", untold)
			}
		}
		if err := b.Told("1"); err != nil || len(b.Untold()) != 0 || len(mustLoad(t, path).Untold()) != 0 {
			t.Errorf("told, and still to be told: %v, %v", b.Untold(), err)
		}
	})
}

func TestWhatDoesNotOpen(t *testing.T) {
	code, halves := minted("1")
	other, others := minted("2")
	old, olds := minted("3")
	old.Expires = time.Now().Add(-time.Second)
	twin := nhi.GlassCode{Serial: "4", First: code.First, Second: code.First, Expires: code.Expires}
	for name, c := range map[string]struct {
		codes  []nhi.GlassCode
		halves [2]string
		d      time.Duration
		reason string
		want   error
	}{
		"one half twice":                  {[]nhi.GlassCode{code}, [2]string{halves[0], halves[0]}, time.Minute, "r", ErrWrong},
		"a code of one half":              {[]nhi.GlassCode{twin}, [2]string{halves[0], halves[0]}, time.Minute, "r", ErrWrong},
		"halves of two codes":             {[]nhi.GlassCode{code, other}, [2]string{halves[0], others[1]}, time.Minute, "r", ErrWrong},
		"the code of another point":       {[]nhi.GlassCode{other}, halves, time.Minute, "r", ErrWrong},
		"no code at all":                  {nil, halves, time.Minute, "r", ErrWrong},
		"an expired code":                 {[]nhi.GlassCode{old}, olds, time.Minute, "r", ErrWrong},
		"a slip":                          {[]nhi.GlassCode{code}, [2]string{halves[0], halves[1][1:]}, time.Minute, "r", ErrSlip},
		"longer than an hour":             {[]nhi.GlassCode{code}, halves, Longest + 1, "r", nhi.ErrInvalid},
		"for less than nothing":           {[]nhi.GlassCode{code}, halves, -time.Minute, "r", nhi.ErrInvalid},
		"without a reason":                {[]nhi.GlassCode{code}, halves, time.Minute, "", nhi.ErrInvalid},
		"with more reason than is needed": {[]nhi.GlassCode{code}, halves, time.Minute, strings.Repeat("r", maxReason+1), nhi.ErrInvalid},
		"empty verifiers":                 {[]nhi.GlassCode{{Serial: "5", Expires: code.Expires}}, halves, time.Minute, "r", ErrWrong},
	} {
		t.Run(name, func(t *testing.T) {
			b := mustLoad(t, filepath.Join(t.TempDir(), "glass"))
			_, err := b.Open(c.codes, c.halves, c.d, c.reason)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if _, open := b.Now(time.Now()); open || len(b.Untold()) != 0 {
				t.Error("it opened")
			}
		})
	}
}

func TestGuessingIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := mustLoad(t, filepath.Join(t.TempDir(), "glass"))
		code, halves := minted("1")
		_, guess := minted("2")
		for range triesMost {
			if _, err := b.Open([]nhi.GlassCode{code}, guess, time.Minute, "r"); !errors.Is(err, ErrWrong) {
				t.Fatal(err)
			}
		}
		if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Minute, "r"); !errors.Is(err, ErrOften) {
			t.Errorf("after %d wrong tries: %v", triesMost, err)
		}
		time.Sleep(triesKept + time.Second)
		if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Minute, "r"); err != nil {
			t.Errorf("a quarter of an hour later: %v", err)
		}
	})
}

func TestAClockThatIsSetBackGivesNoTimeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "glass")
		b := mustLoad(t, path)
		code, halves := minted("1")
		if _, err := b.Open([]nhi.GlassCode{code}, halves, 30*time.Minute, "r"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		if err := b.Note(time.Now()); err != nil {
			t.Fatal(err)
		}
		// The point starts again, and by its clock the code was used just now.
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		moved := strings.Replace(string(text), b.open.Load().Opened.Format(time.RFC3339Nano), time.Now().UTC().Format(time.RFC3339Nano), 1)
		if moved == string(text) {
			t.Fatal("the file has another form")
		}
		if err := os.WriteFile(path, []byte(moved), 0o600); err != nil {
			t.Fatal(err)
		}
		again := mustLoad(t, path)
		if _, open := again.Now(time.Now()); !open {
			t.Error("a restart closed it")
		}
		time.Sleep(10 * time.Minute)
		if _, open := again.Now(time.Now()); open {
			t.Error("open for longer than it was opened for")
		}
	})
}

func TestNothingOpensThatCannotBeWrittenDown(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	b := mustLoad(t, filepath.Join(dir, "glass"))
	code, halves := minted("1")
	if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Minute, "r"); err == nil {
		t.Error("it opened")
	}
	if _, open := b.Now(time.Now()); open {
		t.Error("it is open")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Minute, "r"); err != nil {
		t.Errorf("the code was used up by a try that failed: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := b.Now(time.Now()); open {
		t.Error("open after it was closed")
	}
}

func TestAFileThatCannotBeReadIsNotTakenForAnEmptyOne(t *testing.T) {
	for name, text := range map[string]string{"cut": `{"version":1,"used":[{"ser`, "of a later release": `{"version":2}`, "empty": ""} {
		path := filepath.Join(t.TempDir(), "glass")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, nhi.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClockThatIsSetBackBringsNoExpiredCodeBack(t *testing.T) {
	for name, tell := range map[string]func(*Box, time.Time){
		"the server said how late it is": func(b *Box, at time.Time) { b.Seen(at); b.Seen(at.Add(-time.Hour)) },
		"another code was used since": func(b *Box, at time.Time) {
			b.used = []Opening{{Serial: "0", Opened: at, Closed: at}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := mustLoad(t, filepath.Join(t.TempDir(), "glass"))
			code, halves := minted("1") // good until tomorrow, by a clock that is wrong
			tell(b, code.Expires.Add(time.Second))
			if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Minute, "r"); !errors.Is(err, ErrWrong) {
				t.Errorf("an expired code: %v", err)
			}
		})
	}
}

func TestWhatWasLetPassIsCountedAcrossARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "glass")
	b := mustLoad(t, path)
	code, halves := minted("1")
	if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Hour, "r"); err != nil {
		t.Fatal(err)
	}
	if b.Serial(time.Now()) != "1" {
		t.Error("not open by its code")
	}
	b.Passed("1")
	b.Passed("1")
	if err := b.Note(time.Now()); err != nil {
		t.Fatal(err)
	}
	again := mustLoad(t, path)
	again.Passed("1")
	if o, open := again.Now(time.Now()); !open || o.Allowed != 3 {
		t.Errorf("open %v, %d let pass, want 3", open, o.Allowed)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if untold := mustLoad(t, path).Untold(); len(untold) != 1 || untold[0].Allowed != 3 || untold[0].Closed.IsZero() {
		t.Errorf("to be told: %+v", untold)
	}
	if again.Serial(time.Now()) != "" {
		t.Error("open after it was closed")
	}
}

func TestARestartBringsNoExpiredCodeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "glass")
	code, halves := minted("1") // good until tomorrow, by a clock that is set back
	b := mustLoad(t, path)
	b.Seen(code.Expires.Add(time.Second))
	if err := b.Note(time.Now()); err != nil {
		t.Fatal(err)
	}
	b = mustLoad(t, path)
	if _, err := b.Open([]nhi.GlassCode{code}, halves, time.Minute, "r"); !errors.Is(err, ErrWrong) {
		t.Errorf("an expired code, after a restart: %v", err)
	}
	if b.Used(code.Serial) || len(b.Untold()) != 0 {
		t.Error("it is taken for used")
	}
}

func TestWhatHasNotComeYetHasBeen(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return now.Add(time.Duration(minutes) * time.Minute) }
	far, unset := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(1970, 1, 1, 0, 0, 42, 0, time.UTC)
	for _, tt := range []struct {
		name                     string
		opened, closed           time.Time
		wantOpened, wantClosedAt time.Time
	}{
		{"by a clock that is right", at(-20), at(-10), at(-20), at(-10)},
		{"and still open", at(-20), time.Time{}, at(-20), time.Time{}},
		{"a day ahead, still open", at(1440), time.Time{}, at(0), time.Time{}},
		{"a day ahead, over", at(1440), at(1450), at(-10), at(0)},
		{"ahead by less than it was open for", at(-5), at(5), at(-10), at(0)},
		{"put right meanwhile", at(1440), at(0), at(0), at(0)},
		{"put ahead meanwhile", at(-5), at(1440), at(-5), at(0)},
		{"by a clock that was never set, still open", unset, time.Time{}, at(0), time.Time{}},
		{"by a clock that was never set, over", unset, unset.Add(10 * time.Minute), at(-10), at(0)},
		{"by a clock that was set meanwhile", unset, at(-10), at(-10), at(-10)},
		{"opened at the end of time", far, time.Time{}, at(0), time.Time{}},
		{"over at the end of time", at(-5), far, at(-5), at(0)},
	} {
		o := Opening{Opened: tt.opened, Closed: tt.closed, For: 30 * time.Minute}
		if got := o.At(now); !got.Opened.Equal(tt.wantOpened) || !got.Closed.Equal(tt.wantClosedAt) || !o.Opened.Equal(tt.opened) {
			t.Errorf("%s: %v to %v, want %v to %v", tt.name, got.Opened, got.Closed, tt.wantOpened, tt.wantClosedAt)
		}
	}
}
