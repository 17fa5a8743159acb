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
)

// A SimulateRequest asks what policies would have changed.
type SimulateRequest struct {
	Files map[string]string `json:"files" doc:"the candidate: Cedar by file name, instead of what is in force beside the guards"`
	Since time.Time         `json:"since,omitzero" doc:"decisions from then on; without it all on record"`
}

// A Simulation says what policies would have changed, so far or in all.
type Simulation struct {
	Decisions  uint64              `json:"decisions" doc:"that were looked at"`
	Judged     uint64              `json:"judged" doc:"that could be asked again"`
	Unanswered uint64              `json:"unanswered" doc:"of which it is not on record what policies read"`
	Changed    uint64              `json:"changed"`
	Denied     uint64              `json:"newly_denied"`
	StepUp     uint64              `json:"newly_step_up"`
	Allowed    uint64              `json:"newly_allowed"`
	Errors     uint64              `json:"errors" doc:"policies of the candidate that erred"`
	From       time.Time           `json:"from,omitzero" doc:"earliest decision"`
	Until      time.Time           `json:"until,omitzero" doc:"latest decision"`
	Seconds    float64             `json:"seconds" doc:"it took"`
	Identities []SimulationGroup   `json:"identities" doc:"the most changed first"`
	Resources  []SimulationGroup   `json:"resources"`
	Owners     []SimulationGroup   `json:"owners"`
	Policies   []SimulationGroup   `json:"policies" doc:"of the candidate, that gave the new answers"`
	Cut        bool                `json:"cut" doc:"there are more groups than are shown"`
	Examples   []SimulationExample `json:"examples" doc:"the first of each kind"`
}

// A SimulationGroup are changed decisions that have something in common.
type SimulationGroup struct {
	Name     string   `json:"name" doc:"id of an identity, name of a resource, an owner, or id of a policy"`
	Title    string   `json:"title" doc:"name of the identity"`
	Denied   uint64   `json:"newly_denied"`
	StepUp   uint64   `json:"newly_step_up"`
	Allowed  uint64   `json:"newly_allowed"`
	Examples []string `json:"examples" doc:"ids of decisions"`
}

// A SimulationExample is a decision that would have come out differently.
type SimulationExample struct {
	Kind     string    `json:"kind" enum:"newly-denied,newly-step-up,newly-allowed"`
	ID       string    `json:"id" doc:"of the decision"`
	At       time.Time `json:"at"`
	Identity string    `json:"identity"`
	Action   string    `json:"action"`
	Resource string    `json:"resource"`
	Before   string    `json:"before" doc:"allow, deny, step-up(bind)"`
	After    string    `json:"after"`
	Policies []string  `json:"policies" doc:"that determined the new answer"`
	Reason   string    `json:"reason"`
}

// A simulated is one line of the answer to a simulation.
type simulated struct {
	Progress *Simulation `json:"progress"`
	Report   *Simulation `json:"report"`
	Error    string      `json:"error"`
}

// SimulatePolicies tries policies on decisions that were made, and changes
// nothing. progress, which may be nil, is told how far it is; an error that it
// returns ends the simulation, and so does the context. It blocks until the
// last decision was tried, however long that is.
func (c *Client) SimulatePolicies(ctx context.Context, request SimulateRequest, progress func(Simulation) error) (Simulation, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return Simulation{}, fmt.Errorf("ask for a simulation: %w", err)
	}
	res, err := c.patient().send(ctx, http.MethodPost, "/v1/policies/simulate", "application/json", "application/jsonl, application/problem+json", bytes.NewReader(body), callOf(nil))
	if err != nil {
		return Simulation{}, err
	}
	defer res.Body.Close()
	lines := json.NewDecoder(res.Body)
	for {
		var line simulated
		if err := lines.Decode(&line); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Simulation{}, fmt.Errorf("the simulation was cut off: %w", err)
		}
		switch {
		case line.Error != "":
			return Simulation{}, fmt.Errorf("simulate: %s", line.Error)
		case line.Report != nil:
			return *line.Report, nil
		case line.Progress != nil && progress != nil:
			if err := progress(*line.Progress); err != nil {
				return Simulation{}, err
			}
		}
	}
}

// A StartShadow puts policies into the shadow of those in force.
type StartShadow struct {
	Files map[string]string `json:"files" doc:"the candidate: Cedar by file name"`
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
