package feed

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/muster-id/muster/internal/nhi"
)

// owned stands for whoever owns an identity: decisions ask only whether somebody
// does, so who it is does not leave the server.
const owned = "somebody"

// Slim returns the changes that decisions at a point read, with nothing in them
// that they do not read: no names, paths, owners or places. What the point does
// not guard, other points, and sources are left out. Routes are whole: the most
// specific one wins, so that the ones of others must be there to win.
func Slim(point *nhi.Point, changes []nhi.Change) ([]nhi.Change, error) {
	var out []nhi.Change
	for i := range changes {
		c := changes[i]
		gone := len(c.Payload) == 0 || string(c.Payload) == "null"
		var err error
		switch c.Subject {
		case nhi.SubjectIdentity:
			if !gone {
				c.Payload, err = slim(c.Payload, slimIdentity)
			}
		case nhi.SubjectCredential:
			if !gone {
				c.Payload, err = slim(c.Payload, slimCredential)
			}
		case nhi.SubjectRevocation:
			if !gone {
				c.Payload, err = slim(c.Payload, func(r *nhi.Revocation) { r.Reason = "" })
			}
		case nhi.SubjectRoutes:
		case nhi.SubjectPoint:
			if c.Key != string(point.ID) {
				continue
			}
		case nhi.SubjectResource:
			if len(point.Resources) > 0 && !slices.Contains(point.Resources, c.Key) {
				continue
			}
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("change %d of %s: %w", c.Seq, c.Subject, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func slim[T any](payload json.RawMessage, cut func(*T)) (json.RawMessage, error) {
	var v T
	if err := json.Unmarshal(payload, &v); err != nil {
		return nil, err
	}
	cut(&v)
	return json.Marshal(v)
}

func slimIdentity(v *nhi.Identity) {
	kept := nhi.Identity{
		ID: v.ID, Kind: v.Kind, Environment: v.Environment, State: v.State, Risk: v.Risk, NotBefore: v.NotBefore,
		Shadow: v.Shadow, Attestable: v.Attestable, Alias: v.Alias,
	}
	if v.Owner.Ref != "" {
		kept.Owner.Ref = owned
	}
	*v = kept
}

func slimCredential(v *nhi.Credential) {
	*v = nhi.Credential{
		ID: v.ID, Identity: v.Identity, Kind: v.Kind, PublicID: v.PublicID, Verifier: v.Verifier, State: v.State,
		Expires: v.Expires, Consumer: v.Consumer, Risk: v.Risk,
	}
}
