// Package activity turns the logs of other systems into [nhi.Event]s and says
// which identity each event belongs to.
//
// Three things happen here, in this order:
//
//   - Framing: one input holds many records, as a JSON object with a list in
//     it, a JSON array, one record a line, several of these one after another,
//     plain or compressed with gzip. Decode finds the records while reading;
//     it never holds more than one record and a read-ahead buffer.
//   - Normalising: a [Format] knows one kind of record and fills an nhi.Event
//     from it. Formats are leaf folders (activity/cloudtrail).
//   - Attributing: an [Attributor] names the identity and the credential that
//     acted, by the same ids that the inventory uses, whoever saw them first.
//
// The rule that shapes the code is that nothing is lost and nothing bad gets
// in. What is no record of the format, or is broken, too large or too deeply
// nested, is handed to the caller with its bytes, its place and the reason,
// and the next record is read. A field that is odd costs that field, never the
// event. Text that does get in is bounded, freed of control characters and
// passed through the caller's redactor, so that a secret pasted into a user
// agent ends there.
//
// Logs are delivered at least once and in no order. [Seen] remembers which
// events were taken in, within fixed memory, so that one event counts once.
package activity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// A Format is one kind of log that can be taken in. It is a value in a leaf
// folder.
type Format struct {
	Name string // as in /receive/logs/{format}
	Doc  string // one line for people: where these logs come from
	// List is the member of a top-level object that holds the records, empty
	// when the format has no such wrapping.
	List string
	// First is the member that records usually begin with. It helps to find
	// the next record after a broken one; empty is allowed.
	First string
	// Open returns the function that reads records for one Decoder. The
	// function is never called concurrently and may keep buffers.
	Open func(*Text, *Options) Record
}

// A Record consumes exactly one value from s and fills ev from it; ev arrives
// with Source, Format and Arrived set. An error means that the value is no
// record of the format; it is shown to people and must not quote the record.
// Errors of s itself are found by the caller.
type Record func(s *jsonscan.Scanner, ev *nhi.Event) error

// Options say how an input is read. The zero value reads with the default
// bounds.
type Options struct {
	Name      string    // of the input in errors: a file or a source
	Source    nhi.ID    // who testifies; copied to every event
	Arrived   time.Time // when the input arrived; also the time of records that have none
	MaxRecord int       // bytes of one record; 0 means 1 MiB
	MaxDepth  int       // nesting of one record; 0 means 64, the most
	MaxTotal  int64     // bytes of the input after decompression; 0 means no bound
	// Redact removes secrets from free text (user agents, error messages,
	// names). Nil leaves text as it is.
	Redact func(string) string
	// Link is told of credentials that a record shows being minted. May be nil.
	Link func(Link)
}

// A Link says that one principal obtained a temporary credential for another:
// an AssumeRole and its answer.
type Link struct {
	Account string        // whose log told it
	KeyID   string        // of the temporary credential
	Target  nhi.Principal // who acts with it: the role
	Caller  nhi.Principal // who asked for it
	At      time.Time
	Expires time.Time // zero when not told
}

// Stats say what one input held.
type Stats struct {
	Events     int   `json:"events"`
	Unparsable int   `json:"unparsable"`
	Bytes      int64 `json:"bytes"` // after decompression
}

// Unparsable is a piece of input that is no record.
type Unparsable struct {
	Name   string // of the input
	Reason string // for people; never quotes the piece
	Offset int64  // of its first byte, after decompression
	Line   int    // of its first byte, from 1
	Size   int64  // of the whole piece
	// Raw is the piece, or its first MaxRecord bytes when Size is larger. It
	// may hold secrets: seal it. It is valid only during the callback.
	Raw []byte
}

// Error describes the place and the reason, without the content.
func (u *Unparsable) Error() string {
	return fmt.Sprintf("%s: line %d, byte %d: %s", u.Name, u.Line, u.Offset, u.Reason)
}

