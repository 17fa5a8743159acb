package logbook

import (
	"encoding"
	"fmt"
	"strconv"

	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// recordDepth is more than any record is deep.
const recordDepth = 16

// Outline reads of a record who asked for what, where from, at which point, and
// what the answer was, with the policies that gave it, and how risky and
// surprising it was. What else the answer was judged on stays unread, so it costs
// a fifth of [Decode]: it is for those that follow all decisions. Names are read as [Append] writes them; its errors are
// Decode's.
func Outline(record []byte) (nhi.Decision, error) {
	if len(record) > maxRecord {
		return nhi.Decision{}, fmt.Errorf("outline decision: %d bytes: %w", len(record), nhi.ErrTooLarge)
	}
	var o outline
	o.scan.Reset(record, recordDepth)
	if o.scan.Object() {
		for o.scan.Next() {
			o.field(string(o.scan.Key()))
		}
	}
	err := o.scan.Err()
	if err == nil && !o.scan.End() {
		err = jsonscan.ErrSyntax
	}
	if err == nil {
		err = o.err
	}
	if err != nil {
		return nhi.Decision{}, nhi.Invalidf("outline decision: %v", err)
	}
	switch o.d.Outcome {
	case nhi.Allow, nhi.StepUp, nhi.Deny:
		return o.d, nil
	}
	return nhi.Decision{}, nhi.Invalidf("outline decision: unknown outcome")
}

// An outline is a record being read.
type outline struct {
	scan   jsonscan.Scanner
	d      nhi.Decision
	err    error // of a value that is JSON and not what it should be
	buffer [64]byte
}

func (o *outline) field(name string) {
	switch d := &o.d; name {
	case "id":
		d.ID = o.text()
	case "at":
		o.value(&d.At)
	case "outcome":
		d.Outcome = nhi.Outcome(o.text())
	case "would_refuse":
		d.WouldRefuse = o.truth()
	case "glass":
		d.Glass = o.text()
	case "reasons":
		o.reasons()
	case "point":
		d.Point = nhi.ID(o.text())
	case "identity":
		d.Identity = nhi.ID(o.text())
	case "credential":
		d.Credential = nhi.CredentialID(o.text())
	case "key_id":
		d.KeyID = o.text()
	case "asserted":
		d.Asserted = o.truth()
	case "consumer":
		d.Consumer = o.truth()
	case "action":
		d.Action = nhi.ActionClass(o.text())
	case "operation":
		d.Operation = o.text()
	case "resource":
		d.Resource = o.text()
	case "address":
		o.value(&d.Address)
	case "agent":
		d.Agent = o.text()
	case "risk":
		d.Risk = o.number()
	case "surprise":
		d.Surprise = o.number()
	default:
		o.scan.Skip()
	}
}

func (o *outline) reasons() {
	if !o.scan.Array() {
		return
	}
	for o.scan.More() {
		var r nhi.Reason
		if !o.scan.Object() {
			continue
		}
		for o.scan.Next() {
			if string(o.scan.Key()) == "policy" {
				r.Policy = o.text()
			} else {
				o.scan.Skip()
			}
		}
		o.d.Reasons = append(o.d.Reasons, r)
	}
}

func (o *outline) number() int {
	n, err := strconv.Atoi(string(o.scan.Span()))
	if err != nil && o.err == nil {
		o.err = err
	}
	return n
}

func (o *outline) truth() bool {
	v, _ := o.scan.Bool()
	return v
}

func (o *outline) text() string {
	s, ok := o.scan.Text()
	if !ok {
		return ""
	}
	return string(s.Append(o.buffer[:0]))
}

// value hands the text that comes next to what knows how to read it.
func (o *outline) value(to encoding.TextUnmarshaler) {
	s, ok := o.scan.Text()
	if !ok {
		return
	}
	if err := to.UnmarshalText(s.Append(o.buffer[:0])); err != nil && o.err == nil {
		o.err = err
	}
}
