package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/muster-id/muster/client/policies"
)

// What the calls that try policies send and answer; see package policies.
type (
	SimulateRequest   = policies.SimulateRequest
	Simulation        = policies.Simulation
	SimulationGroup   = policies.SimulationGroup
	SimulationExample = policies.SimulationExample
	LearnRequest      = policies.LearnRequest
	Proposal          = policies.Proposal
	ProposedGrant     = policies.ProposedGrant
)

// SimulatePolicies tries policies on decisions that were made, and changes
// nothing. progress, which may be nil, is told how far it is; an error that it
// returns ends the simulation, and so does the context. It blocks until the
// last decision was tried, however long that is.
func (c *Client) SimulatePolicies(ctx context.Context, request SimulateRequest, progress func(Simulation) error) (Simulation, error) {
	return reported(ctx, c, "/v1/policies/simulate", "simulate", request, progress)
}

// LearnPolicies proposes grants from what identities really did, and changes
// nothing. progress is as with SimulatePolicies.
func (c *Client) LearnPolicies(ctx context.Context, request LearnRequest, progress func(Proposal) error) (Proposal, error) {
	return reported(ctx, c, "/v1/policies/learn", "learn", request, progress)
}

// reported asks for something that is answered line by line: how far it is, and at
// last what came of it.
func reported[T any](ctx context.Context, c *Client, path, what string, request any, progress func(T) error) (T, error) {
	var none T
	body, err := json.Marshal(request)
	if err != nil {
		return none, fmt.Errorf("%s: %w", what, err)
	}
	res, err := c.patient().send(ctx, http.MethodPost, path, "application/json", "application/jsonl, application/problem+json", bytes.NewReader(body), callOf(nil))
	if err != nil {
		return none, err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	for {
		var line struct {
			Progress *T     `json:"progress"`
			Report   *T     `json:"report"`
			Error    string `json:"error"`
		}
		if err := lines.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return none, fmt.Errorf("%s: the answer was cut off: %w", what, err)
		}
		switch {
		case line.Error != "":
			return none, fmt.Errorf("%s: %s", what, line.Error)
		case line.Report != nil:
			return *line.Report, nil
		case line.Progress != nil && progress != nil:
			if err := progress(*line.Progress); err != nil {
				return none, err
			}
		}
	}
}

// A StartShadow puts policies into the shadow of those in force.
type StartShadow struct {
	Files map[string]string `json:"files" doc:"the candidate: Cedar by file name, or a library as a snapshot has it, with grants/**/*.yaml; tests are not asked"`
}

// A Shadow is policies that are tried on live decisions after the answer, and
// what they would have changed so far.
type Shadow struct {
	Running     bool               `json:"running"`
	Digest      string             `json:"digest" doc:"of the candidate with the guards"`
	Author      string             `json:"author" doc:"who started it"`
	Started     time.Time          `json:"started,omitzero"`
	Files       []string           `json:"files" doc:"names of the candidate's files"`
	Judged      uint64             `json:"judged" doc:"decisions that were tried"`
	Unanswered  uint64             `json:"unanswered" doc:"decisions of which it is not on record what policies read"`
	Changed     uint64             `json:"changed"`
	Denied      uint64             `json:"newly_denied"`
	StepUp      uint64             `json:"newly_step_up"`
	Allowed     uint64             `json:"newly_allowed"`
	Dropped     uint64             `json:"dropped" doc:"decisions that were not tried, because there were too many at once"`
	Unkept      uint64             `json:"unkept" doc:"differences that were counted and are not listed, because there were too many at once"`
	Errors      uint64             `json:"errors" doc:"policies of the candidate that erred"`
	Differences []ShadowDifference `json:"differences" doc:"the newest that were asked for"`
}

// A ShadowDifference is a decision that the shadow would have made otherwise.
type ShadowDifference struct {
	SimulationExample
	Name string `json:"name" doc:"of the identity"`
}

// ShadowQuery narrows the differences of a shadow; zero fields do not.
type ShadowQuery struct {
	Identity, Resource, Kind string
	Limit                    int // 0: 50; 500 at most
}

// GetShadow shows the shadow and its newest differences.
func (c *Client) GetShadow(ctx context.Context, q ShadowQuery) (Shadow, error) {
	v := url.Values{}
	for name, value := range map[string]string{"identity": q.Identity, "resource": q.Resource, "kind": q.Kind} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return read[Shadow](ctx, c, "/v1/policies/shadow", v)
}

// StartShadow puts policies into the shadow, instead of what is there. What was
// counted and kept of that is forgotten.
func (c *Client) StartShadow(ctx context.Context, request StartShadow, options ...Option) (Shadow, error) {
	return write[Shadow](ctx, c, http.MethodPut, "/v1/policies/shadow", request, options)
}

// StopShadow ends the shadow. What it counted and kept stays until the next.
func (c *Client) StopShadow(ctx context.Context, options ...Option) (Shadow, error) {
	return write[Shadow](ctx, c, http.MethodDelete, "/v1/policies/shadow", nil, options)
}
