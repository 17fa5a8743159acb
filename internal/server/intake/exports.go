package intake

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/builtin"
	"github.com/muster-id/muster/internal/connector"
	"github.com/muster-id/muster/internal/inventory/preview"
	"github.com/muster-id/muster/internal/nhi"
)

// Import implements frame.Intake.
func (in *Intake) Import(ctx context.Context, by string, files map[string]io.Reader) (client.ImportResult, error) {
	seen, problems, err := in.read(ctx, files)
	if err != nil {
		return client.ImportResult{}, err
	}
	res, generation, err := in.d.Inventory.Apply(ctx, seen)
	if err != nil {
		return client.ImportResult{}, err
	}
	out := client.ImportResult{
		Identities: len(seen.Identities), Credentials: len(seen.Credentials), Grants: len(seen.Grants), Owners: res.Owners,
		Changed: res.Created + res.Updated, Retired: res.Retired, Problems: problems, Generation: uint64(generation),
	}
	return out, in.d.Acts.Record(ctx, nhi.Act{
		At: time.Now(), Actor: by, Act: "inventory.import", Target: seen.Provider + ":" + seen.Account, Outcome: "done",
		Reason: fmt.Sprintf("%d identities, %d credentials, %d grants", out.Identities, out.Credentials, out.Grants),
	})
}

// Preview implements frame.Intake. It is no act: nothing is recorded.
func (in *Intake) Preview(ctx context.Context, files map[string]io.Reader) (client.ImportPreview, error) {
	seen, problems, err := in.read(ctx, files)
	if err != nil {
		return client.ImportPreview{}, err
	}
	p, err := preview.Of(ctx, in.d.Inventory, seen)
	if err != nil {
		return client.ImportPreview{}, err
	}
	difference := func(d preview.Difference) client.Difference {
		return client.Difference{New: d.New, Changed: d.Changed, Gone: d.Gone, Unchanged: d.Unchanged}
	}
	out := client.ImportPreview{
		Identities: difference(p.Identities), Credentials: difference(p.Credentials), Grants: difference(p.Grants), Missing: p.Missing,
		Changes: []client.Planned{}, Problems: problems,
	}
	for _, c := range p.First {
		out.Changes = append(out.Changes, client.Planned{What: c.What, Change: c.How, ID: c.ID, Name: c.Name, Identity: string(c.Identity), Fields: c.Fields})
	}
	return out, nil
}

// read reads a provider's export files, without the secrets in them.
func (in *Intake) read(ctx context.Context, files map[string]io.Reader) (seen nhi.Observation, problems []string, err error) {
	input := connector.Input{At: time.Now()}
	for _, form := range builtin.Connector("aws").Forms {
		if r := files[form.Name]; r != nil {
			input.Files = append(input.Files, connector.File{Form: form.Name, Name: form.Name, Reader: r})
		}
	}
	report, err := builtin.Connector("aws").Read(ctx, input)
	if err != nil {
		return seen, nil, err
	}
	seen, problems = report.Observation, []string{}
	redactObservation(in.d.Scanner, &seen)
	for _, p := range report.Problems {
		problems = append(problems, in.d.Scanner.RedactString(p.String()))
	}
	if report.More > 0 {
		problems = append(problems, fmt.Sprintf("and %d more", report.More))
	}
	return seen, problems, nil
}
