package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/nhi"
	"github.com/muster-id/muster/internal/usage"
)

// byTime is the order of usage. It has parameters instead of a filter.
var byTime = &filter.Language{List: "usage", Order: "start", Fields: []filter.Field{{Name: "start", Kind: filter.Time, Doc: "begin of the bucket", Order: true}}}

// UsageQuery asks for usage.
type UsageQuery struct {
	From         time.Time `query:"from" doc:"first bucket; absent: 24 hours before to, or 30 days with bucket=day"`
	To           time.Time `query:"to" doc:"end, not included; absent: now"`
	Bucket       string    `query:"bucket" enum:"hour,day" default:"hour" doc:"what one row covers, in UTC"`
	By           string    `query:"by" maxLength:"100" doc:"what rows are told apart by: some of identity, environment, service, region, jurisdiction, outcome and team, with commas between"`
	Identity     string    `query:"identity" maxLength:"64" doc:"only this one"`
	Environment  string    `query:"environment" maxLength:"100" doc:"only this one"`
	Service      string    `query:"service" maxLength:"100" doc:"only this one"`
	Region       string    `query:"region" maxLength:"100" doc:"only this one"`
	Jurisdiction string    `query:"jurisdiction" maxLength:"100" doc:"only this one"`
	Basis        string    `query:"jurisdiction_basis" enum:",exact,region,address" doc:"only jurisdictions that are known so"`
	Outcome      string    `query:"outcome" enum:",allow,step-up,deny,success,failure" doc:"only this one"`
	Team         string    `query:"team" maxLength:"100" doc:"only identities that this team answers for today: payments, without team:"`
	Limit        int       `query:"limit" minimum:"1" maximum:"1000" default:"500" doc:"rows of a page"`
	PageToken    string    `query:"page_token" maxLength:"8192" doc:"next_page_token of the page before, with the same question"`
}

func (s *server) usage(h huma.API) {
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/usage", "get-usage", "usage", "Count calls and requests by hour or day"),
		s.getUsage)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/refusals", "list-refusals", "usage", "List who was not let in, the newest first"),
		s.listRefusals)
}

func (s *server) getUsage(ctx context.Context, in *UsageQuery) (*frame.Body[client.Usage], error) {
	q, err := s.Read(byTime, frame.ListQuery{Limit: in.Limit, PageToken: in.PageToken}, in.From.String(), in.To.String(), in.Bucket, in.By,
		in.Identity, in.Environment, in.Service, in.Region, in.Jurisdiction, in.Basis, in.Outcome, in.Team)
	if err != nil {
		return nil, frame.Fail(err)
	}
	ask := usage.Query{
		From: in.From, To: in.To, Bucket: time.Hour, Within: frame.Within(ctx), Limit: cmp.Or(in.Limit, 500),
		Only: usage.Key{
			Identity: nhi.ID(in.Identity), Environment: in.Environment, Service: in.Service, Region: in.Region, Jurisdiction: in.Jurisdiction,
			Basis: usage.Basis(in.Basis), Outcome: in.Outcome, Team: in.Team,
		},
	}
	if !q.First() {
		ask.After = &usage.Key{}
		if err := json.Unmarshal([]byte(q.From.Text), ask.After); err != nil {
			return nil, frame.Fail(nhi.Invalidf("page_token is one of another release; begin again without it"))
		}
	}
	span := 24 * time.Hour
	if in.Bucket == "day" {
		ask.Bucket, span = 24*time.Hour, 30*24*time.Hour
	}
	if ask.To.IsZero() {
		ask.To = time.UnixMicro(q.From.At) // of the first page
	}
	if ask.From.IsZero() {
		ask.From = ask.To.Add(-span)
	}
	if in.By != "" {
		for d := range strings.SplitSeq(in.By, ",") {
			ask.By = append(ask.By, usage.Dimension(strings.TrimSpace(d)))
		}
	}
	rows, more, err := s.Usage.Rows(ctx, ask)
	if err != nil {
		return nil, frame.Fail(err)
	}
	out := client.Usage{Rows: frame.Each(rows, toUsage)}
	if more {
		last, err := json.Marshal(rows[len(rows)-1].Key)
		if err != nil {
			return nil, frame.Fail(err)
		}
		out.Next = q.Next(string(last), 0, "row")
	}
	return &frame.Body[client.Usage]{Body: out}, nil
}

func toUsage(r usage.Row) client.UsageRow {
	return client.UsageRow{
		Start: r.Start.UTC(), Identity: string(r.Identity), Environment: r.Environment, Service: r.Service, Region: r.Region,
		Jurisdiction: r.Jurisdiction, Basis: string(r.Basis), Outcome: r.Outcome, Team: r.Team, Count: r.Count, Refused: r.Refused,
	}
}
