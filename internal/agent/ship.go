package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/journal"
)

// shipping is how far the decisions of this point have been reported.
type shipping struct {
	id string // of the journal

	mu    sync.Mutex // guards what follows
	next  uint64     // number of the record to send next; 0: the server was not asked yet
	err   error      // of the last attempt
	since time.Time  // when attempts began to fail; zero: they do not
}

// open gives the journal its name. An empty journal gets a new one: its numbers
// begin anew.
func (s *shipping) open(dir string, j *journal.Journal) error {
	path := filepath.Join(dir, "decisions.id")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the name of the journal: %w", err)
	}
	if s.id = strings.TrimSpace(string(text)); j.Last().Seq > 0 && s.id != "" {
		return nil
	}
	s.id = feed.NewInstance()
	if err := (&disk{dir: dir}).write("decisions.id", []byte(s.id+"\n")); err != nil {
		return fmt.Errorf("name the journal: %w", err)
	}
	return nil
}

// left is how many decisions are not reported, as far as that is known.
func (s *shipping) left(j *journal.Journal) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return j.Last().Seq + 1 - min(max(s.next, j.First()), j.Last().Seq+1)
}

func (s *shipping) note(next uint64, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = err; err == nil {
		s.next, s.since = next, time.Time{}
	} else if s.since.IsZero() {
		s.since = now
	}
}

// ship sends decisions to the server as they are made, and all that wait when it
// comes back, until ctx ends.
func (a *Agent) ship(ctx context.Context) error {
	retry := firstRetry
	var next uint64 // 0: the server knows
	var at journal.Position
	for ctx.Err() == nil {
		after, place, err := a.report(ctx, next, at)
		a.shipping.note(after, err, time.Now())
		if err != nil {
			next, at = 0, journal.Position{}
			pause(ctx, retry/2+rand.N(retry))
			retry = min(2*retry, lastRetry)
			continue
		}
		retry, next, at = firstRetry, after, place
		if next > a.journal.Last().Seq {
			a.rest(ctx)
		}
	}
	return nil
}

// rest waits for a decision, and forgets those that were reported.
func (a *Agent) rest(ctx context.Context) {
	if cut, err := a.journal.Outdated(time.Now().Add(-time.Hour), maxTail, a.journal.Last().Seq); err == nil && cut.Segments > 0 {
		if err := a.journal.Prune(cut.First); err != nil {
			slog.Warn("decisions that were reported could not be removed", "error", err)
		}
	}
	tick := time.NewTimer(time.Minute)
	defer tick.Stop()
	select {
	case <-ctx.Done():
		return
	case <-tick.C:
	case <-a.decided:
		pause(ctx, idle) // others may come with it, and the disk may not have it yet
	}
}

// report sends the decisions from number next on, as many as fit, and returns the
// number that comes next. at is the place of the one before it, if that is known.
func (a *Agent) report(ctx context.Context, next uint64, at journal.Position) (uint64, journal.Position, error) {
	b := feed.Batch{Journal: a.shipping.id}
	if next > 0 {
		if first := a.journal.First(); next < first {
			b.Lost, next = true, first
		}
		b.First = next
		var err error
		if at, err = a.batch(&b, at); err != nil {
			return 0, at, err
		}
	}
	if next > 0 && len(b.Records) == 0 {
		return next, at, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	res, err := a.post(ctx, feed.DecisionsPath, &b)
	if err != nil {
		return 0, at, fmt.Errorf("report decisions: %w", err)
	}
	defer res.Body.Close()
	var taken feed.Taken
	if err := json.NewDecoder(io.LimitReader(res.Body, 4096)).Decode(&taken); err != nil || taken.Next == 0 {
		return 0, at, fmt.Errorf("report decisions: %s does not say how far it came", a.server.Host)
	}
	if taken.Next != b.First+uint64(len(b.Records)) {
		at = journal.Position{} // it looks for itself
	}
	if end := a.journal.Last().Seq + 1; taken.Next > end {
		return 0, at, fmt.Errorf("report decisions: %s has %d of this journal, which has %d: were two points started on copies of one data folder?", a.server.Host, taken.Next-1, end-1)
	}
	return taken.Next, at, nil
}

// batch fills b with records from number b.First on, and returns the place of the
// last one.
func (a *Agent) batch(b *feed.Batch, at journal.Position) (journal.Position, error) {
	records := a.journal.Read(b.First)
	if at.Seq > 0 && at.Seq+1 == b.First {
		records = a.journal.ReadAfter(at)
	}
	size := 0
	for rec, err := range records {
		if err != nil {
			return journal.Position{}, fmt.Errorf("read decisions to report: %w", err)
		}
		if size += len(rec.Payload); len(b.Records) == feed.MaxRecords || size > feed.MaxBatch && len(b.Records) > 0 {
			break
		}
		b.Records = append(b.Records, json.RawMessage(rec.Payload))
		at = rec.Position
	}
	return at, nil
}
