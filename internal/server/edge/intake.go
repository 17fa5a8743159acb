package edge

import (
	"encoding/json"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-id/muster/internal/decision/logbook"
	"github.com/muster-id/muster/internal/feed"
	"github.com/muster-id/muster/internal/journal"
	"github.com/muster-id/muster/internal/nhi"
	storeedge "github.com/muster-id/muster/internal/store/edge"
)

// An Intake is where decisions go that points made. All fields are required.
type Intake struct {
	// Record puts a decision on record. It returns when it is durable.
	Record func(*nhi.Decision) error
	// Read yields the decisions on record behind a place; Last is the last place.
	Read func(from uint64) iter.Seq2[journal.Record, error]
	Last func() uint64
}

// A stream is one journal of a point. Its decisions are taken in order, once.
type stream struct {
	mu   sync.Mutex // guards what follows, and is held while a batch is taken
	gone bool       // it is in no list any more: ask for it anew
	open bool
	at   storeedge.Journal
	done map[string]bool // ids behind at that are on record already
}

// streams are the journals that points report from. The zero value has none.
type streams struct {
	mu sync.Mutex // guards what follows
	of map[nhi.ID]map[string]*stream
}

// take returns a journal of a point, locked. A point has few: of one that names
// more, which takes its key in wrong hands, those are forgotten that nobody waits
// for. How far they came is in the store.
func (s *streams) take(point nhi.ID, journal string) *stream {
	for {
		one := s.get(point, journal)
		one.mu.Lock()
		if !one.gone {
			return one
		}
		one.mu.Unlock()
	}
}

func (s *streams) get(point nhi.ID, journal string) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.of[point]
	if one := all[journal]; one != nil {
		return one
	}
	if len(all) >= storeedge.Journals {
		for name, one := range all {
			if one.mu.TryLock() {
				one.gone = true
				one.mu.Unlock()
				delete(all, name)
			}
		}
	}
	if all == nil {
		all = map[string]*stream{}
	}
	if s.of == nil {
		s.of = map[nhi.ID]map[string]*stream{}
	}
	s.of[point] = all
	all[journal] = &stream{}
	return all[journal]
}

// decisions takes a batch of decisions.
func (h *Hub) decisions(w http.ResponseWriter, r *http.Request, point *nhi.Point) {
	var batch feed.Batch
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, feed.MaxBatch+1<<20)).Decode(&batch)
	if err == nil {
		err = batch.Check()
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "the decisions cannot be read: "+err.Error())
		return
	}
	s := h.taking.take(point.ID, batch.Journal)
	defer s.mu.Unlock()
	if err := h.begin(r, s, point, batch.Journal); err != nil {
		slog.Warn("the decisions of a point cannot be taken at the moment", "point", point.ID, "error", err)
		refuse(w, http.StatusServiceUnavailable, "decisions cannot be recorded at the moment")
		return
	}
	if next := s.at.Shipped + 1; len(batch.Records) > 0 && (batch.First <= next || batch.Lost) {
		if batch.First > next {
			slog.Error("a point no longer has decisions that are not on record here; was this server put back?", "point", point.ID, "decisions", batch.First-next)
		}
		if err := h.take(r, s, point, &batch); err != nil {
			slog.Warn("the decisions of a point could not be recorded; it sends them again", "point", point.ID, "error", err)
			refuse(w, http.StatusServiceUnavailable, "decisions cannot be recorded at the moment")
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(feed.Taken{Next: s.at.Shipped + 1}) // the point asks again
}

// begin reads how far a journal has come, and which decisions behind that a crash
// left on record.
func (h *Hub) begin(r *http.Request, s *stream, point *nhi.Point, id string) error {
	if s.open {
		return nil
	}
	at, err := h.store.Journal(r.Context(), point.ID, id)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	if at.Shipped == 0 && at.Place == 0 { // new: from now on it is known where to look
		at.Place = h.c.Intake.Last()
		if err := h.store.Advance(r.Context(), at, time.Now()); err != nil {
			return err
		}
	}
	for rec, err := range h.c.Intake.Read(at.Place + 1) {
		if errors.Is(err, journal.ErrPruned) {
			break
		}
		if err != nil {
			return err
		}
		if d, err := logbook.Decode(rec.Payload); err == nil && d.Reported && d.Point == point.ID {
			done[d.ID] = true
		}
	}
	s.open, s.at, s.done = true, at, done
	return nil
}

// take puts what is new of a batch on record. After an error some of it is.
func (h *Hub) take(r *http.Request, s *stream, point *nhi.Point, batch *feed.Batch) error {
	var fresh []nhi.Decision
	now := time.Now()
	for i, record := range batch.Records {
		if batch.First+uint64(i) <= s.at.Shipped {
			continue
		}
		d, err := logbook.Decode(record)
		if err != nil || !plausible(d.ID) {
			slog.Error("a point reports what is no decision; it is passed over", "point", point.ID, "record", batch.First+uint64(i))
			continue
		}
		if s.done[d.ID] {
			continue
		}
		reported(&d, point, now)
		fresh = append(fresh, d)
	}
	if err := h.record(s, fresh); err != nil {
		return err
	}
	next := s.at
	next.Shipped = max(next.Shipped, batch.First+uint64(len(batch.Records))-1)
	next.Place = h.c.Intake.Last()
	if err := h.store.Advance(r.Context(), next, now); err != nil {
		return err
	}
	s.at, s.done = next, map[string]bool{}
	return nil
}

// reported makes d what a point may report: it speaks for itself alone, not about
// the future, and of no time that could not be read back.
func reported(d *nhi.Decision, point *nhi.Point, now time.Time) {
	d.Point, d.Reported = point.ID, true
	if d.At.After(now.Add(feed.Skew)) || !told(d.At) {
		d.At = now
	}
}

// record records decisions, many at a time, because the journal syncs those that
// wait together once.
func (h *Hub) record(s *stream, decisions []nhi.Decision) error {
	const together = 64
	var next atomic.Int64
	var workers sync.WaitGroup
	var mu sync.Mutex // guards s.done and failed
	var failed error
	for range min(together, len(decisions)) {
		workers.Go(func() {
			for i := next.Add(1); i <= int64(len(decisions)); i = next.Add(1) {
				d := &decisions[i-1]
				err := h.c.Intake.Record(d)
				mu.Lock()
				if err == nil {
					s.done[d.ID] = true
				} else {
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	return failed
}

// plausible reports whether an id looks like those of decisions (RFC 9562,
// section 5.7).
func plausible(id string) bool {
	if len(id) != 36 || id[14] != '7' {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
