package breakglass

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/nhi"
)

// Longest is for how long a code opens a point at most.
const Longest = 60 * time.Minute

// Errors of Open.
var (
	ErrWrong = errors.New("the two halves open nothing here")
	ErrUsed  = errors.New("this code was used before; a code opens once")
	ErrOften = errors.New("too many wrong tries; wait a quarter of an hour")
)

const (
	triesKept = 15 * time.Minute
	triesMost = 5
	maxReason = 500      // bytes
	maxFile   = 16 << 20 // bytes
	version   = 1
	seenEvery = 60 * 60 // seconds by which seen has moved when it is written down
)

// An Opening is one use of a code.
type Opening struct {
	Serial string        `json:"serial"`
	Reason string        `json:"reason"`
	Opened time.Time     `json:"opened"`
	For    time.Duration `json:"for"`  // nanoseconds
	Told   bool          `json:"told"` // the server knows all of it
	// Spent is how much of For was over when that was last written down: a clock
	// that is set back does not give it back.
	Spent  time.Duration `json:"spent"`
	Closed time.Time     `json:"closed,omitzero"` // when it was over, or ended early
	// Allowed is how many requests it let pass, at least: those of the last
	// seconds before a crash are not in it.
	Allowed int64 `json:"allowed"`
}

// Until is when it ends by the clock.
func (o *Opening) Until() time.Time { return o.Opened.Add(o.For) }

// era is before any opening: a clock that tells less was never set.
var era = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// At returns the opening by the clock of whoever is told of it at now: what the
// clock of a point that is ahead calls tomorrow has been, and what one that was
// never set calls 1970 has been of late. Opened as the point
// says it, and not this one, tells one opening of a code from another: it is the
// same each time that the point tells.
func (o Opening) At(now time.Time) Opening {
	ran := o.Closed.Sub(o.Opened)
	if o.Closed.IsZero() || ran < 0 || ran > o.For+time.Minute { // or the clock was set meanwhile
		ran = 0
	}
	over := now
	if !o.Closed.Before(era) && o.Closed.Before(now) {
		over = o.Closed
	}
	if o.Opened.Add(ran).After(now) {
		o.Opened = now.Add(-ran)
	} else if o.Opened.Before(era) {
		o.Opened = over.Add(-ran)
	}
	if !o.Closed.IsZero() {
		o.Closed = over
	}
	return o
}

// A Box is what one point remembers of codes. All methods may be called
// concurrently.
type Box struct {
	path string

	open atomic.Pointer[running]
	seen atomic.Int64 // the latest time that somebody else vouched for, Unix seconds

	counting sync.Mutex // guards what follows; taken last
	allowed  map[string]int64

	mu    sync.Mutex // guards what follows, and the file
	used  []Opening
	tries []time.Time // of late that were wrong
	noted int64       // what is written down of seen
}

// running is an opening with the clock that cannot be set.
type running struct {
	Opening
	since time.Time // monotonic; Spent was over then
}

func (r *running) left(now time.Time) time.Duration {
	return min(r.For-r.Spent-now.Sub(r.since), r.Until().Sub(now))
}

type saved struct {
	Version int       `json:"version"`
	Used    []Opening `json:"used"`
	Seen    int64     `json:"seen,omitempty"` // as in Box
}

// Load reads the Box that lies in the file at path; one that is not there is
// empty. A file that cannot be read is an error: it may hold a code that was
// used.
func Load(path string) (*Box, error) {
	b := &Box{path: path, allowed: map[string]int64{}}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which codes were used: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() > maxFile {
		return nil, fmt.Errorf("read which codes were used: %s is not what was written: %w", path, errors.Join(err, nhi.ErrInvalid))
	}
	var s saved
	if err := json.NewDecoder(f).Decode(&s); err != nil || s.Version != version {
		return nil, fmt.Errorf("read which codes were used: %s is not what was written (version %d): %w", path, s.Version, errors.Join(err, nhi.ErrInvalid))
	}
	b.used, b.noted = s.Used, s.Seen
	b.seen.Store(s.Seen)
	for _, o := range s.Used {
		b.allowed[o.Serial] = o.Allowed
		if o.Closed.IsZero() {
			b.open.Store(&running{Opening: o, since: time.Now()})
		}
	}
	return b, nil
}

