package template

import "errors"

// Parameters that several templates have.
var (
	principal = Parameter{Name: "principal", Kind: Principal, Doc: "whom it is about; nobody named: everybody"}
	resource  = Parameter{Name: "resource", Kind: Resource, Doc: "what it is about; nothing named: everything"}
	stepUp    = Parameter{Name: "step_up", Kind: StepUp, Doc: "what unlocks it; nothing: it refuses"}
)

// shipped are the templates, by name.
var shipped = []*Template{
	{
		Name: "approval", Version: 1, Doc: "From a sensitivity on, a person has to say yes to each request.",
		Parameters: []Parameter{principal, resource,
			{Name: "sensitivity", Kind: Level, Doc: "from which a person is asked", Default: "4"},
			{Name: "actions", Kind: Actions, Doc: "what is asked about", Default: "write,delete,admin"},
		},
	},
	{
		Name: "approved-networks", Version: 1, Doc: "Requests come from these networks only.",
		Parameters: []Parameter{principal, resource, {Name: "networks", Kind: Networks, Doc: "where requests may come from", Required: true}, stepUp},
	},
	{
		Name: "attestation-age", Version: 1, Doc: "The more sensitive the resource, the fresher the attestation has to be.",
		Parameters: []Parameter{
			principal, resource,
			{Name: "low", Kind: Duration, Doc: "oldest attestation at sensitivity 0 and 1, if there is one", Default: "24h"},
			{Name: "medium", Kind: Duration, Doc: "oldest attestation at sensitivity 2", Default: "1h"},
			{Name: "high", Kind: Duration, Doc: "oldest attestation at sensitivity 3", Default: "15m"},
			{Name: "highest", Kind: Duration, Doc: "oldest attestation at sensitivity 4, with a bound proof on the request", Default: "60s"},
		},
	},
	{
		Name: "device", Version: 1, Doc: "Requests come from devices that were proven to be in order.",
		Parameters: []Parameter{
			principal, resource,
			{Name: "attested", Kind: Flag, Doc: "by its hardware", Default: "true"},
			{Name: "secure_boot", Kind: Flag, Doc: "started by signed code only", Default: "true"},
			{Name: "devices", Kind: Names, Doc: "which devices; none named: any"},
			{Name: "images", Kind: Names, Doc: "digests of what it may run; none named: any"},
			stepUp,
		},
	},
	{
		Name: "expected-environment", Version: 1, Doc: "An identity touches resources of these environments only.",
		Parameters: []Parameter{principal, {Name: "environments", Kind: Names, Doc: "whose resources may be touched", Required: true}, stepUp},
	},
	{
		Name: "grant", Version: 1, Doc: "An identity may do this, until a day.",
		Parameters: []Parameter{
			{Name: "principal", Kind: Principal, Doc: "who may", Required: true},
			{Name: "resource", Kind: Resource, Doc: "on what", Required: true},
			{Name: "actions", Kind: Actions, Doc: "what it may do", Default: "read,list"},
			{Name: "purposes", Kind: Names, Doc: "for what; none named: anything"},
			{Name: "until", Kind: Date, Doc: "the last day, UTC; none named: for good"},
		},
	},
	{
		Name: "purpose", Version: 1, Doc: "A resource is used for these purposes only.",
		Parameters: []Parameter{principal, {Name: "resource", Kind: Resource, Doc: "what it is about", Required: true},
			{Name: "purposes", Kind: Names, Doc: "what it may be used for", Required: true}, stepUp},
	},
	{
		Name: "rate", Version: 1, Doc: "An identity calls this often at most.",
		Parameters: []Parameter{principal, resource, {Name: "per_minute", Kind: Number, Doc: "calls a minute", Required: true}, stepUp},
	},
	{
		Name: "read-only", Version: 1, Doc: "Nothing is changed.",
		Parameters: []Parameter{principal, resource, stepUp},
	},
	{
		Name: "time-window", Version: 1, Doc: "Requests come in this part of the day and the week only, on the clocks of a place.",
		Parameters: []Parameter{
			principal, resource,
			{Name: "zone", Kind: Zone, Doc: "whose clocks", Default: "UTC"},
			{Name: "from", Kind: Clock, Doc: "the first minute", Required: true},
			{Name: "to", Kind: Clock, Doc: "the minute after the last; before from: on the next day", Required: true},
			{Name: "days", Kind: Days, Doc: "on which days the window opens", Default: "mon-sun"},
			stepUp,
		},
		check: window,
	},
	{
		Name: "vendor", Version: 1, Doc: "A vendor's identities reach what they are for, from the vendor's networks, until the contract ends.",
		Parameters: []Parameter{
			{Name: "identities", Kind: IDs, Doc: "the vendor's", Required: true},
			{Name: "resources", Kind: Resources, Doc: "what they may reach", Required: true},
			{Name: "actions", Kind: Actions, Doc: "what they may do there", Default: "read,list"},
			{Name: "networks", Kind: Networks, Doc: "the vendor's", Required: true},
			{Name: "until", Kind: Date, Doc: "the last day, UTC", Required: true},
		},
	},
	{
		Name: "workload-location", Version: 1, Doc: "Requests come from workloads that were proven to run here.",
		Parameters: []Parameter{
			principal, resource,
			{Name: "providers", Kind: Names, Doc: "aws, gcp, azure, ..."},
			{Name: "accounts", Kind: Names, Doc: "accounts, projects or subscriptions"},
			{Name: "regions", Kind: Names, Doc: "regions of the provider"},
			{Name: "vpcs", Kind: Names, Doc: "private networks"},
			{Name: "clusters", Kind: Names, Doc: "clusters, as trust.yaml names them"},
			{Name: "namespaces", Kind: Names, Doc: "namespaces of the clusters"},
			{Name: "nodes", Kind: Names, Doc: "nodes or instances"},
			stepUp,
		},
		check: somewhere,
	},
}

// window settles a time window, and on which days it is still open after
// midnight.
func window(v values) error {
	from, to := v["from"].(int), v["to"].(int)
	if to == 0 {
		to = midnight
	}
	if from == to || from == midnight {
		return errors.New("from and to are one time, so the window would never open")
	}
	var next []int
	for _, day := range v["days"].([]int) {
		next = append(next, day%7+1)
	}
	v["to"], v["next"], v["overnight"] = to, next, to < from
	return nil
}

const midnight = 24 * 60 // in minutes: of the coming night

// somewhere refuses a location that is everywhere.
func somewhere(v values) error {
	for _, name := range []string{"providers", "accounts", "regions", "vpcs", "clusters", "namespaces", "nodes"} {
		if len(v[name].([]string)) > 0 {
			return nil
		}
	}
	return errors.New("name at least one of providers, accounts, regions, vpcs, clusters, namespaces, nodes")
}
