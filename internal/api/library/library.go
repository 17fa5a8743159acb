// Package library is the room of the routes about policies: the history of what was
// put into force (/v1/snapshots), its change, and the policies as they are in force
// (/v1/policies). [Register] adds them to the interface.
package library

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/muster-id/muster/client"
	"github.com/muster-id/muster/internal/api/frame"
	"github.com/muster-id/muster/internal/nhi"
)

// Snapshots are the history of the policies.
var Snapshots = frame.NewTable("snapshots", "-sequence", "part of digest, author or note",
	func(s *nhi.Snapshot) string { return fmt.Sprintf("%020d", s.Sequence) },
	func(s *nhi.Snapshot) []string { return []string{s.Digest, s.Author, s.Note} },
	frame.Text("digest", "names the files by their content", func(s *nhi.Snapshot) string { return s.Digest }),
	frame.Number("sequence", "number of the entry", func(s *nhi.Snapshot) int64 { return int64(s.Sequence) }).Ordered(),
	frame.Word("state", "where it stands", []string{
		string(nhi.SnapshotActive), string(nhi.SnapshotWaiting), string(nhi.SnapshotPast), string(nhi.SnapshotOutdated), string(nhi.SnapshotExpired),
		string(nhi.SnapshotStaged), string(nhi.SnapshotWithdrawn),
	}, func(s *nhi.Snapshot) string { return string(s.State) }),
	frame.Text("author", "who made it, as the audit log names them", func(s *nhi.Snapshot) string { return s.Author }),
	frame.Text("effective", "digest with the guards, as decisions record it", func(s *nhi.Snapshot) string { return s.Effective }),
	frame.Time("at", "when", func(s *nhi.Snapshot) time.Time { return s.At }),
)

// Policies are the policies in force.
var Policies = frame.NewTable("policies", "file", "part of id, file or text",
	func(p *client.Policy) string { return p.ID },
	func(p *client.Policy) []string { return []string{p.ID, p.File, p.Text} },
	frame.Text("id", "its @id", func(p *client.Policy) string { return p.ID }).Ordered(),
	frame.Text("file", "where it stands", func(p *client.Policy) string { return p.File }).Ordered(),
	frame.Word("effect", "what it does", []string{"permit", "forbid"}, func(p *client.Policy) string { return p.Effect }),
	frame.Flag("guard", "built in", func(p *client.Policy) bool { return p.Guard }),
	frame.Flag("unscoped", "names neither a principal nor a resource", func(p *client.Policy) bool { return p.Unscoped }),
	frame.Number("warnings", "how many things are doubtful about it", func(p *client.Policy) int64 { return int64(len(p.Warnings)) }),
)

// A room has a method for each route.
type room struct{ *frame.Frame }

// OnlyList is the input of a list that nothing else narrows. It is exported, as Path
// is, because the framework fills in only what is.
type OnlyList struct{ frame.ListQuery }

// Path names a snapshot.
type Path struct {
	Digest string `path:"digest" maxLength:"64" doc:"digest of the snapshot, or at least 8 characters of it"`
}

// Register adds the routes of this room.
func Register(h huma.API, f *frame.Frame) {
	r := &room{f}
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/snapshots", "list-snapshots", "policies", "List what was put into force, by whom and when, the newest first"), r.list)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/snapshots/{digest}", "get-snapshot", "policies", "Show a snapshot with its files"), r.get)
	o := frame.Operation(http.MethodGet, "/v1/snapshots/{digest}/bundle", "get-snapshot-bundle", "policies", "Download a snapshot as a signed bundle")
	o.Description = "A tar that package policy/bundle and muster policy verify read. That of a snapshot which is no longer in force has ended; one that never was in force is refused."
	o.Responses = map[string]*huma.Response{"200": {Description: "the bundle", Content: map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}
	huma.Register(h, o, r.bundle)
	o = frame.Operation(http.MethodPost, "/v1/snapshots", "put-snapshot", "policies", "Put a folder of policies into force; what is wrong changes nothing")
	o.Description = "The files are the whole library: what is not among them is taken out of force. A permit that names neither a principal nor a resource waits for a second administrator."
	o.MaxBodyBytes, o.DefaultStatus = 2*frame.MaxDocument, http.StatusOK
	huma.Register(h, o, r.put)
	o = frame.Operation(http.MethodPost, "/v1/snapshots/{digest}/activate", "activate-snapshot", "policies", "Put an older snapshot into force again")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, r.activate)
	o = frame.Operation(http.MethodPost, "/v1/snapshots/{digest}/confirm", "confirm-snapshot", "policies", "Confirm, as a second administrator, what waits")
	o.DefaultStatus = http.StatusOK
	o.Description = "Only people may, in a session of their own. Every token is refused, and the first administrator too."
	huma.Register(h, o, r.confirm)
	o = frame.Operation(http.MethodPost, "/v1/snapshots/{digest}/withdraw", "withdraw-snapshot", "policies", "Take back what waits for a second administrator")
	o.DefaultStatus = http.StatusOK
	huma.Register(h, o, r.withdraw)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/policies", "list-policies", "policies", "List the policies in force, with where they stand and what is doubtful"), r.policies)
	huma.Register(h, frame.Operation(http.MethodGet, "/v1/policies/key", "get-policy-key", "policies", "Show the public key that bundles are signed with"), r.key)
	promotions(h, r)
}