// Decode reads every record of r. It calls event for each record and
// unparsable for each piece that is none, in the order of the input, and
// stops early when one of them returns an error, which it returns as it is.
//
// Otherwise an error means that the input itself ended badly: not JSON at all,
// damaged or cut compression, a list that is never closed, a failed read, too
// many bytes (nhi.ErrTooLarge) or a context that ended. What was readable
// before that has been handed over, and Stats count it. The error names the
// input, line and byte and wraps nhi.ErrInvalid when the input is to blame.
//
// Decode needs memory for about two records of MaxRecord bytes. It is meant
// for files and request bodies; on a pipe it may wait for more input before it
// reports a record that has already arrived.
func (f *Format) Decode(ctx context.Context, r io.Reader, o Options, event func(nhi.Event) error, unparsable func(Unparsable) error) (Stats, error) {
	return NewDecoder(f, o).Decode(ctx, r, event, unparsable)
}

// A Decoder reads inputs of one format, one after another. It keeps its
// buffers and its table of repeated strings between them, so a receiver of
// many small batches holds on to one. It is not for concurrent use.
type Decoder struct {
	// Options may be changed between two calls of Decode, Redact excepted.
	Options Options

	format *Format
	text   *Text
	record Record
	in     input
	scan   jsonscan.Scanner
	ev     nhi.Event

	event      func(nhi.Event) error
	unparsable func(Unparsable) error
	stats      Stats
	list       bool // inside a list
	wrapped    bool // the list is a member of an object
}

// NewDecoder returns a Decoder for f.
func NewDecoder(f *Format, o Options) *Decoder {
	d := &Decoder{Options: o, format: f, text: NewText(o.Redact)}
	d.record = f.Open(d.text, &d.Options)
	return d
}

// Decode reads one input as [Format.Decode] does.
func (d *Decoder) Decode(ctx context.Context, r io.Reader, event func(nhi.Event) error, unparsable func(Unparsable) error) (Stats, error) {
	o := &d.Options
	if o.MaxRecord <= 0 {
		o.MaxRecord = 1 << 20
	}
	if o.Name == "" {
		o.Name = "input"
	}
	d.event, d.unparsable, d.stats = event, unparsable, Stats{}
	d.list, d.wrapped = false, false
	d.in.reset(ctx, o.MaxTotal)
	err := d.in.open(r)
	if err == nil {
		err = d.run()
	}
	d.stats.Bytes = d.in.read
	return d.stats, d.explain(err)
}

// stop carries an error of a callback through, so that it comes out as it
// went in.
type stop struct{ error }

// explain adds the place to errors of the input.
func (d *Decoder) explain(err error) error {
	var s stop
	if err == nil || errors.As(err, &s) {
		return s.error
	}
	return fmt.Errorf("%s: line %d, byte %d: %w", d.Options.Name, d.in.line, d.in.offset, err)
}

// run reads records until the input ends.
func (d *Decoder) run() error {
	for {
		c, err := d.in.peek()
		if err != nil {
			return err
		}
		switch {
		case d.in.empty():
			return d.finish()
		case c == '{':
			err = d.object()
		case c == '[' && !d.list:
			d.in.consume(1)
			d.list, d.wrapped = true, false
		case c == ']' && d.list:
			d.in.consume(1)
			d.list = false
			if d.wrapped {
				err = d.unwrap()
			}
		default:
			err = d.stray()
		}
		if err != nil {
			return err
		}
	}
}

// finish reports how the input ended.
func (d *Decoder) finish() error {
	if err := d.in.err; err != nil && err != io.EOF {
		return err
	}
	if d.list {
		return fmt.Errorf("input ends inside a list: %w", nhi.ErrInvalid)
	}
	return nil
}

