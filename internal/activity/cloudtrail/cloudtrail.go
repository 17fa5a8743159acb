// Package cloudtrail reads AWS CloudTrail records: the files that CloudTrail
// delivers to S3 ({"Records": [...]}), lines of single records, the answers
// of lookup-events, EventBridge messages that carry one in "detail", and
// exports from SQL engines, whose names are in lower case.
//
// Only the fields that an event needs are taken. Request parameters and
// response elements, where secrets and personal data lie, are looked at for
// the name of the resource, for the result of a console sign-in and for the
// public id of a key that a call minted, and for nothing else.
//
// The word of the record for who acted (userIdentity) is normalised to the
// identity that lives on: for an assumed role that is the role with its own
// immutable id, not the session. Who stood behind it is kept in
// Principal.Chain, outermost first: the source identity, the person of
// IAM Identity Center, the web identity, the calling service.
package cloudtrail

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/muster-id/muster/internal/activity"
	"github.com/muster-id/muster/internal/jsonscan"
	"github.com/muster-id/muster/internal/nhi"
)

// Format is what the product knows about CloudTrail.
var Format = &activity.Format{
	Name:  "cloudtrail",
	Doc:   "AWS CloudTrail: files of a trail, lookups, EventBridge messages",
	List:  "Records",
	First: "eventVersion",
	Open:  open,
}

// errNotCloudTrail says why a well-formed object was not taken.
var errNotCloudTrail = errors.New("no CloudTrail record: eventName with eventSource or userIdentity is needed")

type span = jsonscan.Span

// A reader fills events from records. It is reused for every record.
type reader struct {
	text *activity.Text
	o    *activity.Options
	last time.Time // of the record before: the time of one that has none
	day  dayCache
	rec  record
	ev   *nhi.Event
}

// A record holds the spans of one record until all of it has been seen, since
// members come in any order.
type record struct {
	source, name, time, id, region, account, address, agent span
	errorCode, errorMessage, kind, consoleResult            span
	epoch                                                   []byte
	readOnly, readOnlySet, fromConsole                      bool
	identity, detail                                        bool // the member is there and is an object
	detailAt                                                [2]int
	resource                                                span
	param                                                   parameter
	user                                                    userIdentity
	minted                                                  minted
}

func open(t *activity.Text, o *activity.Options) activity.Record {
	return (&reader{text: t, o: o}).read
}

// read is an activity.Record.
func (r *reader) read(s *jsonscan.Scanner, ev *nhi.Event) error {
	s.Kind() // to the first byte of the value
	from := s.Pos()
	r.rec, r.ev = record{}, ev
	r.members(s)
	if s.Err() != nil {
		return nil // the caller looks
	}
	raw := s.Data(from, s.Pos())
	if rec := &r.rec; len(rec.name.Raw) == 0 && rec.detail {
		// An EventBridge message: its outside repeats what is inside.
		raw = s.Data(rec.detailAt[0], rec.detailAt[1])
		var inner jsonscan.Scanner
		inner.Reset(raw, 0)
		r.rec = record{}
		r.members(&inner)
	}
	if len(r.rec.name.Raw) == 0 || (len(r.rec.source.Raw) == 0 && !r.rec.identity) {
		return errNotCloudTrail
	}
	r.normalise(raw)
	return nil
}

// members collects the spans of one record.
func (r *reader) members(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	rec := &r.rec
	for s.Next() {
		switch string(s.Key()) {
		case "eventName", "eventname":
			rec.name, _ = s.Text()
		case "eventSource", "eventsource":
			rec.source, _ = s.Text()
		case "eventTime", "eventtime":
			rec.when(s)
		case "eventID", "eventid":
			rec.id, _ = s.Text()
		case "eventType", "eventtype":
			rec.kind, _ = s.Text()
		case "awsRegion", "awsregion":
			rec.region, _ = s.Text()
		case "recipientAccountId", "recipientaccountid":
			rec.account = digits(s)
		case "sourceIPAddress", "sourceipaddress":
			rec.address, _ = s.Text()
		case "userAgent", "useragent":
			rec.agent, _ = s.Text()
		case "errorCode", "errorcode":
			rec.errorCode, _ = s.Text()
		case "errorMessage", "errormessage":
			rec.errorMessage, _ = s.Text()
		case "readOnly", "readonly":
			rec.readOnly, rec.readOnlySet = boolean(s)
		case "sessionCredentialFromConsole", "sessioncredentialfromconsole":
			rec.fromConsole, _ = boolean(s)
		case "userIdentity", "useridentity":
			rec.identity = rec.user.read(s)
		case "resources":
			rec.resources(s)
		case "requestParameters", "requestparameters":
			rec.param.read(s)
		case "responseElements", "responseelements":
			rec.response(s)
		case "detail":
			rec.detail = s.Kind() == jsonscan.Object
			rec.detailAt[0] = s.Pos()
			s.Skip()
			rec.detailAt[1] = s.Pos()
		default:
			s.Skip()
		}
	}
}

