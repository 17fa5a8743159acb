package logbook

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/muster-id/muster/internal/nhi"
)

// maxRecord bounds a record that is read back, in bytes.
const maxRecord = 1 << 20

// Append appends d as JSON to b: what encoding/json would write for an
// nhi.Decision, without reflection, because every decision pays for it.
func Append(b []byte, d *nhi.Decision) []byte {
	b = append(b, `{"id":`...)
	b = appendString(b, d.ID)
	b = append(b, `,"at":"`...)
	b = d.At.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","outcome":`...)
	b = appendString(b, string(d.Outcome))
	b = appendTrue(b, `,"would_refuse":`, d.WouldRefuse)
	b = appendText(b, `,"glass":`, d.Glass)
	if len(d.Obligations) > 0 {
		b = append(b, `,"obligations":[`...)
		for i := range d.Obligations {
			b = appendComma(b, i)
			b = append(b, `{"kind":`...)
			b = appendString(b, string(d.Obligations[i].Kind))
			b = appendText(b, `,"value":`, d.Obligations[i].Value)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = appendReasons(b, d.Reasons)
	b = append(b, `,"generation":`...)
	b = strconv.AppendUint(b, uint64(d.Generation), 10)
	b = append(b, `,"policy":`...)
	b = appendString(b, d.Policy)
	b = append(b, `,"point":`...)
	b = appendString(b, string(d.Point))
	b = appendSubject(b, d)
	b = appendText(b, `,"action":`, string(d.Action))
	b = appendText(b, `,"operation":`, d.Operation)
	b = appendText(b, `,"resource":`, d.Resource)
	b = append(b, `,"sensitivity":`...)
	b = strconv.AppendInt(b, int64(d.Sensitivity), 10)
	if d.Address.IsValid() {
		b = append(b, `,"address":`...)
		b = appendString(b, d.Address.String())
	}
	b = appendText(b, `,"country":`, d.Country)
	if d.ASN != 0 {
		b = append(b, `,"asn":`...)
		b = strconv.AppendUint(b, uint64(d.ASN), 10)
	}
	b = appendText(b, `,"network":`, d.Network)
	b = appendText(b, `,"agent":`, d.Agent)
	b = append(b, `,"risk":`...)
	b = strconv.AppendInt(b, int64(d.Risk), 10)
	b = append(b, `,"surprise":`...)
	b = strconv.AppendInt(b, int64(d.Surprise), 10)
	b = appendFeatures(b, d.Features)
	b = append(b, `,"latency":`...)
	b = strconv.AppendInt(b, int64(d.Latency), 10)
	if d.Inputs != nil {
		b = appendInputs(append(b, `,"inputs":`...), d.Inputs)
	}
	return append(b, '}')
}

func appendSubject(b []byte, d *nhi.Decision) []byte {
	b = appendText(b, `,"identity":`, string(d.Identity))
	b = appendText(b, `,"credential":`, string(d.Credential))
	b = appendText(b, `,"key_id":`, d.KeyID)
	b = appendText(b, `,"method":`, d.Method)
	b = append(b, `,"assurance":`...)
	b = strconv.AppendInt(b, int64(d.Assurance), 10)
	b = appendTrue(b, `,"sender_bound":`, d.SenderBound)
	b = appendTrue(b, `,"asserted":`, d.Asserted)
	b = appendText(b, `,"approval":`, d.Approval)
	b = appendTrue(b, `,"consumer":`, d.Consumer)
	return appendTrue(b, `,"reported":`, d.Reported)
}

func appendReasons(b []byte, reasons []nhi.Reason) []byte {
	if reasons == nil {
		return append(b, `,"reasons":null`...)
	}
	b = append(b, `,"reasons":[`...)
	for i := range reasons {
		r := &reasons[i]
		b = appendComma(b, i)
		b = append(b, `{"policy":`...)
		b = appendString(b, r.Policy)
		b = appendText(b, `,"position":`, r.Position)
		b = append(b, `,"text":`...)
		b = appendString(b, r.Text)
		b = append(b, `,"effect":`...)
		b = appendString(b, r.Effect)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendFeatures(b []byte, features []nhi.Feature) []byte {
	if len(features) == 0 {
		return b
	}
	b = append(b, `,"features":[`...)
	for i := range features {
		f := &features[i]
		b = appendComma(b, i)
		b = append(b, `{"name":`...)
		b = appendString(b, f.Name)
		b = append(b, `,"usual":`...)
		b = appendString(b, f.Usual)
		b = append(b, `,"seen":`...)
		b = appendString(b, f.Seen)
		b = append(b, `,"bits":`...)
		bits := f.Bits
		if math.IsNaN(bits) || math.IsInf(bits, 0) { // JSON has neither
			bits = 0
		}
		b = strconv.AppendFloat(b, bits, 'g', -1, 64)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendComma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func appendTrue(b []byte, name string, v bool) []byte {
	if !v {
		return b
	}
	return append(append(b, name...), "true"...)
}

func appendText(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	return appendString(append(b, name...), v)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string (RFC 8259, section 7). Control
// characters are escaped and bytes that are no UTF-8 replaced, so the line
// stays one line whatever a caller sent.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			if c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[from:i]...)
			b = append(b, "\ufffd"...)
			from = i + 1
		}
		i += size
	}
	return append(append(b, s[from:]...), '"')
}

// Decode reads a record back. Unknown fields are ignored, so that a record of
// the next release can be read. The error wraps nhi.ErrInvalid or
// nhi.ErrTooLarge; an outcome that is not known is an error too.
func Decode(record []byte) (nhi.Decision, error) {
	if len(record) > maxRecord {
		return nhi.Decision{}, fmt.Errorf("decode decision: %d bytes: %w", len(record), nhi.ErrTooLarge)
	}
	var d nhi.Decision
	if err := json.Unmarshal(record, &d); err != nil {
		return nhi.Decision{}, nhi.Invalidf("decode decision: %v", err)
	}
	switch d.Outcome {
	case nhi.Allow, nhi.StepUp, nhi.Deny:
		return d, nil
	}
	return nhi.Decision{}, nhi.Invalidf("decode decision: unknown outcome")
}
