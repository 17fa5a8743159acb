package client

import "time"

// Usage is a page of counts, the oldest bucket first.
type Usage struct {
	Rows []UsageRow `json:"rows"`
	Next string     `json:"next_page_token,omitempty"`
}

// A UsageRow counts calls and requests in one bucket. Of the dimensions only
// those are set that were asked by.
type UsageRow struct {
	Start        time.Time `json:"start" doc:"begin of the hour or day, UTC"`
	Identity     string    `json:"identity,omitempty" doc:"empty: nobody was proven"`
	Environment  string    `json:"environment,omitempty"`
	Service      string    `json:"service,omitempty" doc:"other: beyond 64 services and regions of one identity in an hour"`
	Region       string    `json:"region,omitempty"`
	Jurisdiction string    `json:"jurisdiction,omitempty" doc:"the data protection law of the place"`
	Basis        string    `json:"jurisdiction_basis,omitempty" doc:"exact: somebody labelled the resource; region: of the region's country; address: an estimate from the caller's address"`
	Outcome      string    `json:"outcome,omitempty" doc:"allow, step-up or deny of our decisions; success or failure of a provider's"`
	Team         string    `json:"team,omitempty" doc:"that answers for the identity today; empty: none does"`
	Count        uint64    `json:"count"`
	Refused      uint64    `json:"denied" doc:"of count: deny, step-up and failure"`
}

// A Refusal is one request that was not let in, or many of one kind from one
// address in one minute.
type Refusal struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Kind      string    `json:"kind" doc:"failed_authentication, unknown_principal, denied or step_up"`
	Identity  string    `json:"identity,omitempty" doc:"proven; empty when nobody was"`
	Claimed   string    `json:"claimed,omitempty" doc:"who the caller says to be: the public part of a key, or an asserted identity"`
	Name      string    `json:"name,omitempty" doc:"of the identity, or of the asserted one; empty when it is in no inventory"`
	Point     string    `json:"point,omitempty" doc:"empty: the management interface"`
	PointName string    `json:"point_name,omitempty"`
	Address   string    `json:"address,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Count     uint64    `json:"count" doc:"more than 1: a flood, counted instead of listed"`
}