func (r *room) list(ctx context.Context, in *OnlyList) (*frame.Body[client.Page[client.Snapshot]], error) {
	q, err := r.Read(Snapshots.Language, in.ListQuery)
	names := r.names(ctx)
	return frame.Serve(ctx, q, err, frame.Whole(r.Frame, Snapshots, r.Library.Snapshots), func(n nhi.Snapshot) client.Snapshot {
		out := r.Library.Show(n)
		out.AuthorName = names[out.AuthorPerson]
		return out
	})
}

// Waiting returns what waits for a second administrator, with names.
func Waiting(ctx context.Context, f *frame.Frame) ([]client.Snapshot, error) {
	waiting, err := f.Library.Waiting(ctx)
	if err != nil || len(waiting) == 0 {
		return []client.Snapshot{}, err
	}
	names := (&room{f}).names(ctx)
	return frame.Each(waiting, func(n nhi.Snapshot) client.Snapshot {
		out := f.Library.Show(n)
		out.AuthorName = names[out.AuthorPerson]
		return out
	}), nil
}

// names are what people are called, by id. Without them ids have to do.
func (r *room) names(ctx context.Context) map[string]string {
	people, err := r.Access.People(ctx)
	if err != nil {
		return nil
	}
	out := make(map[string]string, len(people))
	for i := range people {
		out[people[i].ID] = cmp.Or(people[i].Name, people[i].Email)
	}
	return out
}

func (r *room) named(ctx context.Context, n client.Snapshot, err error) (*frame.Body[client.Snapshot], error) {
	n.AuthorName = r.names(ctx)[n.AuthorPerson]
	return answer(n, err)
}

func (r *room) get(ctx context.Context, in *Path) (*frame.Body[client.SnapshotDetail], error) {
	out, err := r.Library.Snapshot(ctx, in.Digest)
	out.AuthorName = r.names(ctx)[out.AuthorPerson]
	return answer(out, err)
}

// A tarball is answered as it is.
type tarball struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

func (r *room) bundle(ctx context.Context, in *Path) (*tarball, error) {
	data, err := r.Library.BundleOf(ctx, in.Digest)
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &tarball{"application/x-tar", `attachment; filename="policies.tar"`, data}, nil
}

func (r *room) put(ctx context.Context, in *frame.Body[client.PutSnapshot]) (*frame.Body[client.Snapshot], error) {
	n, err := r.Library.Put(ctx, frame.CallerOf(ctx), in.Body)
	return r.named(ctx, n, err)
}

// Act is what is done to a snapshot, and why. It is exported, as Path is.
type Act struct {
	Path
	Body client.ActOn `required:"false"`
}

func (r *room) activate(ctx context.Context, in *Act) (*frame.Body[client.Snapshot], error) {
	n, err := r.Library.Activate(ctx, frame.CallerOf(ctx), in.Digest, in.Body.Reason)
	return r.named(ctx, n, err)
}

func (r *room) withdraw(ctx context.Context, in *Act) (*frame.Body[client.Snapshot], error) {
	n, err := r.Library.Withdraw(ctx, frame.CallerOf(ctx), in.Digest, in.Body.Reason)
	return r.named(ctx, n, err)
}

func (r *room) confirm(ctx context.Context, in *Path) (*frame.Body[client.Snapshot], error) {
	n, err := r.Library.Confirm(ctx, frame.CallerOf(ctx), in.Digest)
	return r.named(ctx, n, err)
}

func (r *room) policies(ctx context.Context, in *OnlyList) (*frame.Body[client.Page[client.Policy]], error) {
	q, err := r.Read(Policies.Language, in.ListQuery)
	return frame.Serve(ctx, q, err, frame.Whole(r.Frame, Policies, r.Library.Policies), func(p client.Policy) client.Policy { return p })
}

func (r *room) key(context.Context, *struct{}) (*frame.Body[client.SigningKey], error) {
	return answer(r.Library.SigningKey())
}

func answer[T any](v T, err error) (*frame.Body[T], error) {
	if err != nil {
		return nil, frame.Fail(err)
	}
	return &frame.Body[T]{Body: v}, nil
}