// object reads one object: a record, or the wrapping around a list of them.
func (d *Decoder) object() error {
	if !d.list && d.enterList(true) {
		return nil
	}
	var err error
	for {
		d.ev = nhi.Event{Source: d.Options.Source, Format: d.format.Name, Arrived: d.Options.Arrived}
		d.scan.Reset(d.in.unread(), d.Options.MaxDepth)
		err = d.record(&d.scan, &d.ev)
		if d.scan.Err() != jsonscan.ErrShort || len(d.in.unread()) > d.Options.MaxRecord || !d.in.more() {
			break
		}
	}
	size := d.scan.Pos()
	switch {
	case size > d.Options.MaxRecord:
		err = errTooLarge
	case d.scan.Err() == jsonscan.ErrShort && d.in.ended():
		err = errCut
	case d.scan.Err() != nil:
		err = d.scan.Err()
	case err == nil:
		d.in.consume(size)
		d.stats.Events++
		if err := d.event(d.ev); err != nil {
			return stop{err}
		}
		return nil
	}
	if !d.list && d.enterList(false) {
		return nil
	}
	if d.scan.Err() == nil && size <= d.Options.MaxRecord {
		return d.refuse(err, size)
	}
	return d.resync(err, min(size, len(d.in.unread())))
}

var (
	errTooLarge = errors.New("larger than a record may be")
	errCut      = errors.New("input ends inside a record")
)

// enterList enters the format's list when the object that comes next has one,
// and reports whether it did. With first, only the first member is looked at,
// which is where it nearly always is and costs nothing on other objects.
func (d *Decoder) enterList(first bool) bool {
	if d.format.List == "" {
		return false
	}
	for {
		s := &d.scan
		s.Reset(d.in.unread(), d.Options.MaxDepth)
		s.Object()
		for s.Next() {
			if string(s.Key()) == d.format.List && s.Kind() == jsonscan.Array {
				d.in.consume(s.Pos() + 1)
				d.list, d.wrapped = true, true
				return true
			}
			if first && s.Err() == nil {
				return false
			}
			s.Skip()
		}
		if s.Err() != jsonscan.ErrShort || len(d.in.unread()) > d.Options.MaxRecord || !d.in.more() {
			return false
		}
	}
}

// unwrap steps over what follows the list in its object.
func (d *Decoder) unwrap() error {
	for {
		c, err := d.in.peekByte()
		switch {
		case err != nil:
			return err
		case c == '}':
			d.in.consume(1)
			return nil
		case c == ',' || c == ':':
			d.in.consume(1)
		case d.in.empty():
			return fmt.Errorf("input ends inside an object: %w", nhi.ErrInvalid)
		default:
			if err := d.skip(); err != nil {
				return d.resync(err, d.scan.Pos())
			}
			d.in.consume(d.scan.Pos())
		}
	}
}

// skip walks over the next value without consuming it; scan.Pos is its size.
func (d *Decoder) skip() error {
	for {
		d.scan.Reset(d.in.unread(), d.Options.MaxDepth)
		d.scan.Skip()
		// A number or a cut string may go on in what is not read yet.
		short := d.scan.Err() == jsonscan.ErrShort || d.scan.Pos() == len(d.in.unread())
		if !short || len(d.in.unread()) > d.Options.MaxRecord || !d.in.more() {
			break
		}
	}
	if d.scan.Pos() > d.Options.MaxRecord {
		return errTooLarge
	}
	return d.scan.Err()
}

// stray hands over something that is no object: an element of a list, or a
// line that is no JSON.
func (d *Decoder) stray() error {
	err := d.skip()
	if err == nil && d.list {
		return d.refuse(errors.New("an element that is no object"), d.scan.Pos())
	}
	if err == nil || err == jsonscan.ErrShort {
		err = errors.New("text that is no record")
	}
	return d.resync(err, d.scan.Pos())
}

// refuse hands the next size bytes over as unparsable.
func (d *Decoder) refuse(reason error, size int) error {
	raw := d.in.unread()[:size] // stays in place: consuming moves nothing
	return d.handOver(Unparsable{
		Reason: reason.Error(), Offset: d.in.offset, Line: d.in.line, Size: int64(size),
		Raw: raw[:min(size, d.Options.MaxRecord)],
	}, size)
}

// handOver consumes n bytes and calls the caller.
func (d *Decoder) handOver(u Unparsable, n int) error {
	u.Name = d.Options.Name
	d.in.consume(n)
	d.stats.Unparsable++
	if err := d.unparsable(u); err != nil {
		return stop{err}
	}
	return nil
}
