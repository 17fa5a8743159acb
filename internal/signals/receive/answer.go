package receive

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// handed is a SET of an answer, under the jti that it was handed out as.
type handed struct{ id, set string }

var errAnswer = errors.New("the answer to a poll is not the JSON that it should be")

// parseAnswer reads the answer to a poll (RFC 8936, section 2.3), its SETs in
// the order in which they stand. Whether it says that there are more does not
// matter: it is asked again in any case.
func parseAnswer(data []byte) (sets []handed, err error) {
	var a struct {
		Sets jsontext.Value `json:"sets"`
		More bool           `json:"moreAvailable"` // not used, but of the right kind
	}
	if json.Unmarshal(data, &a) != nil || a.Sets.Kind() != '{' {
		return nil, errAnswer
	}
	d := jsontext.NewDecoder(bytes.NewReader(a.Sets))
	if _, err := d.ReadToken(); err != nil {
		return nil, errAnswer
	}
	for d.PeekKind() == '"' {
		id, err := d.ReadToken()
		if err != nil {
			return nil, errAnswer
		}
		h := handed{id: id.String()}
		set, err := d.ReadToken()
		if err != nil || set.Kind() != '"' || len(sets) >= 10*pollMost {
			return nil, errAnswer
		}
		h.set = set.String()
		sets = append(sets, h)
	}
	return sets, nil
}
