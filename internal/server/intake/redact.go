package intake

import (
	"github.com/muster-id/muster/internal/leak"
	"github.com/muster-id/muster/internal/nhi"
)

// redactObservation removes secrets from what a provider's export tells: people
// put keys into tags, names and conditions of policies, and what is stored is
// searched and shown.
func redactObservation(scanner *leak.Scanner, o *nhi.Observation) {
	for i := range o.Identities {
		who := &o.Identities[i]
		for _, text := range []*string{&who.Name, &who.Path, &who.Purpose} {
			*text = scanner.RedactString(*text)
		}
		for key, value := range who.Labels {
			if clean := scanner.RedactString(key); clean != key {
				delete(who.Labels, key)
				key = clean
			}
			who.Labels[key] = scanner.RedactString(value)
		}
	}
	for i := range o.Grants {
		o.Grants[i].Name = scanner.RedactString(o.Grants[i].Name)
		o.Grants[i].Document = scanner.RedactString(o.Grants[i].Document)
	}
	for i := range o.Owners {
		o.Owners[i].Owner = scanner.RedactString(o.Owners[i].Owner)
		o.Owners[i].Detail = scanner.RedactString(o.Owners[i].Detail)
	}
}
