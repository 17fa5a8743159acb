package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/world"
)

// Import brings the company's inventory and the files of its administrator in.
func (s *Stage) Import(ctx context.Context) error {
	for _, a := range s.world.Accounts {
		if err := s.importAccount(ctx, a.ID); err != nil {
			return fmt.Errorf("import account %s: %w", a.ID, err)
		}
	}
	for _, doc := range []struct {
		name string
		body []byte
	}{{"resources.yaml", s.world.Resources()}, {"routes.yaml", s.world.Routes()}, {"trust.yaml", s.world.Trust(s.cluster.issuer, s.cluster.jwks)}} {
		if err := s.api.Do(ctx, http.MethodPut, "/v1/documents/"+doc.name, "text/plain", bytes.NewReader(doc.body), nil); err != nil {
			return fmt.Errorf("apply %s: %w", doc.name, err)
		}
	}
	return nil
}

// importAccount sends IAM's export files of one account.
func (s *Stage) importAccount(ctx context.Context, account string) error {
	files := map[string]io.Reader{}
	for name, write := range map[string]func(io.Writer, string) error{
		"authorization-details": s.world.Details, "access-keys": s.world.AccessKeys, "credential-report": s.world.Report,
	} {
		var body bytes.Buffer
		if err := write(&body, account); err != nil {
			return err
		}
		files[name] = &body
	}
	result, err := s.api.ImportAWS(ctx, files)
	if err != nil {
		return err
	}
	if len(result.Problems) > 0 {
		return fmt.Errorf("%d objects were left out: %s", len(result.Problems), result.Problems[0])
	}
	return nil
}

// Remember sends the history of some workloads (nil: of all) and waits until
// the server has learned it: live requests must not come before the past.
func (s *Stage) Remember(ctx context.Context, of []*world.Workload) error {
	if err := s.send(ctx, s.world.Gateway(s.records, of)); err != nil {
		return fmt.Errorf("send the history of the workloads: %w", err)
	}
	if of == nil {
		of = s.world.Workloads
	}
	for _, wl := range of {
		if err := s.learned(ctx, wl); err != nil {
			return err
		}
	}
	return nil
}

// RememberCloud sends what happened in the company's cloud accounts.
func (s *Stage) RememberCloud(ctx context.Context) error {
	if err := s.send(ctx, s.world.Cloud(s.records)); err != nil {
		return fmt.Errorf("send the history of the cloud: %w", err)
	}
	return nil
}

// portion is how many records one request carries.
const portion = 4000

// send delivers records as lines, in portions.
func (s *Stage) send(ctx context.Context, records iter.Seq[[]byte]) error {
	var body bytes.Buffer
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		got, err := s.logs.ReceiveLogs(ctx, "cloudtrail", &body)
		if err != nil {
			return err
		}
		if got.Events != n || got.Unparsable+got.Refused > 0 {
			return fmt.Errorf("of %d records %d were taken, %d refused and %d not understood", n, got.Events, got.Refused, got.Unparsable)
		}
		body, n = bytes.Buffer{}, 0
		return nil
	}
	for line := range records {
		body.Write(line)
		body.WriteByte('\n')
		if n++; n == portion {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// learned waits until the last record of a workload's history was learned: the
// inventory's last sight of it is written after that.
func (s *Stage) learned(ctx context.Context, wl *world.Workload) error {
	var last time.Time
	for line := range s.world.Gateway(s.records, []*world.Workload{wl}) {
		var rec struct {
			At time.Time `json:"eventTime"`
		}
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("read the history of %s: %w", wl.Name, err)
		}
		last = rec.At
	}
	for {
		var who client.IdentityDetail
		if err := s.api.Get(ctx, "/v1/identities/"+string(wl.Identity), nil, &who); err != nil {
			return fmt.Errorf("look at %s: %w", wl.Name, err)
		}
		if who.LastSeen != nil && !who.LastSeen.Before(last) {
			return nil
		}
		if err := s.failed(); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("wait for the history of %s: %w", wl.Name, err)
		}
	}
}
