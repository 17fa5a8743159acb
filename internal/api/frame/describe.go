package frame

import (
	"cmp"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/muster-id/muster/client"
)

// Describe finishes the description that the framework makes of the routes:
// lists are never null, replies are open to new fields while requests are
// closed, every operation says which right it needs and which errors it may
// answer, and the routes that the framework does not serve are in it.
func (s *Frame) Describe(api *huma.OpenAPI) {
	s.unframed(api)
	requests := map[string]bool{}
	for path, item := range api.Paths {
		for method, o := range operations(item) {
			s.explain(o, rules[method+" "+path])
			if o.RequestBody != nil {
				for _, m := range o.RequestBody.Content {
					m.Example = examples[o.OperationID]
					gather(api, m.Schema, requests)
				}
			}
		}
	}
	for name, schema := range api.Components.Schemas.Map() {
		plain(schema)
		if !requests[name] {
			schema.AdditionalProperties = nil
		}
	}
}

// operations returns the operations of a path by method.
func operations(item *huma.PathItem) map[string]*huma.Operation {
	out := map[string]*huma.Operation{}
	for method, o := range map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	} {
		if o != nil {
			out[method] = o
		}
	}
	return out
}

// gather collects the names of the schemas that a schema consists of.
func gather(api *huma.OpenAPI, schema *huma.Schema, into map[string]bool) {
	if schema == nil {
		return
	}
	if name := schema.Ref[strings.LastIndex(schema.Ref, "/")+1:]; name != "" {
		if into[name] {
			return
		}
		into[name] = true
		gather(api, api.Components.Schemas.Map()[name], into)
	}
	gather(api, schema.Items, into)
	for _, p := range schema.Properties {
		gather(api, p, into)
	}
}

// plain makes the lists of a schema lists.
func plain(schema *huma.Schema) {
	if schema == nil {
		return
	}
	if schema.Type == huma.TypeArray {
		schema.Nullable = false
	}
	plain(schema.Items)
	for _, p := range schema.Properties {
		plain(p)
	}
}

// explain says of an operation what holds of all of them.
func (s *Frame) explain(o *huma.Operation, r rule) {
	right := "Needs the right to " + cmp.Or(string(r.right), "use the interface") + "."
	switch {
	case r.open:
		right = "Needs no sign-in."
		o.Security = []map[string][]string{{}}
	case r.own:
		right = "Needs a sign-in; any role will do."
	case r.reach == narrowed:
		right += " Roles with a scope see what lies within it."
	case r.reach == one:
		right += " Roles with a scope may use it within the scope; what lies outside is answered as if it did not exist."
	default:
		right += " Roles with a scope may not use it."
	}
	o.Description = strings.TrimSpace(o.Description + "\n\n" + right)
	if o.Extensions == nil {
		o.Extensions = map[string]any{}
	}
	if r.right != "" {
		o.Extensions["x-right"] = string(r.right)
	}
	delete(o.Responses, "default")
	for _, status := range statusesOf(o, r) {
		o.Responses[status] = &huma.Response{
			Description: problems[status],
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: "#/components/schemas/ErrorModel"}}},
		}
	}
	if writes(o.Method + " " + o.Path) {
		o.Parameters = append(o.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Description: "made up by the caller; the same request sent again with the same key within a day happens once",
			Schema: &huma.Schema{Type: huma.TypeString, MaxLength: new(255)},
		})
	}
}

// problems say what a status means, in the words of docs/reference/api.md.
var problems = map[string]string{
	"401": "nobody is signed in",
	"403": "the caller may not do this",
	"404": "there is no such thing, or it lies outside the caller's scope",
	"409": "it contradicts what is there",
	"412": "it was changed since the caller read it (If-Match)",
	"413": "the request is too large",
	"415": "the request is of another content type than the route takes",
	"422": "the request is not valid; errors say where",
	"429": "a limit was reached; Retry-After says when to try again",
	"500": "the server could not do it; its log says why",
	"503": "the database is away; nothing was changed",
}

// statusesOf are the errors that an operation may answer.
func statusesOf(o *huma.Operation, r rule) []string {
	out := []string{"422", "429", "500", "503"}
	if !r.open {
		out = append(out, "401", "403")
	}
	if strings.Contains(o.Path, "{") {
		out = append(out, "404")
	}
	if o.Method != http.MethodGet {
		out = append(out, "409", "413", "415")
	}
	for _, p := range o.Parameters {
		if p.Name == "If-Match" {
			out = append(out, "412")
		}
	}
	return out
}

