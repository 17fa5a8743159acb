package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/muster-id/muster/internal/leak"
)

// The walk is a line of jobs, one for each file. The lister puts every job on
// two channels: workers take from one, in any order, and the caller's goroutine
// from the other, in the order of the tree. A job carries a channel of its own
// for results, so the caller waits for the file that is next and for no other.
// Whoever works on that file is never blocked by those behind it.

// A job is one file to read.
type job struct {
	path  string
	named bool // the caller named it: links and pipes are welcome
	done  bool // no worker is needed
	out   chan item
}

func newJob(path string) *job { return &job{path: path, out: make(chan item, 4)} }

// finish puts a result on a job that no worker will touch.
func (j *job) finish(it item) {
	j.done = true
	j.out <- it
	close(j.out)
}

// An item is one result of a job.
type item struct {
	match   *leak.Match
	data    []byte
	release func() // gives data back
	bytes   int64
	count   func(*Summary)
	err     error // the file could not be read (to its end)
}

// readFunc reads one text file and sends what it finds.
type readFunc func(*worker, *job, *reader) error

// A worker reads files, one at a time.
type worker struct {
	ctx   context.Context
	read  readFunc
	head  []byte
	buf   leak.Buffer
	parts chan []byte // free parts, for Walk
}

// ahead is how many files may be listed before the first of them is done.
const ahead = 64

func walk(ctx context.Context, root string, o Options, read readFunc, take func(string, item) error) (Summary, error) {
	if _, err := os.Stat(root); err != nil {
		return Summary{}, readError(err)
	}
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()

	todo, ordered := make(chan *job, ahead), make(chan *job, ahead)
	wg.Go(func() {
		defer close(ordered)
		defer close(todo)
		l := lister{ctx: ctx, emit: func(j *job) bool {
			if !j.done && !send(ctx, todo, j) {
				return false
			}
			return send(ctx, ordered, j)
		}}
		l.list(root)
	})
	workers := o.Workers
	if workers <= 0 {
		workers = 2
	}
	for range workers {
		w := &worker{ctx: ctx, read: read, head: make([]byte, headSize), parts: make(chan []byte, 2)}
		w.parts <- nil
		w.parts <- nil
		wg.Go(func() { w.run(todo) })
	}
	return collect(ctx, root, o, ordered, take)
}

func send[T any](ctx context.Context, to chan<- T, v T) bool {
	select {
	case to <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

// collect takes the results in order and adds them up.
func collect(ctx context.Context, root string, o Options, ordered <-chan *job, take func(string, item) error) (Summary, error) {
	var sum Summary
	for j := range ordered {
		name, failed, counted := Printable(j.path), false, false
		for it := range j.out {
			sum.Bytes += it.bytes
			if it.count != nil {
				it.count(&sum)
				counted = true
			}
			if it.err != nil {
				failed = true
				sum.Failed++
				if o.Failed != nil {
					o.Failed(it.err)
				}
			}
			if err := take(name, it); err != nil {
				return sum, err
			}
		}
		if ctx.Err() != nil {
			break
		}
		if !failed && !counted {
			sum.Files++
		}
		if o.Progress != nil {
			o.Progress(sum.Files, sum.Bytes)
		}
	}
	if err := ctx.Err(); err != nil {
		return sum, fmt.Errorf("scan %s: %w", Printable(root), err)
	}
	return sum, nil
}

// run works until there are no more jobs or the walk was ended. It closes every
// job that it takes.
func (w *worker) run(todo <-chan *job) {
	defer func() {
		w.buf.Wipe()
		clear(w.head)
	}()
	for j := range todo {
		if w.ctx.Err() == nil {
			if err := w.file(j); err != nil {
				w.send(j, item{err: readError(err)})
			}
		}
		close(j.out)
	}
}

// send passes a result on. It reports false if the walk was ended.
func (w *worker) send(j *job, it item) bool { return send(w.ctx, j.out, it) }

// file reads one file, unless it turns out to be no text.
func (w *worker) file(j *job) error {
	f, size, err := open(j.path, j.named)
	if errors.Is(err, errSpecial) {
		w.send(j, item{count: func(s *Summary) { s.Special++ }})
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := readHead(f, w.head, size)
	if err != nil {
		return err
	}
	head := w.head[:n]
	if isBinary(head) {
		w.send(j, item{bytes: int64(n), count: func(s *Summary) { s.Binaries++ }})
		return nil
	}
	r := &reader{head: head}
	if int64(n) != size {
		r.rest = f
	}
	if err := w.read(w, j, r); err != nil {
		return fmt.Errorf("read %s: %w", Printable(j.path), err)
	}
	return nil
}

// readHead fills head as far as the file goes. A size above zero is believed,
// which saves asking for the end; files of /proc say zero.
func readHead(f io.Reader, head []byte, size int64) (int, error) {
	n := 0
	for n < len(head) && (size <= 0 || int64(n) < size) {
		k, err := f.Read(head[n:])
		n += k
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readParts is the readFunc of Walk.
func readParts(w *worker, j *job, r *reader) error {
	var part, last []byte
	for {
		select {
		case part = <-w.parts:
		case <-w.ctx.Done():
			return nil
		}
		part = append(part[:0], last[max(0, len(last)-Overlap):]...)
		carried := len(part)
		var err error
		part, err = fill(r, part)
		end := errors.Is(err, io.EOF)
		if err != nil && !end || len(part) == carried {
			w.parts <- part
			if end {
				return nil
			}
			return err
		}
		mine := part
		sent := w.send(j, item{
			data: mine, bytes: int64(len(part) - carried),
			release: func() { w.parts <- mine },
		})
		if !sent || end {
			return nil
		}
		last = part
	}
}

// fill reads until part holds PartSize bytes.
func fill(r io.Reader, part []byte) ([]byte, error) {
	for len(part) < PartSize {
		if len(part) == cap(part) {
			grown := make([]byte, len(part), min(PartSize, max(headSize, 4*cap(part))))
			copy(grown, part)
			part = grown
		}
		n, err := r.Read(part[len(part):min(cap(part), PartSize)])
		part = part[:len(part)+n]
		if err != nil {
			return part, err
		}
	}
	return part, nil
}
