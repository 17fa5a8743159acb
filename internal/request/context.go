package request

import (
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/muster-id/muster/internal/clause"
	"github.com/muster-id/muster/internal/nhi"
)

// fleeting are the attributes of a request that are hardly ever the same
// twice: to remember a record with one of them is waste.
const fleeting = attrNow | attrAttestation | attrDevice | attrDelegation | attrZones | attrApproval

// addFleeting adds them.
func (s *Shape) addFleeting(f *fields, q *nhi.Question) {
	f.value("now", attrNow, types.NewDatetime(q.At))
	if a := q.Known.Attestation; a != nil {
		if f.uses&attrAttestation != 0 {
			f.m["attestation"] = attestation(a, q.At)
		}
		if f.uses&attrDevice != 0 && a.Device != (nhi.Device{}) {
			f.m["device"] = device(&a.Device)
		}
	}
	if a := q.Known.Approval; a != nil && f.uses&attrApproval != 0 {
		f.m["approval"] = approval(a, q.At)
	}
	if f.uses&attrDelegation != 0 {
		f.m["delegation"] = delegation(q.Subject.Actors)
	}
	if f.uses&attrZones != 0 {
		local := make(types.RecordMap, len(s.zones)+1)
		for _, z := range s.zones {
			local[z.Name] = zoneRecord(z, q.At)
		}
		f.m["zones"] = types.NewRecord(local)
	}
}

func attestation(a *nhi.Attestation, at time.Time) types.Record {
	selectors := make([]types.Value, 0, len(a.Selectors))
	for _, s := range a.Selectors {
		selectors = append(selectors, types.String(s))
	}
	return types.NewRecord(types.RecordMap{
		"method": types.String(a.Method), "age": types.Long(seconds(a.Age(at))), "level": types.Long(a.Level),
		"selectors": types.NewSet(selectors...),
	})
}

// seconds are those of an age. One that has begun counts: 60.1 seconds are not
// at most 60. What is older than a Duration can tell has the greatest, and nothing
// may be added to that.
func seconds(age time.Duration) int64 {
	n := int64(age / time.Second)
	if age%time.Second > 0 {
		n++
	}
	return n
}

func approval(a *nhi.Approval, at time.Time) types.Record {
	by := make([]types.Value, 0, len(a.Votes))
	for i := range a.Votes {
		if a.Votes[i].Yes {
			by = append(by, types.String(a.Votes[i].Person))
		}
	}
	return types.NewRecord(types.RecordMap{
		"id": types.String(a.ID), "by": types.NewSet(by...), "people": types.Long(len(by)),
		"left": types.Long(max(0, a.Expires.Sub(at)/time.Second)),
	})
}

func device(d *nhi.Device) types.Record {
	return types.NewRecord(types.RecordMap{
		"id": types.String(d.ID), "attested": types.Boolean(d.Attested),
		"secureBoot": types.Boolean(d.SecureBoot), "image": types.String(d.Image),
	})
}

func location(l *nhi.Location) types.Record {
	m := make(types.RecordMap, 7)
	for _, part := range [...]struct {
		name types.String
		text string
	}{
		{"provider", l.Provider}, {"account", l.Account}, {"region", l.Region}, {"vpc", l.VPC},
		{"cluster", l.Cluster}, {"namespace", l.Namespace}, {"node", l.Node},
	} {
		if part.text != "" {
			m[part.name] = types.String(part.text)
		}
	}
	return types.NewRecord(m)
}

func delegation(actors []nhi.ID) types.Record {
	set := make([]types.Value, 0, len(actors))
	for _, a := range actors {
		set = append(set, types.NewEntityUID(TypeIdentity, types.String(a)))
	}
	return types.NewRecord(types.RecordMap{"depth": types.Long(len(actors)), "actors": types.NewSet(set...)})
}

// localMinute counts the minutes that the clocks of a zone have shown since their
// 1 January 1970: all that zoneRecord tells.
func localMinute(zone *time.Location, at time.Time) int64 {
	_, offset := at.In(zone).Zone()
	shown := at.Unix() + int64(offset)
	minute := shown / 60
	if shown%60 < 0 {
		minute--
	}
	return minute
}

// zoneRecord is what policies read of the time in a zone.
func zoneRecord(z clause.Zone, at time.Time) types.Record {
	t := at.In(z.At)
	weekday := int64(t.Weekday())
	if weekday == 0 {
		weekday = 7 // ISO 8601: Sunday is the last
	}
	return types.NewRecord(types.RecordMap{
		"minute": types.Long(t.Hour()*60 + t.Minute()), "weekday": types.Long(weekday),
		"date": types.String(t.Format(time.DateOnly)),
	})
}