// Open opens the point for d by two halves, in any order, of one of codes. It
// returns when that is on disk. The error wraps ErrSlip, ErrWrong, ErrUsed,
// ErrOften, nhi.ErrInvalid for what else is asked, or says that it could not be
// written down: then the point is as it was. A point that is open is open anew
// from now.
func (b *Box) Open(codes []nhi.GlassCode, halves [2]string, d time.Duration, reason string) (Opening, error) {
	now := time.Now()
	switch {
	case d <= 0 || d > Longest:
		return Opening{}, nhi.Invalidf("open for %v: at most %v, and more than nothing", d, Longest)
	case reason == "" || len(reason) > maxReason:
		return Opening{}, nhi.Invalidf("give a reason of at most %d bytes: it is what people will read", maxReason)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.exhausted(now) {
		return Opening{}, ErrOften
	}
	var verifiers [2][sha256.Size]byte
	for i, half := range halves {
		var err error
		if verifiers[i], err = Verifier(half); err != nil {
			return Opening{}, fmt.Errorf("half %d: %w", i+1, err)
		}
	}
	code, ok := find(codes, verifiers)
	if !ok || !b.latest(now).Before(code.Expires) {
		b.tries = append(b.tries, now)
		return Opening{}, ErrWrong
	}
	for i := range b.used {
		if b.used[i].Serial == code.Serial {
			b.tries = append(b.tries, now)
			return Opening{}, ErrUsed
		}
	}
	o := Opening{Serial: code.Serial, Reason: reason, Opened: now.UTC().Round(0), For: d}
	used := b.over(now)
	if err := b.save(append(used, o)); err != nil {
		return Opening{}, err
	}
	b.used = append(used, o)
	b.open.Store(&running{Opening: o, since: now})
	return o, nil
}

// Seen says that it was at least this late once, by the word of somebody whose
// clock is not this machine's: setting that back does not bring back a code that
// has expired, after a restart neither, once Note wrote it down.
func (b *Box) Seen(at time.Time) {
	for {
		before := b.seen.Load()
		if at.Unix() <= before || b.seen.CompareAndSwap(before, at.Unix()) {
			return
		}
	}
}

// latest is the latest time that is known of. It needs mu.
func (b *Box) latest(now time.Time) time.Time {
	for i := range b.used {
		for _, at := range [...]time.Time{b.used[i].Opened, b.used[i].Closed} {
			if at.After(now) {
				now = at
			}
		}
	}
	if at := time.Unix(b.seen.Load(), 0); at.After(now) {
		return at
	}
	return now
}

// Passed counts a request that a code let pass.
func (b *Box) Passed(serial string) {
	b.counting.Lock()
	defer b.counting.Unlock()
	b.allowed[serial]++
}

// count returns the openings with what each has let pass.
func (b *Box) count(used []Opening) []Opening {
	b.counting.Lock()
	defer b.counting.Unlock()
	out := append([]Opening(nil), used...)
	for i := range out {
		out[i].Allowed = b.allowed[out[i].Serial]
	}
	return out
}

// find returns the code whose halves have these verifiers. It looks at all of
// them, whatever it finds.
func find(codes []nhi.GlassCode, v [2][sha256.Size]byte) (found nhi.GlassCode, ok bool) {
	for _, c := range codes {
		straight := subtle.ConstantTimeCompare(c.First, v[0][:]) & subtle.ConstantTimeCompare(c.Second, v[1][:])
		crossed := subtle.ConstantTimeCompare(c.First, v[1][:]) & subtle.ConstantTimeCompare(c.Second, v[0][:])
		if straight|crossed == 1 && subtle.ConstantTimeCompare(c.First, c.Second) == 0 {
			found, ok = c, true
		}
	}
	return found, ok
}

// exhausted forgets old tries and reports whether there are too many. It needs mu.
func (b *Box) exhausted(now time.Time) bool {
	for len(b.tries) > 0 && now.Sub(b.tries[0]) > triesKept {
		b.tries = b.tries[1:]
	}
	return len(b.tries) >= triesMost
}

// Now returns the opening that is on, false when the point is not open.
func (b *Box) Now(now time.Time) (Opening, bool) {
	r := b.running(now)
	if r == nil {
		return Opening{}, false
	}
	o := r.Opening
	b.counting.Lock()
	defer b.counting.Unlock()
	o.Allowed = b.allowed[o.Serial]
	return o, true
}

// Serial returns the serial of the code that the point is open by, empty when it
// is not open. Decisions ask it: it takes no lock.
func (b *Box) Serial(now time.Time) string {
	if r := b.running(now); r != nil {
		return r.Serial
	}
	return ""
}

// Left is for how long the point is still open; zero when it is not.
func (b *Box) Left(now time.Time) time.Duration {
	if r := b.running(now); r != nil {
		return r.left(now)
	}
	return 0
}

// Used reports whether a code was used here.
func (b *Box) Used(serial string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.used {
		if b.used[i].Serial == serial {
			return true
		}
	}
	return false
}

// running returns what is on, nil when nothing is.
func (b *Box) running(now time.Time) *running {
	r := b.open.Load()
	if r == nil || r.left(now) <= 0 || now.Before(r.Opened.Add(-time.Minute)) {
		return nil
	}
	return r
}

// Note writes down how much of an opening is over, and that it is when it is, and
// each hour how late it is at least.
// Call it every some seconds while the point runs.
func (b *Box) Note(now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.open.Load()
	if r == nil {
		if b.seen.Load()-b.noted < seenEvery {
			return nil
		}
		return b.save(b.used)
	}
	next := &running{Opening: r.Opening, since: now}
	next.Spent += max(0, now.Sub(r.since))
	_, on := b.Now(now)
	if !on {
		next.Closed = now.UTC().Round(0)
	}
	used := b.with(next.Opening)
	if err := b.save(used); err != nil {
		return err
	}
	b.used = used
	if on {
		b.open.Store(next)
	} else {
		b.open.Store(nil)
	}
	return nil
}

// Close ends the opening that is on before its time.
func (b *Box) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	used := b.over(now)
	b.open.Store(nil) // even if it cannot be written down
	if err := b.save(used); err != nil {
		return err
	}
	b.used = used
	return nil
}