// unframed adds the routes that stream or take files.
func (s *Frame) unframed(api *huma.OpenAPI) {
	text := func(name, doc string) *huma.Param {
		return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	reply := func(kind, doc string, schema *huma.Schema) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: doc, Content: map[string]*huma.MediaType{kind: {Schema: schema}}}}
	}
	takes := func(kind, doc string) *huma.RequestBody {
		return &huma.RequestBody{Description: doc, Required: true, Content: map[string]*huma.MediaType{kind: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}
	}
	object := &huma.Schema{Type: huma.TypeObject}
	for _, o := range []*huma.Operation{
		{
			Method: http.MethodGet, Path: "/v1/stream", OperationID: "stream", Tags: []string{"stream"}, Summary: "Follow decisions, findings, actions and approvals as they happen",
			Description: "Server-sent events. The id of an event is a cursor: send it as Last-Event-ID to go on behind it. An event called reset says that the cursor was too old.",
			Parameters: []*huma.Param{
				text("topics", "decision, finding, action and approval, parted by commas; all of them without it"), text("filter", "of the list of decisions; narrows decisions only"),
				{Name: "rate", In: "query", Description: "decisions shown a second; the others are counted in the event dropped", Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(1.0), Maximum: new(float64(MaxRate)), Default: DefaultRate}},
				{Name: "Last-Event-ID", In: "header", Description: "id of the last event that was seen", Schema: &huma.Schema{Type: huma.TypeString}},
			},
			Responses: reply("text/event-stream", "events until the reader goes away", &huma.Schema{Type: huma.TypeString}),
		},
		{
			Method: http.MethodPost, Path: "/v1/backup", OperationID: "make-backup", Tags: []string{"operations"}, Summary: "Write a backup of the whole installation that only its recipients can read",
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{
				Type: huma.TypeObject, Required: []string{"recipients"}, AdditionalProperties: false,
				Properties: map[string]*huma.Schema{"recipients": {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}, Description: "age1..., who can read it"}},
			}}}},
			Responses: reply("application/octet-stream", "the backup, as an age file; its end is in it, so that a cut one is noticed", &huma.Schema{Type: huma.TypeString, Format: "binary"}),
		},
		{
			Method: http.MethodPost, Path: "/v1/policies/simulate", OperationID: "simulate-policies", Tags: []string{"policies"}, Summary: "Say what policies would have changed about decisions that were made",
			Description: "The answer is JSON Lines: objects with progress while it goes on, and at last one with the report, or with error when it broke off. Nothing is changed. It uses half a core at most, and ends when the reader goes away.",
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: api.Components.Schemas.Schema(reflect.TypeFor[client.SimulateRequest](), true, "SimulateRequest")}}},
			Responses:   reply("application/jsonl", "how far it is, and the report", api.Components.Schemas.Schema(reflect.TypeFor[client.Simulation](), true, "Simulation")),
		},
		{
			Method: http.MethodPost, Path: "/v1/policies/learn", OperationID: "learn-policies", Tags: []string{"policies"}, Summary: "Propose grants from what identities really did",
			Description: "What was refused, unusual, at risk or only asserted teaches nothing. The answer is JSON Lines, as that of a simulation. Nothing is changed.",
			RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: api.Components.Schemas.Schema(reflect.TypeFor[client.LearnRequest](), true, "LearnRequest")}}},
			Responses:   reply("application/jsonl", "how far it is, and the proposal", api.Components.Schemas.Schema(reflect.TypeFor[client.Proposal](), true, "Proposal")),
		},
		{
			Method: http.MethodPost, Path: "/v1/inventory/imports/aws", OperationID: "import-aws", Tags: []string{"inventory"}, Summary: "Import IAM's export files as a whole",
			RequestBody: takes("multipart/form-data", "parts authorization-details, and if at hand access-keys and credential-report"),
			Responses:   reply("application/json", "what changed", object),
		},
		{
			Method: http.MethodPost, Path: "/v1/inventory/imports/aws/preview", OperationID: "preview-aws", Tags: []string{"inventory"},
			Summary:     "Say what an import of IAM's export files would change, and change nothing",
			Description: "The files are applied in a transaction that is taken back. Other writes wait for as long as the import would take.",
			RequestBody: takes("multipart/form-data", "parts authorization-details, and if at hand access-keys and credential-report"),
			Responses:   reply("application/json", "what would change", api.Components.Schemas.Schema(reflect.TypeFor[client.ImportPreview](), true, "ImportPreview")),
		},
		{
			Method: http.MethodPost, Path: "/receive/logs/{format}", OperationID: "receive-logs", Tags: []string{"receive"}, Summary: "Take activity in; what the reply counts is durable",
			Parameters:  []*huma.Param{{Name: "format", In: "path", Required: true, Description: "of the source that sends, such as cloudtrail", Schema: &huma.Schema{Type: huma.TypeString}}},
			RequestBody: takes("application/octet-stream", "records, gzip or not"), Responses: reply("application/json", "what was counted", object),
		},
		{
			Method: http.MethodPost, Path: "/receive/text", OperationID: "receive-text", Tags: []string{"receive"}, Summary: "Look for secrets in a text; the text is not kept",
			RequestBody: takes("text/plain", "any text, up to 1 MB"), Responses: reply("application/json", "what its secrets turned out to be", object),
		},
	} {
		api.AddOperation(o)
	}
}