// when takes a time that is text or a number of seconds or milliseconds.
func (rec *record) when(s *jsonscan.Scanner) {
	if s.Kind() == jsonscan.Number {
		rec.epoch = s.Span()
		return
	}
	rec.time, _ = s.Text()
}

// digits takes an account number, which some exports write as a number.
func digits(s *jsonscan.Scanner) span {
	if s.Kind() == jsonscan.Number {
		return span{Raw: s.Span()}
	}
	t, _ := s.Text()
	return t
}

// boolean takes a boolean, which some records write as text.
func boolean(s *jsonscan.Scanner) (value, ok bool) {
	if s.Kind() == jsonscan.String {
		t, _ := s.Text()
		return string(t.Raw) == "true", string(t.Raw) == "true" || string(t.Raw) == "false"
	}
	return s.Bool()
}

// resources takes the first resource that has an ARN.
func (rec *record) resources(s *jsonscan.Scanner) {
	if !s.Array() {
		return
	}
	for s.More() {
		if !s.Object() {
			continue
		}
		for s.Next() {
			key := s.Key()
			if len(rec.resource.Raw) == 0 && (string(key) == "ARN" || string(key) == "arn") {
				rec.resource, _ = s.Text()
				continue
			}
			s.Skip()
		}
	}
}

// response takes the result of a sign-in and the key that a call minted.
func (rec *record) response(s *jsonscan.Scanner) {
	if !s.Object() {
		return
	}
	for s.Next() {
		switch string(s.Key()) {
		case "ConsoleLogin", "SwitchRole", "consolelogin":
			rec.consoleResult, _ = s.Text()
		case "credentials":
			rec.minted.credentials(s)
		case "assumedRoleUser":
			rec.minted.role(s)
		default:
			s.Skip()
		}
	}
}

// normalise fills the event from the collected spans.
func (r *reader) normalise(raw []byte) {
	rec, ev, t := &r.rec, r.ev, r.text
	ev.Provider = "aws"
	ev.Time = r.time(rec)
	ev.Service = t.Free(rec.source, activity.Word)
	ev.Operation = operation(t.Free(rec.name, activity.Word))
	ev.Region = t.Free(rec.region, activity.Word)
	ev.Address = t.Address(rec.address)
	ev.Agent = t.Free(trimAgent(rec.agent), activity.Line)
	ev.Account = t.ID(rec.account, activity.Word)
	r.principal()
	if ev.Account == "" {
		ev.Account = ev.Principal.Account
	}
	ev.Class = Class(ev.Service, ev.Operation, rec.readOnlySet && rec.readOnly)
	ev.Resource = r.resource()
	r.status()
	if ev.ID = t.Unique(rec.id, activity.Word); ev.ID == "" {
		// Without an id of its own a record is known by its bytes.
		ev.ID = nhi.DerivedID("raw_", string(raw))
	}
	r.link()
}

// status says whether the call succeeded. A console sign-in tells that only
// in its response.
func (r *reader) status() {
	rec, ev, t := &r.rec, r.ev, r.text
	ev.Status = nhi.Success
	if len(rec.errorCode.Raw) > 0 {
		ev.Status, ev.Error = nhi.Failure, t.Free(rec.errorCode, activity.Word)
		return
	}
	failed := string(rec.consoleResult.Raw) == "Failure"
	if failed || len(rec.errorMessage.Raw) > 0 {
		ev.Status, ev.Error = nhi.Failure, t.Free(rec.errorMessage, activity.Word)
	}
}

// operation removes the version that some services append to their verbs:
// UpdateFunctionCode20150331v2, CreateDistribution2020_05_31.
func operation(name string) string {
	end := len(name)
	if i := strings.LastIndexByte(name, 'v'); i > 0 && i >= end-3 && i+1 < end && numeric(name[i+1:]) {
		end = i
	}
	start := end
	for start > 0 && (name[start-1] == '_' || name[start-1]-'0' <= 9) {
		start--
	}
	if n := end - start; n >= 8 && n <= 10 && start > 0 && strings.HasPrefix(name[start:], "20") {
		return name[:start]
	}
	return name
}

func numeric(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// trimAgent removes the square brackets that some services put around the
// caller's user agent.
func trimAgent(a span) span {
	if n := len(a.Raw); n > 2 && a.Raw[0] == '[' && a.Raw[n-1] == ']' {
		a.Raw = bytes.TrimSpace(a.Raw[1 : n-1])
	}
	return a
}