// over returns the openings, the one that is on ended. It needs mu.
func (b *Box) over(now time.Time) []Opening {
	out := append([]Opening(nil), b.used...)
	for i := range out {
		if out[i].Closed.IsZero() {
			out[i].Closed = now.UTC().Round(0)
		}
	}
	return out
}

// with returns the openings with o in its place. It needs mu.
func (b *Box) with(o Opening) []Opening {
	out := append([]Opening(nil), b.used...)
	for i := range out {
		if out[i].Serial == o.Serial {
			o.Told = out[i].Told
			out[i] = o
		}
	}
	return out
}

// Untold returns the openings that the server does not know all of yet.
func (b *Box) Untold() []Opening {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Opening
	for _, o := range b.count(b.used) {
		if !o.Told {
			out = append(out, o)
		}
	}
	return out
}

// Told writes down that the server knows all of a code's use, its end with it.
func (b *Box) Told(serial string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	used := append([]Opening(nil), b.used...)
	for i := range used {
		used[i].Told = used[i].Told || used[i].Serial == serial
	}
	if err := b.save(used); err != nil {
		return err
	}
	b.used = used
	return nil
}

// save makes used durable, or leaves what was there. It needs mu.
func (b *Box) save(used []Opening) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write down which codes were used: %w", err)
		}
	}()
	seen := b.seen.Load()
	text, err := json.Marshal(saved{Version: version, Used: b.count(used), Seen: seen})
	if err != nil {
		return err
	}
	dir := filepath.Dir(b.path)
	f, err := os.CreateTemp(dir, ".break-glass-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), b.path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	b.noted = seen
	return errors.Join(d.Sync(), d.Close())
}
